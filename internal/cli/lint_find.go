package cli

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

// lintInput is what lint looks at.
type lintInput struct {
	rbac *rbacObjects
	// guards say which powers are judged; nil if they are not known.
	guards decision.Fact[guardModes]
	// policies are looked through for those that never match; nil for none.
	policies *lintPolicies
	// all includes the control plane's own subjects.
	all bool
	// only are the IDs to look for; empty means all.
	only []string
}

// lintFinding is one subject with one power by one rule.
type lintFinding struct {
	ID      string     `json:"id"`
	Subject objectName `json:"subject"`
	// Namespace is where the power holds; absent if everywhere.
	Namespace string `json:"namespace,omitempty"`
	// Permissions are what the role's rules grant of the power.
	Permissions []lintPermission `json:"permissions"`
	Binding     objectName       `json:"binding"`
	Role        objectName       `json:"role"`
	// JudgedBy is the admission check that judges its use; absent if admission never sees it.
	JudgedBy string `json:"judgedBy,omitempty"`
	// Mode is the weakest mode of that check where the power holds; absent if there is no such check, or guards are not known.
	Mode v1alpha1.Mode `json:"mode,omitempty"`
	// Open says that nothing refuses its use.
	Open bool   `json:"open"`
	Why  string `json:"why"`
}

// lintPermission is one verb on one resource by one rule.
type lintPermission struct {
	Verb     string `json:"verb"`
	APIGroup string `json:"apiGroup"`
	// Resource is RESOURCE or RESOURCE/SUBRESOURCE.
	Resource string `json:"resource"`
	// ResourceNames limit it; absent if nothing does.
	ResourceNames []string `json:"resourceNames,omitempty"`
	// Rule is the index in the role's rules, from 0.
	Rule int `json:"rule"`
}

// lintResult is all findings, and how many grants to the control plane's own subjects were left out.
type lintResult struct {
	findings []lintFinding
	shadowed []shadowedPolicy
	builtin  int
}

// lint finds every binding that gives somebody a power. It is pure.
func lint(in lintInput) lintResult {
	var out lintResult
	if in.policies != nil && in.wants(lintShadowed) {
		out.shadowed = in.policies.shadowed()
	}
	rules := in.rules()
	for _, b := range in.rbac.bindings() {
		found := append(in.judge(&b, rules), in.appliesEverything(&b)...)
		if len(found) == 0 {
			continue
		}
		for _, s := range b.subjects {
			subject := subjectName(s)
			if !in.all && isControlPlane(subject, &b) {
				out.builtin++
				continue
			}
			for _, f := range found {
				f.Subject = subject
				out.findings = append(out.findings, f)
			}
		}
	}
	order := map[string]int{lintWildcard: -2, lintApplies: -1}
	for i, p := range rules {
		order[p.id] = i
	}
	slices.SortStableFunc(out.findings, func(a, b lintFinding) int {
		return cmp.Or(cmp.Compare(order[a.ID], order[b.ID]), cmp.Compare(a.Namespace, b.Namespace),
			strings.Compare(a.Subject.String(), b.Subject.String()), strings.Compare(a.Binding.String(), b.Binding.String()))
	})
	return out
}

// rules returns the powers to look for.
func (in *lintInput) rules() []power {
	all := powers()
	if modes, ok := in.guards.Get(); ok && modes.selective {
		all = append(all, guardScope())
	}
	return slices.DeleteFunc(all, func(p power) bool { return !in.wants(p.id) })
}

func (in *lintInput) wants(id string) bool { return len(in.only) == 0 || slices.Contains(in.only, id) }

// judge returns a finding for each power that the binding gives. Rules that hold everything are one finding, and not looked at further.
func (in *lintInput) judge(b *boundRole, rules []power) []lintFinding {
	var out []lintFinding
	wildcard := b.finding(lintWildcard)
	for i := range b.rules {
		if isWildcard(&b.rules[i]) {
			wildcard.add(grantTriple{verb: rbacv1.VerbAll, resource: "serviceaccounts"}, i, b.rules[i].ResourceNames)
		}
	}
	if len(wildcard.Permissions) > 0 && in.wants(lintWildcard) {
		wildcard.Open, wildcard.Why = true, "holds every verb on service accounts: use and bind are in it"
		out = append(out, wildcard)
	}
	for _, p := range rules {
		f := b.finding(p.id)
		for i := range b.rules {
			if isWildcard(&b.rules[i]) {
				continue
			}
			for _, t := range p.grantedBy(&b.rules[i]) {
				f.add(t, i, b.rules[i].ResourceNames)
			}
		}
		if len(f.Permissions) == 0 {
			continue
		}
		f.Why, f.JudgedBy, f.Open = p.why, p.judgedBy, true
		if modes, ok := in.guards.Get(); ok && p.judgedBy != "" {
			f.Mode = modes.weakest(p.judgedBy, b.meta.Namespace)
			f.Open = f.Mode != v1alpha1.ModeEnforce
		}
		out = append(out, f)
	}
	return out
}

