package webhook

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/rbac"
)

// CheckAccountUse is the ID of check account-use: whoever decides what runs as a service account needs "use" of it. That is
// whoever creates a pod or changes a pod's image, and whoever creates a pod template or changes anything in it. A pod that
// names no account runs as "default". What a built-in controller makes of a template was judged when the template was
// written; the pods of any other controller are judged as that controller's.
const CheckAccountUse = "account-use"

func accountUse() Check { return Check{ID: CheckAccountUse, Run: runAccountUse} }

func runAccountUse(f *Facts) ([]Finding, error) {
	mode := f.Guards.Workloads()
	if mode == v1alpha1.ModeOff {
		return nil, nil
	}
	if why := f.unknownWorkloadSubresource(); why != "" {
		return []Finding{{Mode: mode, Attempt: "write " + f.Subresource + " of " + f.describeObject(), Rule: why}}, nil
	}
	if f.FromTemplate {
		return nil, nil
	}
	var out []Finding
	for i := range f.Templates {
		t := &f.Templates[i]
		switch {
		case t.unreadable != nil:
			out = append(out, unreadable(f, mode, t))
		case !t.changed, t.path == nil && t.now.isMirrorOn(f.Subject.NodeName()):
		case t.partial:
			need := rbac.Ask(rbac.UseAccount(f.Request.Namespace, ""))
			out = append(out, Finding{
				Mode: mode, Field: t.spec, Need: &need,
				Attempt: "write " + f.describeObject() + ", which patches pods whatever their service account",
			})
		default:
			out = append(out, useFindings(f, mode, t)...)
		}
	}
	return out, nil
}

func useFindings(f *Facts, mode v1alpha1.Mode, t *template) []Finding {
	var out []Finding
	for _, a := range t.now.Spec.accounts() {
		need := rbac.Ask(rbac.UseAccount(f.Request.Namespace, a.name))
		what := "run " + f.describeObject()
		switch {
		case t.path != nil:
			what = "run pods of " + f.describeObject()
		case t.was != nil:
			what = "change what runs in " + f.describeObject() + ", which runs"
		}
		out = append(out, Finding{
			Mode: mode, Field: t.spec.Child(a.field), Need: &need,
			Attempt: fmt.Sprintf("%s as service account %s", what, f.qualified(a.name)),
		})
	}
	return out
}

// unreadable refuses what a guard's path or a revision says is a pod template: what its controller would make of it,
// nobody can say.
func unreadable(f *Facts, mode v1alpha1.Mode, t *template) Finding {
	return Finding{Mode: mode, Field: t.path, Attempt: "write " + f.describeObject(), Rule: "its pod template cannot be read: " + t.unreadable.Error()}
}

// unknownWorkloadSubresource says why a subresource of a built-in workload is refused; "" for all others. Those of pods are
// the business of check account-connect.
func (f *Facts) unknownWorkloadSubresource() string {
	gr := f.groupResource()
	_, builtin := builtinTemplate(gr)
	if !builtin || gr == resourcePods || f.Subresource == "" || slices.Contains(IgnoredWorkloadSubresources(), f.Subresource) {
		return ""
	}
	return "this version of saguard does not know whether that writes the pod template"
}

// describeObject names the object in sentences: "Deployment prod/web", or "a Pod of namespace prod" while generateName has not
// made its name.
func (f *Facts) describeObject() string {
	if f.Name == "" {
		if f.Request.Namespace == "" {
			return "a " + f.Kind
		}
		return "a " + f.Kind + " of namespace " + f.Request.Namespace
	}
	return f.Kind + " " + f.qualified(f.Name)
}

// qualified returns "namespace/name"; the name alone of what has no namespace.
func (f *Facts) qualified(name string) string {
	if f.Request.Namespace == "" {
		return name
	}
	return f.Request.Namespace + "/" + name
}

// labelsPath is of the labels of a template or, at the root, of an object.
func labelsPath(at *field.Path) *field.Path { return at.Child("metadata", "labels") }
