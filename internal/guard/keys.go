package guard

import (
	"slices"
	"strings"

	"github.com/saguard/saguard/api/v1alpha1"
)

// keySet matches label keys: whole ones, and all keys of a prefix. Comparison is exact: keys are case-sensitive.
type keySet struct {
	whole    map[string]struct{}
	prefixes map[string]struct{} // without the slash
}

func newKeySet(l *v1alpha1.LabelGuard, policyKeys []string) keySet {
	s := keySet{whole: map[string]struct{}{}, prefixes: map[string]struct{}{}}
	for _, k := range l.Keys {
		if prefix, ok := strings.CutSuffix(string(k), "/*"); ok {
			s.prefixes[prefix] = struct{}{}
			continue
		}
		s.whole[string(k)] = struct{}{}
	}
	if l.FromPolicies {
		for _, k := range policyKeys {
			s.whole[k] = struct{}{}
		}
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
