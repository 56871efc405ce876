package scan

import (
	"cmp"
	"slices"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// CheckHollow is the ID of what no admission check finds: a binding by which somebody can get around a guard (package hollow).
const CheckHollow = "hollow-guard"

// CheckUnreadable is the ID of objects that admission could not read.
const CheckUnreadable = "unreadable"

// Checks returns the IDs that violations may have, sorted. It is a closed set.
func Checks() []string {
	out := []string{CheckHollow, CheckUnreadable}
	for _, c := range webhook.Checks() {
		// Getting into a pod is no object, and Secrets are not read.
		if c.ID != webhook.CheckAccountConnect {
			out = append(out, c.ID)
		}
	}
	slices.Sort(out)
	return out
}

// Certainty says what a violation rests on.
type Certainty string

const (
	// Certain: no permission would let anybody write it.
	Certain Certainty = "certain"
	// NobodyMay: what it takes is granted to nobody by the name of the verb. Holders of every verb, and members of system:masters, might
	// write it all the same.
	NobodyMay Certainty = "nobody-may"
	// AuthorMayNot: it is known who put it there, and they may no longer.
	AuthorMayNot Certainty = "author-may-not"
)

// Certainties returns all, the surest first.
func Certainties() []Certainty { return []Certainty{Certain, AuthorMayNot, NobodyMay} }

// Object names what a violation is about.
type Object struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
	UID        string `json:"uid,omitempty"`
	// Source is the file that it was read from; "" for one of a cluster.
	Source string `json:"source,omitempty"`
}

// String returns "KIND NAMESPACE/NAME".
func (o *Object) String() string {
	switch {
	case o.Name == "":
		return o.Kind
	case o.Namespace == "":
		return o.Kind + " " + o.Name
	default:
		return o.Kind + " " + o.Namespace + "/" + o.Name
	}
}

func compareObjects(a, b *Object) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.APIVersion, b.APIVersion))
}

// Violation is something that exists and would be refused today.
type Violation struct {
	// Check is one of Checks.
	Check string `json:"check"`
	// Power is what a binding gives, of CheckHollow: an ID of `kubectl saguard lint`.
	Power     string    `json:"power,omitempty"`
	Object    Object    `json:"object"`
	Field     string    `json:"field,omitempty"`
	Certainty Certainty `json:"certainty"`
	// Mode is what the guards make of it: Enforce refuses, Warn and Audit would let it pass. It is absent for CheckHollow.
	Mode   v1alpha1.Mode `json:"mode,omitempty"`
	Reason string        `json:"reason"`
	// CanI are the `kubectl auth can-i` lines of the permissions that it takes, Grant the commands that print RBAC for them.
	CanI  []string `json:"canI,omitempty"`
	Grant []string `json:"grant,omitempty"`
	// Guards are those that it violates, sorted.
	Guards []string `json:"guards,omitempty"`
}

// Unjudged is something that could not be judged.
type Unjudged struct {
	// Check is "" where it is the whole object, or all objects of a kind.
	Check  string   `json:"check,omitempty"`
	Object Object   `json:"object"`
	Field  string   `json:"field,omitempty"`
	Reason string   `json:"reason"`
	Guards []string `json:"guards,omitempty"`
}

// Verdict is what is to be said of one object. The zero Verdict says that nothing was found.
type Verdict struct {
	Violations []Violation
	Unjudged   []Unjudged
}
