package guard

import (
	"slices"
	"strings"

	"github.com/saguard/saguard/api/v1alpha1"
)

// PolicyKeys are the label keys of service accounts that policies read, by the namespace of the accounts; those of "" are read
// in every namespace.
type PolicyKeys map[string][]string

// policyKeys is PolicyKeys of all policies, to look into. The zero value has none.
type policyKeys struct {
	in  map[string]map[string]struct{}
	all []string // of whatever namespace, sorted
}

func newPolicyKeys(keys []PolicyKeys) policyKeys {
	p := policyKeys{in: map[string]map[string]struct{}{}}
	for _, one := range keys {
		for namespace, list := range one {
			if p.in[namespace] == nil {
				p.in[namespace] = map[string]struct{}{}
			}
			for _, k := range list {
				p.in[namespace][k] = struct{}{}
			}
			p.all = append(p.all, list...)
		}
	}
	slices.Sort(p.all)
	p.all = slices.Compact(p.all)
	return p
}

// has reports whether some policy reads the key of accounts in the namespace; in any, with everywhere.
func (p *policyKeys) has(namespace string, everywhere bool, key string) bool {
	if everywhere {
		_, ok := slices.BinarySearch(p.all, key)
		return ok
	}
	_, ok := p.in[""][key]
	if !ok {
		_, ok = p.in[namespace][key]
	}
	return ok
}

// keySet matches label keys: whole ones, and all keys of a prefix. Comparison is exact: keys are case-sensitive.
type keySet struct {
	whole    map[string]struct{}
	prefixes map[string]struct{} // without the slash
}

func newKeySet(l *v1alpha1.LabelGuard) keySet {
	s := keySet{whole: map[string]struct{}{}, prefixes: map[string]struct{}{}}
	for _, k := range l.Keys {
		if prefix, ok := strings.CutSuffix(string(k), "/*"); ok {
			s.prefixes[prefix] = struct{}{}
			continue
		}
		s.whole[string(k)] = struct{}{}
	}
	return s
}

func (s keySet) has(key string) bool {
	if _, ok := s.whole[key]; ok {
		return true
	}
	prefix, _, ok := strings.Cut(key, "/")
	if !ok {
		return false
	}
	_, ok = s.prefixes[prefix]
	return ok
}

func (s keySet) list() []string {
	out := make([]string, 0, len(s.whole)+len(s.prefixes))
	for k := range s.whole {
		out = append(out, k)
	}
	for p := range s.prefixes {
		out = append(out, p+"/*")
	}
	slices.Sort(out)
	return out
}
