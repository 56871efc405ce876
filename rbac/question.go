package rbac

import (
	"strconv"
	"strings"
	"unicode"
)

// The verbs and resources of saguard's permissions.
const (
	// VerbUse is the permission to take an account's identity, to put a label on or take it off, to place policy in a band.
	VerbUse = "use"
	// VerbBind is the permission to write policy that refers to accounts or labels.
	VerbBind = "bind"

	// ResourceServiceAccounts is of the core group.
	ResourceServiceAccounts = "serviceaccounts"
	// SubresourceLabels is a subresource of serviceaccounts that the API server does not serve; it exists in RBAC rules only.
	SubresourceLabels = "labels"
	// GroupSaguard is the API group of saguard's own resources.
	GroupSaguard = "saguard.io"
	// ResourcePolicyBands is of GroupSaguard.
	ResourcePolicyBands = "policybands"
)

// Question is one permission asked for: the resource attributes of a SubjectAccessReview, with a Name that may stand for
// several literal names. It is comparable. The zero Question asks for verb "" on resource "", which only wildcards allow.
//
// Verb, Group and Resource may be "*" to ask for the wildcard itself: only rules that hold it answer.
type Question struct {
	Verb, Group, Resource, Subresource string
	// Namespace is "" for a cluster-wide question, which no RoleBinding answers.
	Namespace string
	Name      Name
}

// UseAccount asks to take the identity of one service account.
func UseAccount(namespace, name string) Question {
	return account(VerbUse, namespace, name)
}

// BindAccount asks to write policy that refers to one service account by name. Namespace "" asks cluster-wide.
func BindAccount(namespace, name string) Question {
	return account(VerbBind, namespace, name)
}

// BindAnyAccount asks to write policy that refers to any service account of the namespace ("" = of the cluster):
// only rules without resourceNames answer.
func BindAnyAccount(namespace string) Question {
	return account(VerbBind, namespace, "")
}

// UseLabel asks to put the label on, or take it off, the service account (its name without namespace; "" for a
// question about no particular account, which grants bound to one account do not answer).
func UseLabel(namespace, account, key, value string) Question {
	return label(VerbUse, namespace, Label(account, key, value))
}

// BindLabel asks to write policy that refers to the service accounts labelled key=value. Namespace "" asks cluster-wide.
func BindLabel(namespace, key, value string) Question {
	return label(VerbBind, namespace, Label("", key, value))
}

// BindAnyLabelValue asks to write policy that refers to service accounts by the key alone, whatever its value.
func BindAnyLabelValue(namespace, key string) Question {
	return label(VerbBind, namespace, AnyValue(key))
}

// BindUnrestrictedLabels asks to write policy that refers to service accounts by any label: only rules without
// resourceNames answer.
func BindUnrestrictedLabels(namespace string) Question {
	return label(VerbBind, namespace, Exact(""))
}

// UseBand asks to place policy in the band. Bands are cluster-scoped but asked for in the policy's namespace, so that a
// RoleBinding can grant a band to a team; namespace is "" for a policy without one.
func UseBand(namespace, name string) Question {
	return Question{Verb: VerbUse, Group: GroupSaguard, Resource: ResourcePolicyBands, Namespace: namespace, Name: Exact(name)}
}

func account(verb, namespace, name string) Question {
	return Question{Verb: verb, Resource: ResourceServiceAccounts, Namespace: namespace, Name: Exact(name)}
}

func label(verb, namespace string, name Name) Question {
	return Question{Verb: verb, Resource: ResourceServiceAccounts, Subresource: SubresourceLabels, Namespace: namespace, Name: name}
}

// CombinedResource returns RESOURCE or RESOURCE/SUBRESOURCE, as RBAC rules write it.
func (q Question) CombinedResource() string {
	if q.Subresource == "" {
		return q.Resource
	}
	return q.Resource + "/" + q.Subresource
}

// String returns for example "use serviceaccounts/labels role=intern in prod", "bind serviceaccounts any name cluster-wide".
func (q Question) String() string {
	resource := q.CombinedResource()
	if q.Group != "" {
		resource += "." + q.Group
	}
	name := q.Name.String()
	switch {
	case name == "":
		name = "any name"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		name = strconv.Quote(name) // selectors may name any bytes, and this goes to terminals
	}
	where := "cluster-wide"
	if q.Namespace != "" {
		where = "in " + q.Namespace
	}
	return q.Verb + " " + resource + " " + name + " " + where
}
