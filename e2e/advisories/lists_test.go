package advisories_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GHSA-gjw4-3v3v-rqxg: a list of forbidden labels was sorted without regard to case and then searched by halves, so that some of its
// entries were not found.
func TestGuardedKeysAreFoundWhateverTheirOrderAndCase(t *testing.T) {
	keys := []string{"zone", "Zone", "ALPHA", "alpha", "b_c", "B-c", "b.c", "example.com/Team", "example.com/team", "Role", "role", "A", "a", "net.example.com/*"}
	for name, order := range map[string][]string{
		"as given": keys, "sorted": slices.Sorted(slices.Values(keys)),
		"without regard to case": slices.SortedFunc(slices.Values(keys), func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }),
		"backwards":              slices.SortedFunc(slices.Values(keys), func(a, b string) int { return strings.Compare(b, a) }),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, `"labels":{"mode":"Enforce","keys":["role"]}`)
			w.guard(w.namespace, fmt.Sprintf(`"labels":{"mode":"Enforce","keys":["%s"]}`, strings.Join(order, `","`)))
			accounts := w.attacker.CoreV1().ServiceAccounts(w.namespace)
			create := func(ctx context.Context, key string) error {
				_, err := accounts.Create(ctx, labelled("x", key, "v"), dry())
				return err
			}
			w.await("the longer list", func(ctx context.Context) error {
				if err := create(ctx, "A"); !isOurs(err) {
					return fmt.Errorf("create: %v", err)
				}
				return nil
			})
			for _, key := range order {
				key = strings.Replace(key, "/*", "/x", 1)
				refused(t, key, create(t.Context(), key), key+"=v")
			}
			// What only resembles a key is none.
			for _, key := range []string{"zonE", "roles", "rol", "example.com/TEAM", "net.example.com.org/x", "x.net.example.com/x"} {
				if err := create(t.Context(), key); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
}

