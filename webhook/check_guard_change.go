package webhook

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/rbac"
)

// CheckGuardChange is the ID of check guard-change: a ServiceAccountGuard or PolicyBand is valid beyond what its schema can
// say, bands of one tier do not overlap, and a writer who would be refused by their own guard is warned. Who may write
// guards at all is ordinary RBAC.
const CheckGuardChange = "guard-change"

// lockoutKeys bounds how many keys of a guard the writer is warned about.
const lockoutKeys = 3

func guardChange() Check { return Check{ID: CheckGuardChange, Run: runGuardChange} }

func runGuardChange(f *Facts) ([]Finding, error) {
	if f.Subresource != "" || f.Operation == admissionv1.Delete {
		return nil, nil
	}
	switch f.groupResource() {
	case resourceGuards:
		if f.Guard == nil {
			return nil, fmt.Errorf("%s without object", f.Operation)
		}
		return append(invalidGuard(f.Guard), guardLockout(f)...), nil
	case resourceBands:
		if f.Band == nil {
			return nil, fmt.Errorf("%s without object", f.Operation)
		}
		return append(overlappingBands(f.Band, f.Bands), bandLockout(f)...), nil
	default:
		return nil, nil
	}
}

// everyone are names that stand for every caller, or for the controllers that act for every caller. The schema refuses
// some as well; this is what holds if the schema was edited.
//
//nolint:gochecknoglobals // constant list
var everyone = []string{
	"system:anonymous", "system:authenticated", "system:unauthenticated",
	"system:serviceaccounts", "system:serviceaccounts:kube-system",
}

func invalidGuard(g *v1alpha1.ServiceAccountGuard) []Finding {
	spec := field.NewPath("spec")
	var out []Finding
	if _, err := metav1.LabelSelectorAsSelector(&g.Spec.NamespaceSelector); err != nil {
		out = append(out, refusal(spec.Child("namespaceSelector"), "set a namespaceSelector that does not parse", err.Error()))
	}
	exempt := spec.Child("exempt")
	for _, list := range []struct {
		path  *field.Path
		names []string
	}{{path: exempt.Child("users"), names: g.Spec.Exempt.Users}, {path: exempt.Child("groups"), names: g.Spec.Exempt.Groups}} {
		for i, name := range list.names {
			if slices.Contains(everyone, name) {
				out = append(out, refusal(list.path.Index(i), "exempt "+name,
					"it stands for everyone, or for controllers that act for everyone: name the users meant"))
			}
		}
	}
	if g.Spec.Workloads != nil {
		seen := map[v1alpha1.WorkloadTemplate]bool{}
		for i, t := range g.Spec.Workloads.Templates {
			if seen[t] {
				out = append(out, refusal(spec.Child("workloads", "templates").Index(i), "name a pod template twice", "each (apiGroup, kind, path) once"))
			}
			seen[t] = true
		}
	}
	return out
}

func overlappingBands(b *v1alpha1.PolicyBand, all []v1alpha1.PolicyBand) []Finding {
	var out []Finding
	spec := field.NewPath("spec")
	for i := range all {
		o := &all[i]
		tier := b.SharedTier(o)
		switch {
		case o.Name == b.Name || tier == "":
		case b.Spec.Order.Overlaps(o.Spec.Order):
			out = append(out, refusal(spec.Child("order"), "overlap band "+o.Name,
				fmt.Sprintf("both hold orders of tier %s, and bands of one tier must not overlap", tier)))
		case b.Spec.Default && o.Spec.Default && b.Spec.DefaultOrder != nil && o.Spec.DefaultOrder != nil:
			out = append(out, refusal(spec.Child("defaultOrder"), "set a second defaultOrder beside band "+o.Name,
				fmt.Sprintf("both are everybody's in tier %s, and a policy without order can be given only one", tier)))
		}
	}
	return out
}

func refusal(path *field.Path, attempt, rule string) Finding {
	return Finding{Mode: v1alpha1.ModeEnforce, Field: path, Attempt: attempt, Rule: rule}
}

// guardLockout warns a writer whose own guard will refuse them.
func guardLockout(f *Facts) []Finding {
	l := f.Guard.Spec.Labels
	if l == nil || l.Mode.Normalize() != v1alpha1.ModeEnforce || guard.Exempts(f.Guard.Spec.Exempt, f.Subject) {
		return nil
	}
	var out []Finding
	for i, k := range l.Keys[:min(len(l.Keys), lockoutKeys)] {
		q := rbac.Question{
			Verb: rbac.VerbUse, Resource: rbac.ResourceServiceAccounts, Subresource: rbac.SubresourceLabels,
			Name: rbac.AnyValue(string(k)),
		}
		if strings.HasSuffix(string(k), "/*") {
			q.Name = rbac.Exact(string(k))
		}
		need := rbac.Ask(q)
		out = append(out, Finding{
			Mode: v1alpha1.ModeWarn, Field: field.NewPath("spec", "labels", "keys").Index(i), Need: &need,
			Attempt: "set guarded label " + string(k) + " in every namespace yourself",
		})
	}
	return out
}

func bandLockout(f *Facts) []Finding {
	if f.Band.Spec.Default {
		return nil
	}
	need := rbac.Ask(rbac.UseBand("", f.Band.Name))
	return []Finding{{
		Mode: v1alpha1.ModeWarn, Field: field.NewPath("metadata", "name"), Need: &need,
		Attempt: "place cluster-wide policy in band " + f.Band.Name + " yourself",
	}}
}
