package review_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/install"
)

// step is one request, logged under the ID of its place in the story.
type step struct {
	name, as string
	// needs are the bindings of grants.yaml without any of which the step is denied.
	needs  []string
	denied bool
	// unreachable says that the request fails after admission, for want of a kubelet.
	unreachable bool
	do          func(context.Context, *actor) error
	// then waits until what was done is in force.
	then func(context.Context, *actor) error
}

// story is everything that saguard decides about, and every way around it that an API server without nodes has.
func story() []step {
	return []step{
		{name: "a new account with a label one holds", as: "alice", needs: []string{"alice-team-web"}, do: account("", "web-2", "team", "web")},
		{name: "a new account with a label one lacks", as: "mallory", denied: true, do: account("", "mine", "team", "web")},
		{name: "merge patch to another's label", as: "mallory", denied: true, do: relabel(types.MergePatchType, "web", `{"metadata":{"labels":{"team":"db"}}}`)},
		{name: "merge patch from one's own label to another's", as: "alice", denied: true, do: relabel(types.MergePatchType, "web", `{"metadata":{"labels":{"team":"db"}}}`)},
		{name: "JSON patch takes the label off", as: "alice", needs: []string{"alice-team-web"}, do: relabel(types.JSONPatchType, "web", `[{"op":"remove","path":"/metadata/labels/team"}]`)},
		{name: "server-side apply puts it back", as: "alice", needs: []string{"alice-team-web"}, do: relabel(types.ApplyPatchType, "web", `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","labels":{"team":"web"}}}`)},
		{name: "dry run of an update to another's label", as: "mallory", denied: true, do: replaceLabels("payments", metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}}, "team", "db")},
		{name: "dry run of an update to one's own label", as: "alice", needs: []string{"alice-team-web"}, do: replaceLabels("payments", metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}}, "team", "web")},
		{name: "a label that nobody guards", as: "mallory", do: relabel(types.MergePatchType, "payments", `{"metadata":{"labels":{"note":"x"}}}`)},
		{name: "an exempt user", as: "olga", do: relabel(types.StrategicMergePatchType, "payments", `{"metadata":{"labels":{"team":"db"}}}`)},
		{name: "in somebody else's name", as: "iris as alice", needs: []string{"alice-team-web"}, do: relabel(types.MergePatchType, "web-2", `{"metadata":{"labels":{"team":null}}}`)},
		{name: "a warning only", as: "mallory", do: account("stage", "mine", "team", "web")},

		{name: "a pod as one's own account", as: "alice", needs: []string{"alice-as-web"}, do: runPod("web-1", "web")},
		{name: "a pod whose name the API server makes", as: "alice", needs: []string{"alice-as-web"}, do: runPod("web-", "web")},
		{name: "a pod as another's account", as: "alice", denied: true, do: runPod("pay-2", "payments")},
		{name: "a deployment as one's own account", as: "alice", needs: []string{"alice-as-web"}, do: deploy("web", "web")},
		{name: "a deployment as another's account", as: "mallory", denied: true, do: deploy("pay", "payments")},
		{name: "a token of one's own account", as: "alice", needs: []string{"alice-as-web"}, do: token("web")},
		{name: "a token of another's account", as: "mallory", denied: true, do: token("payments")},
		{name: "a Secret for a token of one's own account", as: "alice", needs: []string{"alice-as-web"}, do: secret("web-token", "web", corev1.SecretTypeServiceAccountToken)},
		{name: "a Secret for a token of another's account", as: "mallory", denied: true, do: secret("pay-token", "payments", corev1.SecretTypeServiceAccountToken)},
		{name: "a Secret that is no token", as: "mallory", do: secret("plain", "payments", corev1.SecretTypeOpaque)},
		{name: "a command in one's own pod", as: "alice", needs: []string{"alice-as-web"}, unreachable: true, do: command("web-1")},
		{name: "a command in another's pod", as: "mallory", denied: true, do: command("pay-1")},
		{name: "a debugger in one's own pod", as: "alice", needs: []string{"alice-as-web"}, do: debug("web-1", "debug")},
		{name: "a debugger in another's pod", as: "alice", denied: true, do: debug("pay-1", "debug")},

		{name: "a policy that names an account", as: "peter", needs: []string{"peter-refers-to-web", "peter-in-developers-band"}, do: policy("projectcalico.org/v3", "to-web", 1500, `{"serviceAccounts":{"names":["web"]}}`)},
		{name: "a policy that reads a label", as: "peter", needs: []string{"peter-refers-to-interns", "peter-in-developers-band"}, do: policy("crd.projectcalico.org/v1", "default.to-interns", 1500, `{"serviceAccounts":{"selector":"role == \"intern\""}}`)},
		{name: "a policy that names another's account", as: "peter", denied: true, do: policy("projectcalico.org/v3", "to-payments", 1500, `{"serviceAccounts":{"names":["payments"]}}`)},
		{name: "a policy in the band of others", as: "peter", denied: true, do: policy("projectcalico.org/v3", "first", 5, `{}`)},
		{name: "a policy in a band, by nobody", as: "mallory", denied: true, do: policy("crd.projectcalico.org/v1", "default.mine", 1500, `{}`)},
		{name: "a policy whose selector does not parse", as: "peter", denied: true, do: policy("projectcalico.org/v3", "broken", 1500, `{"serviceAccounts":{"selector":"role =="}}`)},

		{name: "a guard is changed", as: "admin", do: guardKeys("team", "role"), then: func(ctx context.Context, a *actor) error { return inForce(ctx, a, guards, "strict") }},
		{name: "what the guard names since", as: "mallory", denied: true, do: relabel(types.MergePatchType, "web", `{"metadata":{"labels":{"role":"intern"}}}`)},
		{name: "what one holds with a star", as: "alice", needs: []string{"alice-any-role"}, do: relabel(types.MergePatchType, "web", `{"metadata":{"labels":{"role":"intern"}}}`)},
		{name: "an account with another's label goes", as: "alice", denied: true, do: remove("payments")},
		{name: "an account goes", as: "alice", needs: []string{"alice-team-web"}, do: remove("web-3")},
	}
}

