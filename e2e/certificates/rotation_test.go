package certificates

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/install"
)

// The drills follow each other on one installation, which made its first certificate from an empty Secret.
func TestCertificates(t *testing.T) {
	s := newSite(t)
	keys := &keyring{s: s}
	t.Run("rotated under load", s.rotated)
	t.Run("Secret deleted under load", func(t *testing.T) { keys.note(t); s.secretDeleted(t); keys.note(t) })
	t.Run("Secret damaged under load", s.secretDamaged)
	t.Run("caBundle emptied under load", s.bundleEmptied)
	t.Run("the configurations applied again by a GitOps tool", s.appliedAgain)
	t.Run("all replicas started anew from a deleted Secret", s.fromNothing)
	t.Run("upgrade to Helm's certificate and back, under load", s.sourceChanged)
	t.Run("other clients are refused", s.otherClients)
	t.Run("what the webhook may not do", s.leastPrivilege)
	t.Run("no key in a log", func(t *testing.T) { keys.note(t); keys.search(t) })
}

// total sums a counter over the replicas that are ready.
func total(t *testing.T, name, label, value string) float64 {
	t.Helper()
	sum := 0.0
	for _, r := range shared.Service().Ready() {
		n, err := r.Counter(t.Context(), name, map[string]string{label: value})
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

func promotions(t *testing.T) float64 {
	return total(t, "saguard_certificate_rotation_steps_total", "step", "promote")
}

func repairs(t *testing.T, what string) float64 {
	return total(t, "saguard_certificate_repairs_total", "what", what)
}

func more(t *testing.T, what string, count func(*testing.T) float64, n float64) {
	t.Helper()
	want := count(t) + n
	await(t, what, func(context.Context) error {
		if got := count(t); got < want {
			return fmt.Errorf("%v of %v", got, want)
		}
		return nil
	})
}

func (s *site) rotated(t *testing.T) {
	order := s.webhooks(t)
	o, l := observe(t, s.admin), s.load(t)
	began := time.Now()
	more(t, "four rotations", promotions, 4)
	if got := s.webhooks(t); !slices.Equal(got, order) {
		t.Errorf("webhooks in another order: %v, were %v", got, order)
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	none(t, l.stop(t, "rotated", fmt.Sprintf("4 rotations in %s", took)))
	o.stop(t)
	if len(o.serials) < 4 {
		t.Errorf("%d certificates were served", len(o.serials))
	}
	for _, r := range shared.Service().Ready() {
		if n, err := r.Counter(t.Context(), "saguard_certificate_repairs_total", map[string]string{"what": "secret-emptied"}); err != nil || n != 0 {
			t.Errorf("%s repaired %v Secrets, %v: a rotation is no repair", r.Name, n, err)
		}
	}
}

// webhooks of both configurations by name.
func (s *site) webhooks(t *testing.T) []string {
	t.Helper()
	out, err := shared.Kubectl(t.Context(), shared.Admin, "get", "validatingwebhookconfiguration/validate.saguard.io", "mutatingwebhookconfiguration/mutate.saguard.io", "-o", "jsonpath={.items[*].webhooks[*].name}")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(out.Stdout)
}

// serials of the certificates that the replicas serve.
func (s *site) serials(t *testing.T) map[string]bool {
	t.Helper()
	client, err := api.client(apiServerName)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, r := range shared.Service().Ready() {
		leaf, err := served(t.Context(), r.Address, client)
		if err != nil {
			t.Fatal(err)
		}
		out[leaf.SerialNumber.String()] = true
	}
	return out
}

// awaitOthers waits until no replica serves one of the former certificates.
func (s *site) awaitOthers(t *testing.T, former map[string]bool) {
	t.Helper()
	await(t, "other certificates", func(context.Context) error {
		for serial := range s.serials(t) {
			if former[serial] {
				return fmt.Errorf("%s is served", serial)
			}
		}
		return nil
	})
}

func (s *site) secretDeleted(t *testing.T) {
	missing := repairs(t, "secret-missing")
	o, l := observe(t, s.admin), s.load(t)
	former := s.serials(t)
	if err := s.admin.CoreV1().Secrets(install.Namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitOthers(t, former)
	none(t, l.stop(t, "Secret deleted", "made anew"))
	o.stop(t)
	if got := repairs(t, "secret-missing"); got <= missing {
		t.Errorf("counted %v repairs, before it %v", got, missing)
	}
}

func (s *site) secretDamaged(t *testing.T) {
	damaged := repairs(t, "secret-damaged")
	o, l := observe(t, s.admin), s.load(t)
	former := s.serials(t)
	patch := fmt.Appendf(nil, `{"data":{"tls.key":%q,"next.crt":%q}}`, base64.StdEncoding.EncodeToString([]byte("nonsense")), "eA==")
	if _, err := s.admin.CoreV1().Secrets(install.Namespace).Patch(t.Context(), secretName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.awaitOthers(t, former)
	none(t, l.stop(t, "Secret damaged", "made anew"))
	o.stop(t)
	if got := repairs(t, "secret-damaged"); got <= damaged {
		t.Errorf("counted %v repairs, before it %v", got, damaged)
	}
}

// bundleEmptied: requests fail until the replicas have noticed, and not for longer.
func (s *site) bundleEmptied(t *testing.T) {
	incomplete := repairs(t, "bundle-incomplete")
	l := s.load(t)
	began := time.Now()
	s.emptyBundles(t)
	await(t, "the caBundles", func(ctx context.Context) error { return s.everyBundleTrusts(ctx) })
	repaired := time.Now()
	failures := l.stop(t, "caBundle emptied", fmt.Sprintf("%s until all were back", repaired.Sub(began).Round(time.Millisecond)))
	for _, f := range failures {
		if f.at.After(repaired.Add(settle)) {
			t.Errorf("lost at %s, when the caBundles were back: %v", f.at.Format("15:04:05.000"), f.err)
		}
	}
	if got := repairs(t, "bundle-incomplete"); got <= incomplete {
		t.Errorf("counted %v repairs, before it %v", got, incomplete)
	}
	if err := s.label(t.Context(), 0, "r0"); err != nil {
		t.Error(err)
	}
}

func (s *site) emptyBundles(t *testing.T) {
	t.Helper()
	c := s.admin.AdmissionregistrationV1()
	patch := func(webhooks int) []byte {
		var remove []string
		for i := range webhooks {
			remove = append(remove, fmt.Sprintf(`{"op":"remove","path":"/webhooks/%d/clientConfig/caBundle"}`, i))
		}
		return []byte("[" + strings.Join(remove, ",") + "]")
	}
	v, err := c.ValidatingWebhookConfigurations().Get(t.Context(), "validate.saguard.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.MutatingWebhookConfigurations().Get(t.Context(), "mutate.saguard.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ValidatingWebhookConfigurations().Patch(t.Context(), v.Name, types.JSONPatchType, patch(len(v.Webhooks)), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MutatingWebhookConfigurations().Patch(t.Context(), m.Name, types.JSONPatchType, patch(len(m.Webhooks)), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// everyBundleTrusts what the replicas serve.
func (s *site) everyBundleTrusts(ctx context.Context) error {
	texts, err := read(ctx, s.admin)
	if err != nil {
		return err
	}
	client, err := api.client(apiServerName)
	if err != nil {
		return err
	}
	for _, r := range shared.Service().Ready() {
		leaf, err := served(ctx, r.Address, client)
		if err != nil {
			return err
		}
		for i, text := range texts {
			if err := verify(leaf, text); err != nil {
				return fmt.Errorf("webhook %d: %w", i, err)
			}
		}
	}
	return nil
}

// appliedAgain: the chart's configurations have no caBundle, so that applying them takes none away.
func (s *site) appliedAgain(t *testing.T) {
	incomplete := repairs(t, "bundle-incomplete")
	l := s.load(t)
	if err := shared.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	none(t, l.stop(t, "applied again, server-side", "caBundle is the webhook's field"))
	if got := repairs(t, "bundle-incomplete"); got != incomplete {
		t.Errorf("counted %v repairs, before it %v: the caBundles were taken away", got, incomplete)
	}
}

// fromNothing: no replica has a certificate, and the webhook's failurePolicy is Fail.
func (s *site) fromNothing(t *testing.T) {
	replicas := shared.Service().Ready()
	for _, r := range replicas {
		if err := r.End(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.admin.CoreV1().Secrets(install.Namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// One of the two is a change.
	if s.label(t.Context(), 0, "r1") == nil && s.label(t.Context(), 0, "r0") == nil {
		t.Error("a label was changed while no replica ran")
	}
	began := time.Now()
	for n := range 2 {
		r, err := shared.StartReplica(install.ReplicaOptions{Name: fmt.Sprintf("anew-%d", n)})
		if err != nil {
			t.Fatal(err)
		}
		shared.Service().Add(r)
	}
	anew := func(ready []*install.Replica) bool {
		return len(ready) == 2 && !slices.ContainsFunc(ready, func(r *install.Replica) bool { return slices.Contains(replicas, r) })
	}
	if err := shared.Service().Await(t.Context(), anew); err != nil {
		t.Fatal(err)
	}
	await(t, "an answer", func(ctx context.Context) error {
		if err := s.label(ctx, 0, "r1"); err != nil {
			return err
		}
		return s.label(ctx, 0, "r0")
	})
	t.Logf("from nothing to an answer in %s", time.Since(began).Round(100*time.Millisecond))
}

func (s *site) otherClients(t *testing.T) {
	for name, want := range map[string]bool{apiServerName: true, "kubelet": false} {
		cert, err := api.client(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range shared.Service().Ready() {
			if err := ask(t, r.Address, cert); (err == nil) != want {
				t.Errorf("%s, of the CA of clients: %v", name, err)
			}
		}
	}
	if got := total(t, "saguard_webhook_clients_refused_total", "reason", "name"); got != 2 {
		t.Errorf("counted %v refusals, want 2", got)
	}
}

// leastPrivilege asks as the webhook.
func (s *site) leastPrivilege(t *testing.T) {
	ctx := t.Context()
	cfg, err := shared.CP.User("system:serviceaccount:saguard-system:saguard", "system:serviceaccounts", "system:serviceaccounts:saguard-system", "system:authenticated")
	if err != nil {
		t.Fatal(err)
	}
	webhook := unlimited(t, cfg)
	configurations := webhook.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	for what, patch := range map[string]string{
		"watch all Secrets go by": `[{"op":"replace","path":"/webhooks/0/rules","value":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["*"],"resources":["secrets"]}]}]`,
		"send requests elsewhere": `[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":"https://127.0.0.2/"}]`,
		"fail open":               `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`,
		"take a webhook away":     `[{"op":"remove","path":"/webhooks/0"}]`,
		"add an annotation":       `[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`,
		"judge itself":            `[{"op":"replace","path":"/webhooks/0/namespaceSelector","value":{}}]`,
		"drop match conditions":   `[{"op":"remove","path":"/webhooks/0/matchConditions"}]`,
	} {
		if _, err := configurations.Patch(ctx, "validate.saguard.io", types.JSONPatchType, []byte(patch), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}); err == nil || !strings.Contains(err.Error(), "nothing but caBundle") {
			t.Errorf("the webhook may %s: %v", what, err)
		}
	}
	secrets := webhook.CoreV1().Secrets(install.Namespace)
	secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Name, secret.ResourceVersion, secret.UID = "other", "", ""
	if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); !apierrors.IsForbidden(err) {
		t.Errorf("the webhook may create another Secret: %v", err)
	}
	apply := []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other"}}`)
	if _, err := secrets.Patch(ctx, "other", types.ApplyPatchType, apply, metav1.PatchOptions{FieldManager: "x", DryRun: []string{metav1.DryRunAll}}); !apierrors.IsForbidden(err) {
		t.Errorf("the webhook may apply another Secret: %v", err)
	}
	if _, err := secrets.List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the webhook may list Secrets: %v", err)
	}
}

// keyring remembers private keys.
type keyring struct {
	s    *site
	keys [][]byte
}

func (k *keyring) note(t *testing.T) {
	t.Helper()
	secret, err := k.s.admin.CoreV1().Secrets(install.Namespace).Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range secret.Data {
		if strings.HasSuffix(name, ".key") {
			k.keys = append(k.keys, data)
		}
	}
}

// search looks for a line of a key, and for its base64.
func (k *keyring) search(t *testing.T) {
	if len(k.keys) < 2 {
		t.Fatalf("%d keys are known", len(k.keys))
	}
	for _, name := range []string{"replica-0", "replica-1", "anew-0", "anew-1"} {
		for _, r := range shared.Service().Ready() {
			file := strings.Replace(r.LogPath, r.Name+".log", name+".log", 1)
			log, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(log, []byte("certificate rotation: step done")) && !bytes.Contains(log, []byte("serving certificate changed")) {
				t.Errorf("%s says nothing of rotations", file)
			}
			if bytes.Contains(log, []byte("PRIVATE KEY")) {
				t.Errorf("%s holds a key", file)
			}
			for _, key := range k.keys {
				line := strings.Split(string(key), "\n")[1]
				if bytes.Contains(log, []byte(line)) || bytes.Contains(log, []byte(base64.StdEncoding.EncodeToString(key)[:40])) {
					t.Errorf("%s holds a key", file)
				}
			}
		}
	}
}
