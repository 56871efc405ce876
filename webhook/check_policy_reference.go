package webhook

import (
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/selector"
	"github.com/saguard/saguard/rbac"
)

// CheckPolicyReference is the ID of check policy-reference: whoever writes a policy needs "bind" of every account and label that
// its subject, or the peer of an Allow rule, can select; whoever changes one, of the old policy's as well; whoever deletes one,
// of its subject's.
const CheckPolicyReference = "policy-reference"

func policyReference() Check { return Check{ID: CheckPolicyReference, Run: runPolicyReference} }

func runPolicyReference(f *Facts) ([]Finding, error) {
	mode := f.Guards.References()
	if mode == v1alpha1.ModeOff || !f.judgesPolicy() {
		return nil, nil
	}
	var refs []reference.Reference
	switch {
	case f.OldPolicy == nil:
		refs = reference.Created(f.Policy.policy)
	case f.Policy == nil:
		refs = reference.Deleted(f.OldPolicy.policy)
	default:
		refs = reference.Updated(f.Policy.policy, f.OldPolicy.policy)
	}
	out := make([]Finding, 0, len(refs))
	for i := range refs {
		r := &refs[i]
		attempt := attemptReference(f, r)
		namespaces := r.Namespaces
		if len(namespaces) == 0 {
			namespaces = []string{""} // cluster-wide
		}
		for _, ns := range namespaces {
			need := bindFormula(ns, r.Formula)
			out = append(out, Finding{Mode: mode, Field: r.Field, Need: &need, Attempt: attempt})
		}
	}
	return out, nil
}

func attemptReference(f *Facts, r *reference.Reference) string {
	verb := "write"
	switch {
	case f.Operation == admissionv1.Delete:
		verb = "delete"
	case r.Before:
		verb = "change"
	}
	what := " policy for "
	switch r.Part {
	case reference.Source:
		what = " policy that allows traffic from "
	case reference.Destination:
		what = " policy that allows traffic to "
	case reference.Subject:
	}
	where := r.Field.String()
	if r.Before {
		where += " as it was"
	}
	if r.Places > 1 {
		where += fmt.Sprintf(" and %d more", r.Places-1)
	}
	return verb + what + r.String() + " (" + where + ")"
}

// bindFormula asks for the formula in one namespace, or with "" cluster-wide.
func bindFormula(namespace string, f selector.Formula) rbac.Need {
	if f.Op == selector.OpGrant {
		return bindGrant(namespace, reference.GrantOf(f.Grant))
	}
	parts := make([]rbac.Need, len(f.Terms))
	for i, t := range f.Terms {
		parts[i] = bindFormula(namespace, t)
	}
	if f.Op == selector.OpAll {
		return rbac.All(parts...)
	}
	return rbac.Any(parts...)
}

func bindGrant(namespace string, g reference.Grant) rbac.Need {
	switch g.Kind {
	case reference.Account:
		return rbac.Ask(rbac.BindAccount(namespace, g.Value))
	case reference.AnyAccount:
		return rbac.Ask(rbac.BindAnyAccount(namespace))
	case reference.Label:
		return rbac.Ask(rbac.BindLabel(namespace, g.Key, g.Value))
	case reference.AnyValue:
		return rbac.Ask(rbac.BindAnyLabelValue(namespace, g.Key))
	case reference.AnyLabel:
		return rbac.Ask(rbac.BindUnrestrictedLabels(namespace))
	case reference.Everything:
	}
	return rbac.All(rbac.Ask(rbac.BindAnyAccount(namespace)), rbac.Ask(rbac.BindUnrestrictedLabels(namespace)))
}
