package review_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// permission is one literal permission of one user's.
type permission struct{ user, namespace, verb, group, resource, name string }

// What is suggested for the story of one cluster lets it pass on another that grants nothing, and allows nothing else: every
// step that was denied is denied again, and the permissions are those that were asked for and used.
func TestSuggestedRolesLetTheStoryPassAndNothingMore(t *testing.T) {
	old := clusters.metadata
	text := saguard(t, old.Installation, append([]string{"review", old.CP.AuditLog(), "--suggest-rbac=allowed"}, old.window()...)...)
	if again := saguard(t, old.Installation, append([]string{"review", clusters.bodies.CP.AuditLog(), "--suggest-rbac=allowed"}, clusters.bodies.window()...)...); again != text {
		t.Errorf("suggested from the log of level RequestResponse:\n%s\nfrom Metadata:\n%s", again, text)
	}
	asked := askedIn(t, old)
	granted, index := readRBAC(t, text)
	used := map[permission]bool{}
	for p, allowed := range asked {
		if allowed {
			used[p] = true
		}
	}
	if len(used) == 0 || len(used) == len(asked) {
		t.Fatalf("%d of %d permissions were used: the story shows nothing", len(used), len(asked))
	}
	if !maps.Equal(granted, used) {
		t.Errorf("suggested permissions:\n%s\nwant\n%s", lines(granted), lines(used))
	}
	for p := range asked {
		for _, user := range []string{"alice", "mallory", "peter", "olga", "iris"} {
			q := p
			q.user = user
			resource, subresource, _ := strings.Cut(p.resource, "/")
			_, ok := index.Authorize(identity.Subject{User: user, Groups: []string{"people", "system:authenticated"}}, rbac.Question{
				Verb: p.verb, Group: p.group, Resource: resource, Subresource: subresource, Namespace: p.namespace, Name: rbac.Exact(p.name),
			})
			if ok != used[q] {
				t.Errorf("%+v: the suggested roles say %v, want %v", q, ok, used[q])
			}
		}
	}

	if _, err := clusters.fresh.KubectlStdin(t.Context(), clusters.fresh.Admin, strings.NewReader(text), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if _, err := play(t.Context(), clusters.fresh); err != nil {
		t.Error(err)
	}
}

// askedIn are all permissions that the webhook asked for in the story, by user, and whether one of them let a request pass.
func askedIn(t *testing.T, p *played) map[permission]bool {
	t.Helper()
	events, err := p.CP.AuditEvents(func(e *auditv1.Event) bool {
		return !e.RequestReceivedTimestamp.Time.Before(p.since) && e.RequestReceivedTimestamp.Time.Before(p.until) && audit.Decided(e.Annotations)
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[permission]bool{}
	for _, e := range events {
		user := e.User.Username
		if e.ImpersonatedUser != nil {
			user = e.ImpersonatedUser.Username
		}
		for _, a := range audit.ParseAnnotations(e.Annotations) {
			for _, tuple := range a.Tuples {
				if strings.HasPrefix(tuple.GrantedBy, "Group ") {
					continue // system:masters
				}
				q := permission{user, tuple.Namespace, tuple.Verb, tuple.Group, tuple.Resource, tuple.Name}
				out[q] = out[q] || tuple.Allowed && a.Decision == audit.Allowed
			}
		}
	}
	return out
}

// readRBAC returns every permission that manifests grant, and their index.
func readRBAC(t *testing.T, text string) (map[permission]bool, *rbac.Index) {
	t.Helper()
	store := rbac.NewStore()
	roles, bindings := map[string]*rbacv1.Role{}, []*rbacv1.RoleBinding{}
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		switch o := o.(type) {
		case *rbacv1.Role:
			store.SetRole(o)
			roles[o.Namespace+"/"+o.Name] = o
		case *rbacv1.RoleBinding:
			store.SetRoleBinding(o)
			bindings = append(bindings, o)
		default:
			t.Fatalf("%T is suggested, and nothing in the story is cluster-wide: %+v", o, o)
		}
	}
	out := map[permission]bool{}
	for _, b := range bindings {
		role := roles[b.Namespace+"/"+b.RoleRef.Name]
		if role == nil || b.RoleRef.Kind != "Role" {
			t.Fatalf("RoleBinding %s refers to no suggested role", b.Name)
		}
		for _, s := range b.Subjects {
			for _, rule := range role.Rules {
				for _, verb := range rule.Verbs {
					for _, group := range rule.APIGroups {
						for _, resource := range rule.Resources {
							if len(rule.ResourceNames) == 0 {
								out[permission{s.Name, b.Namespace, verb, group, resource, ""}] = true
							}
							for _, name := range rule.ResourceNames {
								out[permission{s.Name, b.Namespace, verb, group, resource, name}] = true
							}
						}
					}
				}
			}
		}
	}
	return out, store.Snapshot()
}

func lines(set map[permission]bool) string {
	var out []string
	for p := range set {
		out = append(out, fmt.Sprintf("%+v", p))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
