package state

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/selector"
)

// What Calico makes of a service account's labels and name: label keys behind this prefix on its endpoints, and an
// automatic label with the account's name (libcalico-go conversion and update processors).
const (
	accountLabelPrefix = "pcsa."
	accountNameLabel   = "projectcalico.org/name"
)

// PolicyKeys returns the label keys of service accounts that a Calico policy reads: in serviceAccountSelector, in
// serviceAccounts.selector of its rules, and behind "pcsa." in any other selector; each in the namespaces whose accounts are
// meant there, and in every namespace where these cannot be told. namespace is that of the policy, "" if it is a global
// one. Selectors that do not parse are counted in bad; they select by no key that could be guarded.
func PolicyKeys(obj map[string]any, namespace string) (keys guard.PolicyKeys, bad int) {
	r := keyReader{keys: guard.PolicyKeys{}}
	subject := ""
	if namespace == "" {
		subject = r.text(obj, "spec", "namespaceSelector")
	}
	at := reference.Namespaces(namespace, subject)
	r.add(at, r.text(obj, "spec", "serviceAccountSelector"), "")
	r.add(at, r.text(obj, "spec", "selector"), accountLabelPrefix)
	for _, direction := range []string{"ingress", "egress"} {
		rules, _, err := unstructured.NestedSlice(obj, "spec", direction)
		if err != nil {
			r.bad++
			continue
		}
		for _, one := range rules {
			rule, ok := one.(map[string]any)
			if !ok {
				r.bad++
				continue
			}
			for _, end := range []string{"source", "destination"} {
				before := r.bad
				at := reference.Namespaces(namespace, r.text(rule, end, "namespaceSelector"))
				if r.bad > before {
					at = nil // whoever wrote it meant something
				}
				r.add(at, r.text(rule, end, "serviceAccounts", "selector"), "")
				r.add(at, r.text(rule, end, "selector"), accountLabelPrefix)
				r.add(at, r.text(rule, end, "notSelector"), accountLabelPrefix)
			}
		}
	}
	for namespace, list := range r.keys {
		slices.Sort(list)
		r.keys[namespace] = slices.Compact(list)
	}
	return r.keys, r.bad
}

type keyReader struct {
	keys guard.PolicyKeys
	bad  int
}

// add adds the keys behind prefix that a selector over accounts of the namespaces reads; nil are all namespaces.
func (r *keyReader) add(namespaces []string, text, prefix string) {
	s, err := selector.Parse(text)
	if err != nil {
		r.bad++
		return
	}
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, k := range s.Keys() {
		k, ok := strings.CutPrefix(k, prefix)
		if !ok || k == accountNameLabel {
			continue
		}
		for _, namespace := range namespaces {
			r.keys[namespace] = append(r.keys[namespace], k)
		}
	}
}

func (r *keyReader) text(m map[string]any, path ...string) string {
	v, _, err := unstructured.NestedString(m, path...)
	if err != nil {
		r.bad++
	}
	return v
}