// played is an installation whose log has the story.
type played struct {
	*install.Installation
	since, until time.Time
}

// window are the arguments with which a review sees the story and nothing else.
func (p *played) window() []string {
	return []string{"--since", p.since.Format(time.RFC3339Nano), "--until", p.until.Format(time.RFC3339Nano)}
}

func playWithGrants(ctx context.Context, i *install.Installation) (*played, error) {
	if err := apply(ctx, i, manifest("grants.yaml")); err != nil {
		return nil, err
	}
	return play(ctx, i)
}

// play plays the story and fails where a step does not come out as it says.
func play(ctx context.Context, i *install.Installation) (*played, error) {
	actors, err := newActors(i)
	if err != nil {
		return nil, err
	}
	// An account for the end, and the last of the grants: none is asked for before.
	if err := account("", "web-3", "team", "web")(ctx, actors["admin"]); err != nil {
		return nil, err
	}
	if err := granted(ctx, actors["admin"]); err != nil {
		return nil, err
	}
	p := &played{Installation: i, since: time.Now()}
	for n, s := range story() {
		err := s.do(withID(ctx, stepID(n)), actors[s.as])
		if err := s.check(err); err != nil {
			return nil, fmt.Errorf("step %q: %w", s.name, err)
		}
		if s.then != nil {
			if err := s.then(ctx, actors[s.as]); err != nil {
				return nil, fmt.Errorf("after step %q: %w", s.name, err)
			}
		}
	}
	p.until = time.Now()
	return p, nil
}

func isDenial(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), ".validate.saguard.io")
}

func (s *step) check(err error) error {
	switch {
	case s.denied != isDenial(err):
		return fmt.Errorf("denied by saguard: want %v, got %w", s.denied, orAllowed(err))
	case !s.denied && s.unreachable == (err == nil):
		return fmt.Errorf("fails for want of a kubelet: want %v, got %w", s.unreachable, orAllowed(err))
	}
	return nil
}

func orAllowed(err error) error {
	if err == nil {
		return fmt.Errorf("no error")
	}
	return err
}

