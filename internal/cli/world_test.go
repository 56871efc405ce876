package cli

import (
	"context"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/watch"
)

const worldFiles = `
apiVersion: saguard.io/v1alpha1
kind: ServiceAccountGuard
metadata: {name: prod}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}
  labels: {mode: Enforce, fromPolicies: true}
---
apiVersion: saguard.io/v1alpha1
kind: PolicyBand
metadata: {name: developer}
spec: {tiers: [default], order: {min: 100}}
---
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: prod}
spec: {serviceAccountSelector: zone == 'a', selector: broken ==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
`

func emptyWorld(t *testing.T) *checkWorld {
	t.Helper()
	w, err := newCheckWorld(func(context.Context, string) decision.Fact[guard.Namespace] {
		return decision.Unknown[guard.Namespace]("no")
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The webhook's own sources read files as they would read the cluster.
func TestWorldFromFiles(t *testing.T) {
	w := emptyWorld(t)
	manifests, err := readManifests([]string{"-"}, strings.NewReader(worldFiles))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.fill(manifests, policiesAndNamespaces(manifests), fromFiles); err != nil {
		t.Fatal(err)
	}
	if bands := w.cluster.Bands(); len(bands) != 1 || bands[0].Name != "developer" {
		t.Errorf("bands %v", bands)
	}
	ns, ok := w.cluster.Namespace(t.Context(), "prod", false).Get()
	if !ok || ns.Labels["kubernetes.io/metadata.name"] != "prod" {
		t.Errorf("namespace %v: the label that the API server sets is missing", ns)
	}
	if !strings.Contains(strings.Join(w.problems, "\n"), "prod/p: 1 selectors do not parse") {
		t.Errorf("problems %q", w.problems)
	}
	effective := w.cluster.Guards().ForNamespace("prod", ns.Labels, identity.Subject{User: "alice"})
	for key, want := range map[string]v1alpha1.Mode{"zone": v1alpha1.ModeEnforce, "other": v1alpha1.ModeOff} {
		if got := effective.LabelMode(key); got != want {
			t.Errorf("key %s is %s, want %s", key, got, want)
		}
	}
	if f := w.cluster.Namespace(t.Context(), "dev", false); f.WhyUnknown() == "" {
		t.Errorf("a namespace that is in no file is %v", f)
	}
}

// Guards of -f are proposals: they are judged, and judge nothing.
func TestGuardsAmongTheManifestsDoNotHold(t *testing.T) {
	w := emptyWorld(t)
	manifests, err := readManifests([]string{"-"}, strings.NewReader(worldFiles))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.fill(nil, policiesAndNamespaces(manifests), fromFiles); err != nil {
		t.Fatal(err)
	}
	if !w.cluster.Guards().Empty() || len(w.cluster.Bands()) > 0 {
		t.Error("guards or bands of -f hold")
	}
}

// What the cluster has wins over a manifest of the name that is not applied yet.
func TestClusterWinsOverManifests(t *testing.T) {
	w := emptyWorld(t)
	manifests, err := readManifests([]string{"-"}, strings.NewReader("apiVersion: v1\nkind: Namespace\nmetadata: {name: prod, labels: {env: prod}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	live, err := readManifests([]string{"-"}, strings.NewReader("apiVersion: v1\nkind: Namespace\nmetadata: {name: prod, labels: {env: dev}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	list := func(s watch.Source) ([]client.Object, error) {
		kind, err := w.kind(s)
		if err != nil {
			return nil, err
		}
		return objectsOf(s, kind, live)
	}
	if err := w.fill(nil, manifests, list); err != nil {
		t.Fatal(err)
	}
	if ns, _ := w.cluster.Namespace(t.Context(), "prod", false).Get(); ns.Labels["env"] != "dev" {
		t.Errorf("namespace %v", ns)
	}
}