// GHSA-4qv9: of a list only the first item was looked at.
func TestEveryItemOfAListIsJudged(t *testing.T) {
	w := newWorld(t, `"labels":{"mode":"Enforce","keys":["role","a","m","z"]},"workloads":{"mode":"Enforce"},"defaultAccount":{"bindings":"Enforce"}`)
	const length = 4
	t.Run("subjects of a binding", func(t *testing.T) {
		for bad := range length {
			binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}}
			for i := range length {
				subject := rbacv1.Subject{Kind: "ServiceAccount", Name: "web", Namespace: w.namespace}
				if i == bad {
					subject.Name = "default"
				}
				binding.Subjects = append(binding.Subjects, subject)
			}
			_, err := w.attacker.RbacV1().RoleBindings(w.namespace).Create(t.Context(), binding, dry())
			refused(t, fmt.Sprintf("subject %d", bad), err, "serviceaccounts/default")
			binding.Subjects[bad].Name = "web"
			if _, err := w.attacker.RbacV1().RoleBindings(w.namespace).Create(t.Context(), binding, dry()); err != nil {
				t.Errorf("without subject %d: %v", bad, err)
			}
		}
	})
	t.Run("labels of an account", func(t *testing.T) {
		keys := []string{"a", "m", "role", "z"}
		for _, bad := range keys {
			// Everything but one label is granted.
			user := "lister-" + bad + "-" + w.namespace
			var granted []string
			labels := []string{}
			for _, key := range keys {
				labels = append(labels, key, "v")
				if key != bad {
					granted = append(granted, key+"=v")
				}
			}
			w.grant(user, rbacv1.PolicyRule{Verbs: plainVerbs(), APIGroups: []string{""}, Resources: []string{"serviceaccounts"}},
				rbacv1.PolicyRule{Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/labels"}, ResourceNames: granted})
			accounts := userClient(t, user).CoreV1().ServiceAccounts(w.namespace)
			without := slices.DeleteFunc(slices.Clone(labels), func(s string) bool { return s == bad })
			if i := slices.Index(labels, bad); i >= 0 {
				without = slices.Concat(labels[:i], labels[i+2:])
			}
			w.await("the grants of all but "+bad, func(ctx context.Context) error {
				_, err := accounts.Create(ctx, labelled("x", without...), dry())
				return err
			})
			_, err := accounts.Create(t.Context(), labelled("x", labels...), dry())
			refused(t, "label "+bad, err, bad+"=v")
		}
	})
	t.Run("objects of one deletion", func(t *testing.T) {
		for i := range length {
			a := labelled(fmt.Sprintf("many%d", i), "app", "many")
			if i == length-1 {
				a.Labels["role"] = "trusted"
			}
			if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Create(t.Context(), a, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		err := w.attacker.CoreV1().ServiceAccounts(w.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=many"})
		refused(t, "deletecollection", err, "role=trusted")
		if _, err := w.admin.CoreV1().ServiceAccounts(w.namespace).Get(t.Context(), fmt.Sprintf("many%d", length-1), metav1.GetOptions{}); err != nil {
			t.Errorf("the guarded account is gone: %v", err)
		}
	})
	t.Run("guards of a namespace", func(t *testing.T) {
		for i := range length {
			w.guard(fmt.Sprintf("%s-%d", w.namespace, i), fmt.Sprintf(`"labels":{"mode":"Enforce","keys":["k%d"]}`, i))
		}
		for i := range length {
			w.await(fmt.Sprintf("guard %d", i), func(ctx context.Context) error {
				if _, err := w.attacker.CoreV1().ServiceAccounts(w.namespace).Create(ctx, labelled("x", fmt.Sprintf("k%d", i), "v"), dry()); !isOurs(err) {
					return fmt.Errorf("create: %v", err)
				}
				return nil
			})
		}
	})
}

// CVE-2023-2727, CVE-2023-2728, CVE-2024-3177: what a pod may take was checked in the lists of containers that somebody had thought of.
// Here the account is the pod's, and asked for whatever the lists hold.
func TestIdentityDoesNotHangOnAListOfContainers(t *testing.T) {
	w := newWorld(t, strict)
	pods := w.attacker.CoreV1().Pods(w.namespace)
	token := corev1.LocalObjectReference{Name: "token-of-payments"}
	fill := map[string]func(*corev1.PodSpec){
		"nothing more":   func(*corev1.PodSpec) {},
		"initContainers": func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "i", Image: "example/app:1"}} },
		"envFrom": func(s *corev1.PodSpec) {
			s.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: token}}}
		},
		"a Secret as volume": func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: token.Name}}}}
		},
		"a projected token": func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"},
			}}}}}}
		},
		"the deprecated alias": func(s *corev1.PodSpec) { s.DeprecatedServiceAccount, s.ServiceAccountName = s.ServiceAccountName, "" },
	}
	for name, change := range fill {
		t.Run(name, func(t *testing.T) {
			for account, denied := range map[string]bool{"payments": true, "web": false} {
				p := pod("p", account)
				change(&p.Spec)
				switch _, err := pods.Create(t.Context(), p, dry()); {
				case denied:
					refused(t, account, err, "serviceaccounts/payments")
				case err != nil:
					t.Errorf("%s: %v", account, err)
				}
			}
		})
	}
	// The Secret that envFrom would read comes into being only with `use` of its account.
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: token.Name, Annotations: map[string]string{corev1.ServiceAccountNameKey: "payments"}}, Type: corev1.SecretTypeServiceAccountToken,
	}
	_, err := w.attacker.CoreV1().Secrets(w.namespace).Create(t.Context(), secret, dry())
	refused(t, "a Secret for the token", err, "serviceaccounts/payments")

	// And the list that CVE-2023-2727 is about: a container that joins a pod that runs.
	for account, denied := range map[string]bool{"payments": true, "web": false} {
		p, err := w.admin.CoreV1().Pods(w.namespace).Create(t.Context(), pod("runs-as-"+account, account), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: "example/debug:1", ImagePullPolicy: corev1.PullAlways, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		}}}
		switch _, err := pods.UpdateEphemeralContainers(t.Context(), p.Name, p, metav1.UpdateOptions{}); {
		case denied:
			refused(t, "an ephemeral container beside "+account, err, "serviceaccounts/payments")
		case err != nil:
			t.Errorf("an ephemeral container beside %s: %v", account, err)
		}
	}
}
