package chart

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// selfRotating returns the name of the Secret in which the webhook keeps its own certificate; "" with another source.
func selfRotating(t testing.TB, rendered *Rendered) string {
	t.Helper()
	for _, arg := range one[*appsv1.Deployment](t, rendered).Spec.Template.Spec.Containers[0].Args {
		if name, ok := strings.CutPrefix(arg, "--certificate-secret="); ok {
			return name
		}
	}
	return ""
}

// selfRotatingPermissions are what that takes.
func selfRotatingPermissions(secret string) map[string]bool {
	want := map[string]bool{}
	for _, verb := range []string{"get", "watch", "patch"} {
		want["ns: "+verb+" secrets./"+secret] = true
		want[verb+" validatingwebhookconfigurations.admissionregistration.k8s.io/validate.saguard.io"] = true
		want[verb+" mutatingwebhookconfigurations.admissionregistration.k8s.io/mutate.saguard.io"] = true
	}
	want["ns: create secrets./"+secret] = true
	return want
}

func TestSelfRotatingCertificate(t *testing.T) {
	for name, names := range map[string][]string{
		"default":           {"saguard.saguard-system.svc", "saguard.saguard-system.svc.cluster.local"},
		"self-rotating-url": {"saguard.saguard-system.svc", "saguard.saguard-system.svc.cluster.local", "10.0.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, cases[name])
			secret := one[*corev1.Secret](t, rendered)
			if got := selfRotating(t, rendered); got != secret.Name {
				t.Errorf("the webhook keeps its certificate in %q, the chart makes %q", got, secret.Name)
			}
			// Whoever applies the Secret must leave alone what the webhook has put in.
			if secret.Data != nil || secret.StringData != nil || secret.Type != corev1.SecretTypeOpaque || secret.Immutable != nil {
				t.Errorf("the Secret is not an empty one: %v", secret)
			}
			pod := one[*appsv1.Deployment](t, rendered).Spec.Template.Spec
			var got []string
			for _, arg := range pod.Containers[0].Args {
				if n, ok := strings.CutPrefix(arg, "--certificate-name="); ok {
					got = append(got, n)
				}
				if strings.HasPrefix(arg, "--cert-dir") {
					t.Errorf("argument %s", arg)
				}
			}
			if !slices.Equal(got, names) {
				t.Errorf("names %v, want %v", got, names)
			}
			for _, v := range pod.Volumes {
				if v.Name == "tls" {
					t.Error("a Secret is mounted")
				}
			}
			for _, config := range clientConfigs(t, rendered) {
				if config.CABundle != nil {
					t.Error("a caBundle is set: what applies it would take the webhook's away")
				}
			}
		})
	}
}

func TestClientCAIsMounted(t *testing.T) {
	const values = `{webhook: {clientNames: [a, b], clientCA: {%s: clients, key: ca.pem}}}`
	for _, kind := range []string{"configMapName", "secretName"} {
		pod := one[*appsv1.Deployment](t, render(t, strings.Replace(values, "%s", kind, 1))).Spec.Template.Spec
		args := pod.Containers[0].Args
		for _, want := range []string{"--client-ca-file=/etc/saguard/client-ca/ca.pem", "--client-name=a", "--client-name=b"} {
			if !slices.Contains(args, want) {
				t.Errorf("%s: no argument %s in %q", kind, want, args)
			}
		}
		if len(pod.Volumes) != 1 || len(pod.Containers[0].VolumeMounts) != 1 || pod.Containers[0].VolumeMounts[0].MountPath != "/etc/saguard/client-ca" {
			t.Fatalf("%s: volumes %v, mounts %v", kind, pod.Volumes, pod.Containers[0].VolumeMounts)
		}
		v := pod.Volumes[0]
		if (kind == "secretName") != (v.Secret != nil && v.Secret.SecretName == "clients") || (kind == "configMapName") != (v.ConfigMap != nil && v.ConfigMap.Name == "clients") {
			t.Errorf("%s: volume %v", kind, v)
		}
	}
}