// granted waits until the API server knows what alice and peter hold, by questions that no review looks at.
func granted(ctx context.Context, admin *actor) error {
	for user, list := range map[string][]authorizationv1.ResourceAttributes{
		"alice": {
			{Verb: "use", Resource: "serviceaccounts", Subresource: "labels", Name: "team=web"}, {Verb: "use", Resource: "serviceaccounts", Name: "web"},
		},
		"peter": {
			{Verb: "bind", Resource: "serviceaccounts", Name: "web"}, {Verb: "bind", Resource: "serviceaccounts", Subresource: "labels", Name: "role=intern"},
			{Verb: "use", Group: "saguard.io", Resource: "policybands", Name: "developers"},
		},
	} {
		for _, a := range list {
			a.Namespace = "prod"
			err := eventually(ctx, fmt.Sprintf("%s's grant %+v", user, a), func(ctx context.Context) error {
				out, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &a},
				}, metav1.CreateOptions{})
				if err == nil && !out.Status.Allowed {
					err = fmt.Errorf("not granted")
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// account makes an account in a namespace; "" is the actor's.
func account(namespace, name, key, value string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		if namespace == "" {
			namespace = a.namespace
		}
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{key: value}}}
		_, err := a.CoreV1().ServiceAccounts(namespace).Create(ctx, sa, metav1.CreateOptions{})
		return err
	}
}

func relabel(kind types.PatchType, name, body string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		o := metav1.PatchOptions{FieldManager: "story"}
		if kind == types.ApplyPatchType {
			o.Force = new(true)
		}
		_, err := a.CoreV1().ServiceAccounts(a.namespace).Patch(ctx, name, kind, []byte(body), o)
		return err
	}
}

func replaceLabels(name string, o metav1.UpdateOptions, key, value string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: a.namespace, Labels: map[string]string{key: value}}}
		_, err := a.CoreV1().ServiceAccounts(a.namespace).Update(ctx, sa, o)
		return err
	}
}

func remove(name string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		return a.CoreV1().ServiceAccounts(a.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// pod makes a pod that no node runs; of a name that ends in "-" the API server makes the rest.
func pod(name, account string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(account)}
	if strings.HasSuffix(name, "-") {
		p.GenerateName, p.Name = name, ""
	}
	return p
}

func podSpec(account string) corev1.PodSpec {
	return corev1.PodSpec{ServiceAccountName: account, AutomountServiceAccountToken: new(false), Containers: []corev1.Container{{Name: "c", Image: "example/app:1"}}}
}

func runPod(name, account string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		_, err := a.CoreV1().Pods(a.namespace).Create(ctx, pod(name, account), metav1.CreateOptions{})
		return err
	}
}

func deploy(name, account string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		labels := map[string]string{"app": name}
		_, err := a.AppsV1().Deployments(a.namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(account)},
		}}, metav1.CreateOptions{})
		return err
	}
}

func token(account string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		_, err := a.CoreV1().ServiceAccounts(a.namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		return err
	}
}

func secret(name, account string, kind corev1.SecretType) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		_, err := a.CoreV1().Secrets(a.namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}}, Type: kind, StringData: map[string]string{"note": hidden},
		}, metav1.CreateOptions{})
		return err
	}
}

// hidden is in the body of every Secret of the story.
const hidden = "in-the-body-of-a-secret"

func command(pod string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		return a.CoreV1().RESTClient().Post().Namespace(a.namespace).Resource("pods").Name(pod).SubResource("exec").
			Param("command", "true").Param("container", "c").Param("stdout", "true").Do(ctx).Error()
	}
}

// debug adds an ephemeral container.
func debug(pod, name string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		_, err := a.CoreV1().Pods(a.namespace).Patch(ctx, pod, types.StrategicMergePatchType,
			fmt.Appendf(nil, `{"spec":{"ephemeralContainers":[{"name":%q,"image":"example/debug:1"}]}}`, name), metav1.PatchOptions{}, "ephemeralcontainers")
		return err
	}
}

func policy(apiVersion, name string, order float64, source string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		o := &unstructured.Unstructured{}
		text := fmt.Sprintf(`{"apiVersion":%q,"kind":"NetworkPolicy","metadata":{"name":%q},"spec":{"order":%g,"ingress":[{"action":"Allow","source":%s}]}}`,
			apiVersion, name, order, source)
		if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
			return err
		}
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return err
		}
		_, err = a.objects.Resource(gv.WithResource("networkpolicies")).Namespace(a.namespace).Create(ctx, o, metav1.CreateOptions{})
		return err
	}
}

func guardKeys(keys ...string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		body, err := json.Marshal(map[string]any{"spec": map[string]any{"labels": map[string]any{"keys": keys}}})
		if err != nil {
			return err
		}
		_, err = a.objects.Resource(guards).Patch(ctx, "strict", types.MergePatchType, body, metav1.PatchOptions{})
		return err
	}
}
