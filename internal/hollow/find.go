package hollow

import (
	"cmp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// Input is what [Find] looks at.
type Input struct {
	RBAC *Objects
	// Guards say which powers are judged; nil if they are not known.
	Guards decision.Fact[GuardModes]
	// All includes the control plane's own subjects.
	All bool
	// Only are the IDs to look for; empty means all.
	Only []string
}

// Finding is one subject with one power by one rule.
type Finding struct {
	ID      string     `json:"id"`
	Subject ObjectName `json:"subject"`
	// Namespace is where the power holds; absent if everywhere.
	Namespace string `json:"namespace,omitempty"`
	// Permissions are what the role's rules grant of the power.
	Permissions []Permission `json:"permissions"`
	Binding     ObjectName   `json:"binding"`
	Role        ObjectName   `json:"role"`
	// JudgedBy is the admission check that judges its use; absent if admission never sees it.
	JudgedBy string `json:"judgedBy,omitempty"`
	// Mode is the weakest mode of that check where the power holds; absent if there is no such check, or guards are not known.
	Mode v1alpha1.Mode `json:"mode,omitempty"`
	// Open says that nothing refuses its use.
	Open bool   `json:"open"`
	Why  string `json:"why"`
}

// Permission is one verb on one resource by one rule.
type Permission struct {
	Verb     string `json:"verb"`
	APIGroup string `json:"apiGroup"`
	// Resource is RESOURCE or RESOURCE/SUBRESOURCE.
	Resource string `json:"resource"`
	// ResourceNames limit it; absent if nothing does.
	ResourceNames []string `json:"resourceNames,omitempty"`
	// Rule is the index in the role's rules, from 0.
	Rule int `json:"rule"`
}

// Result is all findings, and how many grants to the control plane's own subjects were left out.
type Result struct {
	Findings []Finding
	// Builtin counts grants to the control plane's own subjects that were left out.
	Builtin int
}

// Find finds every binding that gives somebody a power. It is pure.
func Find(in Input) Result {
	var out Result
	rules := in.rules()
	for _, b := range in.RBAC.Bindings() {
		found := append(in.judge(&b, rules), in.appliesEverything(&b)...)
		if len(found) == 0 {
			continue
		}
		for _, s := range b.Subjects {
			subject := subjectName(s)
			if !in.All && isControlPlane(subject, &b) {
				out.Builtin++
				continue
			}
			for _, f := range found {
				f.Subject = subject
				out.Findings = append(out.Findings, f)
			}
		}
	}
	order := map[string]int{Wildcard: -2, AppliesEverything: -1}
	for i, p := range rules {
		order[p.ID] = i
	}
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.ID], order[b.ID]), cmp.Compare(a.Namespace, b.Namespace),
			strings.Compare(a.Subject.String(), b.Subject.String()), strings.Compare(a.Binding.String(), b.Binding.String()))
	})
	return out
}

// rules returns the powers to look for.
func (in *Input) rules() []Power {
	all := Powers()
	if modes, ok := in.Guards.Get(); ok && modes.selective {
		all = append(all, GuardScopePower())
	}
	return slices.DeleteFunc(all, func(p Power) bool { return !in.Wants(p.ID) })
}

// Wants reports whether the ID is looked for.
func (in *Input) Wants(id string) bool { return len(in.Only) == 0 || slices.Contains(in.Only, id) }

// judge returns a finding for each power that the binding gives. Rules that hold everything are one finding, and not looked at further.
func (in *Input) judge(b *BoundRole, rules []Power) []Finding {
	var out []Finding
	wildcard := b.finding(Wildcard)
	for i := range b.Rules {
		if IsWildcard(&b.Rules[i]) {
			wildcard.add(Triple{verb: rbacv1.VerbAll, resource: "serviceaccounts"}, i, b.Rules[i].ResourceNames)
		}
	}
	if len(wildcard.Permissions) > 0 && in.Wants(Wildcard) {
		wildcard.Open, wildcard.Why = true, "holds every verb on service accounts: use and bind are in it"
		out = append(out, wildcard)
	}
	for _, p := range rules {
		f := b.finding(p.ID)
		for i := range b.Rules {
			if IsWildcard(&b.Rules[i]) {
				continue
			}
			for _, t := range p.GrantedBy(&b.Rules[i]) {
				f.add(t, i, b.Rules[i].ResourceNames)
			}
		}
		if len(f.Permissions) == 0 {
			continue
		}
		f.Why, f.JudgedBy, f.Open = p.Why, p.JudgedBy, true
		if modes, ok := in.Guards.Get(); ok && p.JudgedBy != "" {
			f.Mode = modes.Weakest(p.JudgedBy, b.Meta.Namespace)
			f.Open = f.Mode != v1alpha1.ModeEnforce
		}
		out = append(out, f)
	}
	return out
}

