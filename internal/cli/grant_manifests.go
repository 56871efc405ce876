package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// grantRequest is what grant was asked for.
type grantRequest struct {
	permissions []permission
	// namespace is "" for cluster-wide.
	namespace string
	subjects  []rbacv1.Subject
	// name of the objects; "" for one made from the rest.
	name string
}

func (r *grantRequest) questions() []rbac.Question {
	out := make([]rbac.Question, len(r.permissions))
	for i, p := range r.permissions {
		out[i] = p.grantQuestion(r.namespace)
	}
	return out
}

// manifests returns the role and then the binding.
func (r *grantRequest) manifests() ([]runtime.Object, error) {
	name := r.name
	if name == "" {
		name = r.defaultName()
	}
	if problems := content.IsPathSegmentName(name); len(problems) > 0 {
		return nil, fmt.Errorf("--name %q: %s", name, strings.Join(problems, "; "))
	}
	m, err := rbac.GrantManifests(name, r.subjects[0], r.questions())
	if err != nil {
		return nil, err
	}
	var out []runtime.Object
	for i := range m.Roles {
		m.RoleBindings[i].Subjects = r.subjects
		out = append(out, &m.Roles[i], &m.RoleBindings[i])
	}
	for i := range m.ClusterRoles {
		m.ClusterRoleBindings[i].Subjects = r.subjects
		out = append(out, &m.ClusterRoles[i], &m.ClusterRoleBindings[i])
	}
	return out, nil
}

// defaultName is readable at its start, and at its end differs for other permissions or other subjects: `kubectl apply` of one grant
// must not take another away.
func (r *grantRequest) defaultName() string {
	var whole strings.Builder
	for _, q := range r.questions() {
		fmt.Fprintf(&whole, "%q\n", q.String())
	}
	for _, s := range r.subjects {
		fmt.Fprintf(&whole, "%q %q %q\n", s.Kind, s.Namespace, s.Name)
	}
	sum := sha256.Sum256([]byte(whole.String()))
	p := r.permissions[0]
	readable := p.verb + "-" + string(p.kind) + "-" + p.resourceName()
	if p.resourceName() == "" {
		readable = p.verb + "-any-" + string(p.kind)
	}
	readable = strings.Map(func(c rune) rune {
		switch {
		case c == '*':
			return 'x'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		default:
			return '-'
		}
	}, readable)
	const most = 60
	if len(readable) > most {
		readable = readable[:most]
	}
	return "saguard-" + strings.Trim(readable, "-.") + "-" + hex.EncodeToString(sum[:4])
}

// notes say how to check the grant, and what of it might surprise.
func (r *grantRequest) notes() []string {
	var out []string
	literal := false
	for _, q := range r.questions() {
		out = append(out, "once this is applied, the subject is answered yes by: "+q.CanI())
		literal = literal || strings.HasSuffix(q.Name.String(), "*")
	}
	for _, p := range r.permissions {
		literal = literal || p.account != ""
	}
	if literal {
		out = append(out, "RBAC compares names literally: kubectl auth can-i answers yes only for the name as the role has it; saguard knows what else it stands for")
	}
	for _, s := range r.subjects {
		switch {
		case everyoneGroup(s):
			out = append(out, "group "+s.Name+" contains (nearly) everyone")
		case s.Kind == rbacv1.GroupKind && s.Name == identity.SystemMasters:
			out = append(out, "group "+s.Name+" needs no grant: the API server lets its members do everything")
		}
	}
	return out
}
