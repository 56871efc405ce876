package authz

import (
	"slices"
	"strings"

	"github.com/saguard/saguard/policy"
)

// httpMatcher asks the HTTP conditions of rules about one request. The path is normalised once, when it is first asked for.
type httpMatcher struct {
	http   *HTTP
	strict bool

	normalized bool
	path       string
	comparable bool
	// invalid says that a rule asked for the path of a request that has none: then there is no verdict.
	invalid bool
}

func (m *httpMatcher) matches(want *policy.HTTP) bool {
	if want == nil {
		return true
	}
	if m.http == nil {
		// Calico's checker takes what it was not told for a match; strictly, nobody knows, and only Allow rules ask.
		return !m.strict
	}
	if len(want.Methods) > 0 && !slices.Contains(want.Methods, "*") && !slices.Contains(want.Methods, m.http.Method) {
		return false
	}
	return len(want.Paths) == 0 || m.matchesPath(want.Paths)
}

func (m *httpMatcher) matchesPath(paths []policy.HTTPPath) bool {
	if !strings.HasPrefix(m.http.Path, "/") {
		m.invalid = true
		return false
	}
	if !m.normalized {
		m.path, m.comparable = normalize(m.http.Path, m.strict)
		m.normalized = true
	}
	if !m.comparable {
		return false
	}
	return slices.ContainsFunc(paths, func(p policy.HTTPPath) bool {
		text := p.Exact
		if text == "" {
			text = p.Prefix
		}
		want, ok := normalize(text, m.strict)
		switch {
		case !ok:
			return false
		case p.Exact != "":
			return m.path == want
		default:
			return under(m.path, want)
		}
	})
}
