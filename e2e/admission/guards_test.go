package admission_test

import (
	"context"
	"strings"
	"testing"

	"github.com/saguard/saguard/e2e/controlplane"
)

func dryRun(t *testing.T, manifest string) (controlplane.Output, error) {
	t.Helper()
	return shared.CP.KubectlStdin(t.Context(), shared.Admin, strings.NewReader(manifest), "create", "--dry-run=server", "-f", "-")
}

// What the schema, its CEL rules and check guard-change refuse, and what they let in.
func TestGuardsAndBandsAreValidated(t *testing.T) {
	guard := func(spec string) string {
		return `{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"validated"},"spec":` + spec + `}`
	}
	band := func(spec string) string {
		return `{"apiVersion":"saguard.io/v1alpha1","kind":"PolicyBand","metadata":{"name":"validated"},"spec":` + spec + `}`
	}
	if _, err := shared.KubectlStdin(t.Context(), shared.Admin, strings.NewReader(`{"apiVersion":"saguard.io/v1alpha1","kind":"PolicyBand","metadata":{"name":"security"},"spec":{"tiers":["guards-test"],"order":{"min":0,"max":100}}}`), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := shared.Kubectl(context.WithoutCancel(t.Context()), shared.Admin, "delete", "policyband", "security"); err != nil {
			t.Error(err)
		}
	})
	cases := map[string]struct {
		manifest string
		refused  string // "" = let in
	}{
		"an empty guard":                       {manifest: guard(`{}`)},
		"a whole guard":                        {manifest: guard(`{"namespaceSelector":{"matchLabels":{"a":"b"}},"labels":{"mode":"Enforce","keys":["role","net.example.com/*"],"fromPolicies":true},"workloads":{"mode":"Enforce","templates":[{"apiGroup":"argoproj.io","kind":"Rollout","path":"spec.template"}],"connect":"Warn","tokens":"Enforce"},"policies":{"references":"Enforce","precedence":"Enforce","hygiene":"Enforce"},"defaultAccount":{"bindings":"Warn","disableTokenMount":true},"exempt":{"users":["ops"],"groups":["system:masters"]}}`)},
		"a mode that there is not":             {manifest: guard(`{"labels":{"mode":"enforce","keys":["a"]}}`), refused: "spec.labels.mode"},
		"a field that there is not":            {manifest: guard(`{"label":{"keys":["a"]}}`), refused: "unknown field"},
		"labels that guard nothing":            {manifest: guard(`{"labels":{"mode":"Enforce"}}`), refused: "guards no label"},
		"a key that is no label key":           {manifest: guard(`{"labels":{"keys":["a b"]}}`), refused: "spec.labels.keys[0]"},
		"a star that is not a prefix":          {manifest: guard(`{"labels":{"keys":["ro*"]}}`), refused: "spec.labels.keys[0]"},
		"a bare star":                          {manifest: guard(`{"labels":{"keys":["*"]}}`), refused: "spec.labels.keys[0]"},
		"exempting everyone":                   {manifest: guard(`{"exempt":{"groups":["system:authenticated"]}}`), refused: "contains everyone"},
		"exempting every service account":      {manifest: guard(`{"exempt":{"groups":["system:serviceaccounts"]}}`), refused: "contains everyone"},
		"exempting the anonymous":              {manifest: guard(`{"exempt":{"users":["system:anonymous"]}}`), refused: "spec.exempt.users[0]"},
		"a selector that does not parse":       {manifest: guard(`{"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"Is"}]}}`), refused: "namespaceSelector"},
		"a band":                               {manifest: band(`{"tiers":["guards-test"],"order":{"min":100,"max":200},"defaultOrder":150}`)},
		"a band without end":                   {manifest: band(`{"tiers":["guards-test"],"order":{"min":100},"default":true}`)},
		"a band of another tier":               {manifest: band(`{"tiers":["other"],"order":{"min":0,"max":100}}`)},
		"a band that overlaps":                 {manifest: band(`{"tiers":["x","guards-test"],"order":{"min":99.5,"max":200}}`), refused: "overlap band security"},
		"a band without tiers":                 {manifest: band(`{"tiers":[],"order":{"min":0}}`), refused: "spec.tiers"},
		"an empty range":                       {manifest: band(`{"tiers":["x"],"order":{"min":5,"max":5}}`), refused: "min must be below max"},
		"a default order outside of the range": {manifest: band(`{"tiers":["x"],"order":{"min":5,"max":6},"defaultOrder":6}`), refused: "defaultOrder lies outside"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := dryRun(t, tc.manifest)
			if err != nil {
				t.Fatal(err)
			}
			if (out.Code == 0) != (tc.refused == "") || !strings.Contains(out.Stderr, tc.refused) {
				t.Errorf("exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
			}
		})
	}
}

func TestWriterOfAGuardIsWarnedOfALockout(t *testing.T) {
	tn := newTenant(t)
	kubeconfig, err := shared.CP.Kubeconfig("platform-"+tn.namespace, "group-"+tn.namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Kubectl(t.Context(), shared.Admin, "create", "clusterrole", "guards-"+tn.namespace, "--verb=create", "--resource=serviceaccountguards.saguard.io"); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Kubectl(t.Context(), shared.Admin, "create", "clusterrolebinding", "guards-"+tn.namespace, "--clusterrole=guards-"+tn.namespace, "--user=platform-"+tn.namespace); err != nil {
		t.Fatal(err)
	}
	tn.waitFor("the warning", func(ctx context.Context) error {
		out, err := shared.KubectlStdin(ctx, kubeconfig, strings.NewReader(`{"apiVersion":"saguard.io/v1alpha1","kind":"ServiceAccountGuard","metadata":{"name":"lockout"},"spec":{"labels":{"keys":["role"]}}}`), "create", "--dry-run=server", "-f", "-")
		if err == nil && !strings.Contains(out.Stderr, "Warning: guard-change: you may not set guarded label role") {
			t.Errorf("kubectl printed %q", out.Stderr)
		}
		return err
	})
}
