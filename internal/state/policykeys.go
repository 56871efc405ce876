package state

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/saguard/saguard/policy/selector"
)

// What Calico makes of a service account's labels and name: label keys behind this prefix on its endpoints, and an
// automatic label with the account's name (libcalico-go conversion and update processors).
const (
	accountLabelPrefix = "pcsa."
	accountNameLabel   = "projectcalico.org/name"
)

// PolicyKeys returns the label keys of service accounts that a Calico policy reads: in serviceAccountSelector, in
// serviceAccounts.selector of its rules, and behind "pcsa." in any other selector. Selectors that do not parse are counted
// in bad; they select by no key that could be guarded.
func PolicyKeys(obj map[string]any) (keys []string, bad int) {
	add := func(text, prefix string) {
		s, err := selector.Parse(text)
		if err != nil {
			bad++
			return
		}
		for _, k := range s.Keys() {
			if k, ok := strings.CutPrefix(k, prefix); ok && k != accountNameLabel {
				keys = append(keys, k)
			}
		}
	}
	text := func(m map[string]any, path ...string) string {
		v, _, err := unstructured.NestedString(m, path...)
		if err != nil {
			bad++
		}
		return v
	}
	add(text(obj, "spec", "serviceAccountSelector"), "")
	add(text(obj, "spec", "selector"), accountLabelPrefix)
	for _, direction := range []string{"ingress", "egress"} {
		rules, _, err := unstructured.NestedSlice(obj, "spec", direction)
		if err != nil {
			bad++
			continue
		}
		for _, r := range rules {
			rule, ok := r.(map[string]any)
			if !ok {
				bad++
				continue
			}
			for _, end := range []string{"source", "destination"} {
				add(text(rule, end, "serviceAccounts", "selector"), "")
				add(text(rule, end, "selector"), accountLabelPrefix)
				add(text(rule, end, "notSelector"), accountLabelPrefix)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), bad
}
