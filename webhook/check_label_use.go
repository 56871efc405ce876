package webhook

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// CheckLabelUse is the ID of check label-use: whoever puts a guarded label on a service account needs "use" of the value put
// on, and whoever takes one off needs "use" of the value taken off. CREATE puts all on; DELETE takes all off, because deleting
// an account strips its running pods of the labels that restrict them. A change is both.
const CheckLabelUse = "label-use"

func labelUse() Check { return Check{ID: CheckLabelUse, Run: runLabelUse} }

func runLabelUse(f *Facts) ([]Finding, error) {
	if f.groupResource() != resourceServiceAccounts || f.Subresource != "" || emptiesNamespace(f) {
		return nil, nil
	}
	name := f.accountName()
	labels := field.NewPath("metadata", "labels")
	var out []Finding
	for _, c := range labelChanges(f) {
		mode := f.Guards.LabelMode(c.key)
		if c.before != nil {
			out = append(out, labelFinding(f, mode, labels.Key(c.key), name, c.key, *c.before, "take label %s off %s"))
		}
		if c.after != nil {
			out = append(out, labelFinding(f, mode, labels.Key(c.key), name, c.key, *c.after, "put label %s on %s"))
		}
	}
	return append(out, forgedLabelledBy(f)...), nil
}

func labelFinding(f *Facts, mode v1alpha1.Mode, path *field.Path, account, key, value, attempt string) Finding {
	need := rbac.Ask(rbac.UseLabel(f.Request.Namespace, account, key, value))
	return Finding{
		Mode: mode, Field: path, Need: &need,
		Attempt: fmt.Sprintf(attempt, key+"="+value, f.describeAccount()),
	}
}

// emptiesNamespace: the namespace controller and the garbage collector may delete anything in a namespace that is being
// deleted; its pods go as well, so no restriction is lost.
func emptiesNamespace(f *Facts) bool {
	ns, ok := f.Namespace.Get()
	return f.Operation == admissionv1.Delete && identity.DeletesForNamespaces(f.Subject.User) && ok && ns.Terminating
}

type labelChange struct {
	key           string
	before, after *string
}

// labelChanges returns the guarded labels whose value changes, sorted by key. nil is "not there", which "" is not.
func labelChanges(f *Facts) []labelChange {
	before, after := f.OldAccount.labels(), f.Account.labels()
	if f.Operation == admissionv1.Delete {
		after = nil
	}
	var out []labelChange
	for key, v := range after {
		if old, ok := before[key]; !ok {
			out = append(out, labelChange{key: key, after: new(v)})
		} else if old != v {
			out = append(out, labelChange{key: key, before: new(old), after: new(v)})
		}
	}
	for key, v := range before {
		if _, ok := after[key]; !ok {
			out = append(out, labelChange{key: key, before: new(v)})
		}
	}
	out = slices.DeleteFunc(out, func(c labelChange) bool { return f.Guards.LabelMode(c.key) == v1alpha1.ModeOff })
	slices.SortFunc(out, func(a, b labelChange) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return out
}

// labelDiff is labelChanges for the record.
func labelDiff(f *Facts) map[string]audit.Change {
	if f == nil || f.groupResource() != resourceServiceAccounts || f.Subresource != "" {
		return nil
	}
	changes := labelChanges(f)
	if len(changes) == 0 {
		return nil
	}
	out := make(map[string]audit.Change, len(changes))
	for _, c := range changes {
		out[c.key] = audit.Change{Old: c.before, New: c.after}
	}
	return out
}

// accountName is the name of the account; "" while generateName has not made it, and then no grant bound to an account counts.
func (f *Facts) accountName() string {
	switch {
	case f.Account != nil && f.Account.Metadata.Name != "":
		return f.Account.Metadata.Name
	case f.OldAccount != nil && f.OldAccount.Metadata.Name != "":
		return f.OldAccount.Metadata.Name
	default:
		return f.Name
	}
}

func (f *Facts) describeAccount() string {
	name := f.accountName()
	if name == "" {
		return "a service account of namespace " + f.Request.Namespace
	}
	return "service account " + f.Request.Namespace + "/" + name
}
