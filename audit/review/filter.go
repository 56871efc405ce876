package review

import (
	"path"
	"time"

	"github.com/saguard/saguard/audit"
)

// Filter picks requests; empty fields pick all.
type Filter struct {
	Since, Until time.Time // Until is not included
	// Namespaces, Users and Accounts are names or patterns as of [path.Match]; Accounts are "NAMESPACE/NAME".
	Namespaces, Users, Accounts []string
	Decisions                   []audit.Outcome
}

// Validate reports the first pattern that does not parse.
func (f *Filter) Validate() error {
	for _, list := range [][]string{f.Namespaces, f.Users, f.Accounts} {
		for _, pattern := range list {
			if _, err := path.Match(pattern, ""); err != nil {
				return &PatternError{pattern}
			}
		}
	}
	return nil
}

// PatternError says that a pattern of a [Filter] does not parse.
type PatternError struct{ Pattern string }

// Error implements error.
func (e *PatternError) Error() string { return "pattern " + e.Pattern + " does not parse" }

// picks decides by what every request has. The time of an entry is the one in which the API server received it.
func (f *Filter) picks(r *Request) bool {
	if !f.Since.IsZero() && r.Time.Before(f.Since) || !f.Until.IsZero() && !r.Time.Before(f.Until) {
		return false
	}
	if !anyMatch(f.Namespaces, r.Object.Namespace) || !anyMatch(f.Users, r.User) && !anyMatch(f.Users, r.Impersonator) {
		return false
	}
	if len(f.Decisions) == 0 {
		return true
	}
	for _, d := range f.Decisions {
		if d == r.Decision {
			return true
		}
	}
	return false
}

// account decides by one account that a request is about.
func (f *Filter) account(namespace, name string) bool {
	return anyMatch(f.Accounts, namespace+"/"+name)
}

func anyMatch(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}