// appliesEverything finds who writes service accounts and workloads in every namespace: what a GitOps controller that applies for
// everybody holds. Admission judges it and not the author of what it applies.
func (in *lintInput) appliesEverything(b *boundRole) []lintFinding {
	if b.meta.Namespace != "" || !in.wants(lintApplies) {
		return nil
	}
	f := b.finding(lintApplies)
	f.Open, f.Why = true, "applies for others: whoever may change what it applies acts with its permissions"
	for _, resource := range []grantTriple{{resource: "serviceaccounts"}, {group: "apps", resource: "deployments"}} {
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
	return []lintFinding{f}
}

// unlimited returns the first rule that allows t of every name, -1 if none does.
func (b *boundRole) unlimited(t grantTriple) int {
	return slices.IndexFunc(b.rules, func(r rbacv1.PolicyRule) bool { return len(r.ResourceNames) == 0 && ruleAllows(&r, t) })
}

func (b *boundRole) finding(id string) lintFinding {
	f := lintFinding{
		ID: id, Namespace: b.meta.Namespace,
		Binding: objectName{Kind: b.kind, Namespace: b.meta.Namespace, Name: b.meta.Name},
		Role:    objectName{Kind: b.role.Kind, Name: b.role.Name},
	}
	if b.role.Kind == rbac.KindRole {
		f.Role.Namespace = b.meta.Namespace
	}
	return f
}

func (f *lintFinding) add(t grantTriple, rule int, names []string) {
	f.Permissions = append(f.Permissions, lintPermission{Verb: t.verb, APIGroup: t.group, Resource: t.resource, ResourceNames: names, Rule: rule})
}

// boundRole is a binding with the rules of its role.
type boundRole struct {
	kind     string
	meta     *metav1.ObjectMeta
	role     rbacv1.RoleRef
	subjects []rbacv1.Subject
	rules    []rbacv1.PolicyRule
}

// bindings returns every binding, cluster-wide ones first. One whose role is not there has no rules.
func (o *rbacObjects) bindings() []boundRole {
	rules := map[objectName][]rbacv1.PolicyRule{}
	for i := range o.clusterRoles {
		rules[objectName{Kind: rbac.KindClusterRole, Name: o.clusterRoles[i].Name}] = o.clusterRoles[i].Rules
	}
	for i := range o.roles {
		rules[objectName{Kind: rbac.KindRole, Namespace: o.roles[i].Namespace, Name: o.roles[i].Name}] = o.roles[i].Rules
	}
	var out []boundRole
	for i := range o.clusterRoleBindings {
		b := &o.clusterRoleBindings[i]
		// One that refers to a Role grants nothing: Roles are in namespaces.
		out = append(out, boundRole{kind: rbac.KindClusterRoleBinding, meta: &b.ObjectMeta, role: b.RoleRef, subjects: b.Subjects,
			rules: rules[objectName{Kind: b.RoleRef.Kind, Name: b.RoleRef.Name}]})
	}
	for i := range o.roleBindings {
		b := &o.roleBindings[i]
		key := objectName{Kind: b.RoleRef.Kind, Name: b.RoleRef.Name}
		if key.Kind == rbac.KindRole {
			key.Namespace = b.Namespace
		}
		out = append(out, boundRole{kind: rbac.KindRoleBinding, meta: &b.ObjectMeta, role: b.RoleRef, subjects: b.Subjects, rules: rules[key]})
	}
	return out
}

// subjectName gives a user who is a service account as that account.
func subjectName(s rbacv1.Subject) objectName {
	if s.Kind == rbacv1.UserKind {
		if a, err := identity.ParseUsername(s.Name); err == nil {
			return objectName{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace(), Name: a.Name()}
		}
	}
	return objectName{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

// isControlPlane reports whether s is one of the control plane's own subjects, which hold such powers in every cluster. A controller's
// account counts by the one binding that Kubernetes makes for it: a binding's labels, which others can write, prove nothing, and an account of
// kube-system is as powerful as whoever may run pods there anyway.
func isControlPlane(s objectName, b *boundRole) bool {
	switch s.Kind {
	case rbacv1.UserKind:
		return s.Name == "system:kube-controller-manager" || s.Name == "system:kube-scheduler" || s.Name == "system:apiserver"
	case rbacv1.GroupKind:
		return s.Name == identity.SystemMasters || s.Name == "system:nodes"
	case rbacv1.ServiceAccountKind:
		name := "system:controller:" + s.Name
		return s.Namespace == metav1.NamespaceSystem && b.meta.Name == name && b.role.Name == name
	default:
		return false
	}
}