// TestCertificateSourceCanBeChanged: replicas of the release before serve until the last of them is replaced, so what
// trusts them stays in caBundle. Helm talks to the cluster in which that release is.
func TestCertificateSourceCanBeChanged(t *testing.T) {
	upgrade := func(values string, objects ...runtime.Object) *Rendered {
		t.Helper()
		rendered, err := Render(dir, valuesOf(t, values), Options{cluster: clusterWith(objects...), Upgrade: true})
		if err != nil {
			t.Fatal(err)
		}
		return rendered
	}
	configuration := func(bundle []byte) *admissionregistrationv1.ValidatingWebhookConfiguration {
		c := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, cases["default"])).DeepCopy()
		for i := range c.Webhooks {
			c.Webhooks[i].ClientConfig.CABundle = bundle
		}
		return c
	}
	live := []byte(caBundle)
	own := one[*corev1.Secret](t, render(t, cases["default"]))

	t.Run("to one that the webhook makes itself, and every upgrade after that", func(t *testing.T) {
		for _, config := range clientConfigs(t, upgrade(cases["default"], configuration(live))) {
			if !bytes.Equal(config.CABundle, live) {
				t.Errorf("caBundle %q, want that of the cluster", config.CABundle)
			}
		}
	})
	t.Run("to one that the webhook makes itself, where there is none yet", func(t *testing.T) {
		for _, config := range clientConfigs(t, upgrade(cases["default"], configuration(nil))) {
			if config.CABundle != nil {
				t.Errorf("caBundle %q", config.CABundle)
			}
		}
	})
	t.Run("to Helm's", func(t *testing.T) {
		rendered := upgrade(cases["helm"], configuration(live), own)
		ca := one[*corev1.Secret](t, rendered).Data["ca.crt"]
		for _, config := range clientConfigs(t, rendered) {
			if !bytes.Contains(config.CABundle, bytes.TrimSpace(ca)) || !bytes.Contains(config.CABundle, bytes.TrimSpace(live)) {
				t.Errorf("caBundle %q, want Helm's CA %q and what was there %q", config.CABundle, ca, live)
			}
		}
	})
	t.Run("Helm's after another of Helm's", func(t *testing.T) {
		rendered := upgrade(cases["helm"], configuration(live))
		ca := one[*corev1.Secret](t, rendered).Data["ca.crt"]
		for _, config := range clientConfigs(t, rendered) {
			if !bytes.Equal(config.CABundle, ca) {
				t.Errorf("caBundle %q, want %q", config.CABundle, ca)
			}
		}
	})
}

// TestSelfRotatingWebhookMayChangeItsBundlesOnly: the policy is evaluated by a real API server in e2e/certificates.
func TestSelfRotatingWebhookMayChangeItsBundlesOnly(t *testing.T) {
	for name, values := range cases {
		rendered := render(t, values)
		policies := 0
		for _, object := range typed(t, rendered) {
			policy, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicy)
			if !ok || policy.Name != "certificates.saguard.io" {
				continue
			}
			policies++
			account := one[*appsv1.Deployment](t, rendered).Spec.Template.Spec.ServiceAccountName
			if by := policy.Spec.MatchConditions[0].Expression; !strings.Contains(by, "'system:serviceaccount:saguard-system:"+account+"'") {
				t.Errorf("%s: it is not about the webhook's account %s: %s", name, account, by)
			}
		}
		if want := selfRotating(t, rendered) != ""; (policies == 1) != want {
			t.Errorf("%s: %d policies, want one: %v", name, policies, want)
		}
	}
}

// TestNoKeyIsRendered, except where Helm makes it.
func TestNoKeyIsRendered(t *testing.T) {
	for name, values := range cases {
		text, err := render(t, values).YAML()
		if err != nil {
			t.Fatal(err)
		}
		holds := bytes.Contains(text, []byte("PRIVATE KEY")) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte("-----BEGIN EC PRIVATE KEY"))[:32]))
		if want := name == "helm"; holds != want {
			t.Errorf("%s: a private key is rendered: %v", name, holds)
		}
	}
}
