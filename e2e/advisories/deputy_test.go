package advisories_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/internal/identity"
)

// CVE-2026-22039, CVE-2026-54523, CVE-2026-100706, CVE-2026-122303 (and CVE-2026-22872 of another project): what a tenant wrote in a namespace was carried out
// elsewhere, with the rights of the controller. Here nothing that a tenant can write configures saguard, and its own rights
// would serve nobody: it may change nothing in another namespace, read no Secret and be nobody else.
func TestTheWebhookCouldDoNothingForATenant(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	resources, err := discovery.NewDiscoveryClientForConfigOrDie(shared.CP.AdminConfig()).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	account, err := identity.NewServiceAccount(install.Namespace, "saguard")
	if err != nil {
		t.Fatal(err)
	}
	may := map[string]bool{
		// The second opinion, and what RBAC's defaults give everybody to ask about themselves.
		"create authorization.k8s.io/subjectaccessreviews":     true,
		"create authorization.k8s.io/selfsubjectaccessreviews": true,
		"create authorization.k8s.io/selfsubjectrulesreviews":  true,
		"create authentication.k8s.io/selfsubjectreviews":      true,
	}
	type question struct{ verb, group, resource string }
	var questions []question
	for _, list := range resources {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, r := range list.APIResources {
			switch group {
			case "saguard.io":
				// None of saguard's own kinds is namespaced: there is none that a tenant could be given.
				if r.Namespaced {
					t.Errorf("%s is namespaced", r.Name)
				}
				continue
			case "openreports.io":
				continue // results, which nothing reads as configuration
			}
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate", "use", "approve", "sign"} {
				questions = append(questions, question{verb, group, r.Name})
			}
		}
	}
	for _, resource := range []string{"secrets", "configmaps"} {
		for _, verb := range []string{"get", "list", "watch"} {
			questions = append(questions, question{verb, "", resource})
		}
	}
	for _, resource := range []string{"pods/exec", "pods/ephemeralcontainers", "pods/binding", "serviceaccounts/token", "nodes/proxy", "namespaces/finalize"} {
		questions = append(questions, question{"create", "", resource}, question{"update", "", resource})
	}
	if len(questions) < 200 {
		t.Fatalf("%d questions only", len(questions))
	}
	ask := func(q question) (bool, error) {
		resource, subresource, _ := strings.Cut(q.resource, "/")
		review, err := w.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: account.Username(), Groups: append(account.Groups(), "system:authenticated"),
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: w.namespace, Verb: q.verb, Group: q.group, Resource: resource, Subresource: subresource, Name: "of-a-tenant",
			},
		}}, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		return review.Status.Allowed, nil
	}
	var mutex sync.Mutex
	var group sync.WaitGroup
	work := make(chan question)
	var failed []error
	for range 8 {
		group.Go(func() {
			for q := range work {
				allowed, err := ask(q)
				name := strings.TrimPrefix(q.verb+" "+q.group+"/"+q.resource, "/")
				mutex.Lock()
				if err != nil {
					failed = append(failed, err)
				} else if allowed != may[name] {
					t.Errorf("the webhook's account may %s in a tenant's namespace: %v, want %v", name, allowed, may[name])
				}
				mutex.Unlock()
			}
		})
	}
	for _, q := range questions {
		work <- q
	}
	close(work)
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d questions", len(questions))
}

// CVE-2026-42541: a policy's author could have the host answer what others may. Here a refusal is the same whether somebody else holds the
// permission or nobody does, and names nobody.
func TestRefusalsTellNothingOfWhatOthersMay(t *testing.T) {
	w := newWorld(t, strict)
	ctx := t.Context()
	attempts := map[string]func(context.Context) error{
		"a label": func(ctx context.Context) error {
			_, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("x", "role", "trusted"), dry())
			return err
		},
		"a pod": func(ctx context.Context) error {
			_, err := w.attacker.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), dry())
			return err
		},
		"an account that there is not": func(ctx context.Context) error {
			_, err := w.attacker.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "nobody"), dry())
			return err
		},
	}
	before := map[string]string{}
	for name, do := range attempts {
		err := do(ctx)
		if name != "an account that there is not" {
			refused(t, name, err)
		}
		before[name] = fmt.Sprint(err)
	}
	holder := "holder-" + w.namespace
	w.grant(holder, useOf("serviceaccounts", "payments", "nobody"), useOf("serviceaccounts/labels", "role=trusted"), anyPod())
	client := userClient(t, holder)
	w.await("the holder's grant", func(ctx context.Context) error {
		_, err := client.CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), dry())
		return err
	})
	for name, do := range attempts {
		text := fmt.Sprint(do(ctx))
		if text != before[name] {
			t.Errorf("%s: refused by %q, and once somebody holds it by %q", name, before[name], text)
		}
		for _, secret := range []string{holder, "grant", "RoleBinding", "system:"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the refusal says %q: %s", name, secret, text)
			}
		}
	}
	// Nobody asks in another's name: that is the API server's impersonation, which plain RBAC guards.
	cfg, err := shared.CP.User(w.user)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Impersonate.UserName = holder
	_, err = clientOf(t, cfg).CoreV1().Pods(w.namespace).Create(ctx, pod("x", "payments"), dry())
	if err == nil || isOurs(err) || !strings.Contains(err.Error(), "impersonate") {
		t.Errorf("in the holder's name: %v", err)
	}
	if slices.ContainsFunc([]string{before["a label"], before["a pod"]}, func(s string) bool { return !strings.Contains(s, "kubectl auth can-i") }) {
		t.Errorf("the refusals do not say what is missing: %q", before)
	}
}