// appliesEverything finds who writes service accounts and workloads in every namespace: what a GitOps controller that applies for
// everybody holds. Admission judges it and not the author of what it applies.
func (in *Input) appliesEverything(b *BoundRole) []Finding {
	if b.Meta.Namespace != "" || !in.Wants(AppliesEverything) {
		return nil
	}
	f := b.finding(AppliesEverything)
	f.Open, f.Why = true, "applies for others: whoever may change what it applies acts with its permissions"
	for _, resource := range []Triple{{resource: "serviceaccounts"}, {group: "apps", resource: "deployments"}} {
		before := len(f.Permissions)
		for _, verb := range []string{"create", "update", "patch"} {
			resource.verb = verb
			if i := b.unlimited(resource); i >= 0 {
				f.add(resource, i, nil)
			}
		}
		if len(f.Permissions) == before {
			return nil
		}
	}
	return []Finding{f}
}

// unlimited returns the first rule that allows t of every name, -1 if none does.
func (b *BoundRole) unlimited(t Triple) int {
	return slices.IndexFunc(b.Rules, func(r rbacv1.PolicyRule) bool { return len(r.ResourceNames) == 0 && ruleAllows(&r, t) })
}

func (b *BoundRole) finding(id string) Finding {
	f := Finding{
		ID: id, Namespace: b.Meta.Namespace,
		Binding: ObjectName{Kind: b.kind, Namespace: b.Meta.Namespace, Name: b.Meta.Name},
		Role:    ObjectName{Kind: b.Role.Kind, Name: b.Role.Name},
	}
	if b.Role.Kind == rbac.KindRole {
		f.Role.Namespace = b.Meta.Namespace
	}
	return f
}

func (f *Finding) add(t Triple, rule int, names []string) {
	f.Permissions = append(f.Permissions, Permission{Verb: t.verb, APIGroup: t.group, Resource: t.resource, ResourceNames: names, Rule: rule})
}

// BoundRole is a binding with the rules of its role.
type BoundRole struct {
	kind     string
	Meta     *metav1.ObjectMeta
	Role     rbacv1.RoleRef
	Subjects []rbacv1.Subject
	Rules    []rbacv1.PolicyRule
}

// Bindings returns every binding, cluster-wide ones first. One whose role is not there has no rules.
func (o *Objects) Bindings() []BoundRole {
	rules := map[ObjectName][]rbacv1.PolicyRule{}
	for i := range o.ClusterRoles {
		rules[ObjectName{Kind: rbac.KindClusterRole, Name: o.ClusterRoles[i].Name}] = o.ClusterRoles[i].Rules
	}
	for i := range o.Roles {
		rules[ObjectName{Kind: rbac.KindRole, Namespace: o.Roles[i].Namespace, Name: o.Roles[i].Name}] = o.Roles[i].Rules
	}
	var out []BoundRole
	for i := range o.ClusterRoleBindings {
		b := &o.ClusterRoleBindings[i]
		// One that refers to a Role grants nothing: Roles are in namespaces.
		out = append(out, BoundRole{kind: rbac.KindClusterRoleBinding, Meta: &b.ObjectMeta, Role: b.RoleRef, Subjects: b.Subjects,
			Rules: rules[ObjectName{Kind: b.RoleRef.Kind, Name: b.RoleRef.Name}]})
	}
	for i := range o.RoleBindings {
		b := &o.RoleBindings[i]
		key := ObjectName{Kind: b.RoleRef.Kind, Name: b.RoleRef.Name}
		if key.Kind == rbac.KindRole {
			key.Namespace = b.Namespace
		}
		out = append(out, BoundRole{kind: rbac.KindRoleBinding, Meta: &b.ObjectMeta, Role: b.RoleRef, Subjects: b.Subjects, Rules: rules[key]})
	}
	return out
}

// subjectName gives a user who is a service account as that account.
func subjectName(s rbacv1.Subject) ObjectName {
	if s.Kind == rbacv1.UserKind {
		if a, err := identity.ParseUsername(s.Name); err == nil {
			return ObjectName{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace(), Name: a.Name()}
		}
	}
	return ObjectName{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

// isControlPlane reports whether s is one of the control plane's own subjects, which hold such powers in every cluster. A controller's
// account counts by the one binding that Kubernetes makes for it: a binding's labels, which others can write, prove nothing, and an account of
// kube-system is as powerful as whoever may run pods there anyway.
func isControlPlane(s ObjectName, b *BoundRole) bool {
	switch s.Kind {
	case rbacv1.UserKind:
		return s.Name == "system:kube-controller-manager" || s.Name == "system:kube-scheduler" || s.Name == "system:apiserver"
	case rbacv1.GroupKind:
		return s.Name == identity.SystemMasters || s.Name == "system:nodes"
	case rbacv1.ServiceAccountKind:
		name := "system:controller:" + s.Name
		return s.Namespace == metav1.NamespaceSystem && b.Meta.Name == name && b.Role.Name == name
	default:
		return false
	}
}
