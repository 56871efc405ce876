package rbactest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
)

// Parse reads a world from lines of words; lists are separated by commas, # begins a comment.
//
//	role NAMESPACE/NAME VERBS RESOURCES [NAMES]     a rule more for that Role
//	clusterrole NAME VERBS RESOURCES [NAMES]        a rule more for that ClusterRole
//	bind NAMESPACE/NAME role:NAME SUBJECT...        a RoleBinding to a Role
//	bind NAMESPACE/NAME clusterrole:NAME SUBJECT... a RoleBinding to a ClusterRole
//	clusterbind NAME clusterrole:NAME SUBJECT...    a ClusterRoleBinding
//
// A resource of a group is written GROUP:RESOURCE, of the core group RESOURCE; the group of a rule's first resource is that of all. A
// subject is user:NAME, group:NAME, sa:NAMESPACE/NAME or, in a RoleBinding, sa:NAME.
func Parse(text string) (World, error) {
	var w World
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := w.parseLine(words); err != nil {
			return World{}, fmt.Errorf("parse line %d: %w", i+1, err)
		}
	}
	return w, nil
}

// MustParse is Parse for tests.
func MustParse(tb testing.TB, text string) World {
	tb.Helper()
	w, err := Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *World) parseLine(words []string) error {
	switch words[0] {
	case "role", "clusterrole":
		if len(words) != 4 && len(words) != 5 {
			return fmt.Errorf("%s takes a name, verbs, resources and perhaps names", words[0])
		}
		return w.parseRule(words[0], words[1], words[2:])
	case "bind", "clusterbind":
		if len(words) < 3 {
			return fmt.Errorf("%s takes a name, a role and subjects", words[0])
		}
		return w.parseBinding(words[0], words[1], words[2], words[3:])
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
}

func (w *World) parseRule(word, name string, words []string) error {
	group, resources, ok := strings.Cut(words[1], ":")
	if !ok {
		group, resources = "", words[1]
	}
	rule := rbacv1.PolicyRule{
		Verbs: strings.Split(words[0], ","), APIGroups: []string{group}, Resources: strings.Split(resources, ","),
	}
	if len(words) == 3 {
		rule.ResourceNames = strings.Split(words[2], ",")
	}
	if word == "clusterrole" {
		i := slices.IndexFunc(w.ClusterRoles, func(r rbacv1.ClusterRole) bool { return r.Name == name })
		if i < 0 {
			i = len(w.ClusterRoles)
			w.ClusterRoles = append(w.ClusterRoles, rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		w.ClusterRoles[i].Rules = append(w.ClusterRoles[i].Rules, rule)
		return nil
	}
	meta, err := w.namespaced(name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(w.Roles, func(r rbacv1.Role) bool { return r.Name == meta.Name && r.Namespace == meta.Namespace })
	if i < 0 {
		i = len(w.Roles)
		w.Roles = append(w.Roles, rbacv1.Role{ObjectMeta: meta})
	}
	w.Roles[i].Rules = append(w.Roles[i].Rules, rule)
	return nil
}

func (w *World) parseBinding(word, name, role string, subjects []string) error {
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName}
	kind, roleName, _ := strings.Cut(role, ":")
	switch kind {
	case "role":
		ref.Kind = rbac.KindRole
	case "clusterrole":
		ref.Kind = rbac.KindClusterRole
	default:
		return fmt.Errorf("role reference %q is neither role:NAME nor clusterrole:NAME", role)
	}
	ref.Name = roleName
	var list []rbacv1.Subject
	for _, s := range subjects {
		subject, err := parseSubject(s)
		if err != nil {
			return err
		}
		list = append(list, subject)
	}
	if word == "clusterbind" {
		w.ClusterRoleBindings = append(w.ClusterRoleBindings, rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: ref, Subjects: list,
		})
		return nil
	}
	meta, err := w.namespaced(name)
	if err != nil {
		return err
	}
	w.RoleBindings = append(w.RoleBindings, rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: list})
	return nil
}

func (w *World) namespaced(name string) (metav1.ObjectMeta, error) {
	ns, rest, ok := strings.Cut(name, "/")
	if !ok || ns == "" || rest == "" {
		return metav1.ObjectMeta{}, fmt.Errorf("%q is not NAMESPACE/NAME", name)
	}
	if !slices.Contains(w.Namespaces, ns) {
		w.Namespaces = append(w.Namespaces, ns)
	}
	return metav1.ObjectMeta{Namespace: ns, Name: rest}, nil
}

func parseSubject(s string) (rbacv1.Subject, error) {
	kind, name, _ := strings.Cut(s, ":")
	if name == "" {
		return rbacv1.Subject{}, fmt.Errorf("subject %q has no name", s)
	}
	switch kind {
	case "user":
		return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}, nil
	case "group":
		return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}, nil
	case "sa":
		ns, account, ok := strings.Cut(name, "/")
		if !ok {
			ns, account = "", name
		}
		return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account}, nil
	default:
		return rbacv1.Subject{}, fmt.Errorf("subject %q has none of the prefixes user:, group: and sa: before its name", s)
	}
}
