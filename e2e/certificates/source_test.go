package certificates

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/e2e/install"
)

// sourceChanged is what `helm upgrade --set certificates.source=helm` does, and another back: the configurations keep what
// they trust (e2e/chart: TestCertificateSourceCanBeChanged), and replicas of the one kind take over from the other.
func (s *site) sourceChanged(t *testing.T) {
	l := s.load(t)
	s.trustToo(t, string(shared.CP.CABundle()))
	s.replace(t, "files", "--certificate-secret=")
	none(t, l.stop(t, "from selfRotating to helm", "2 replicas replaced"))
	l = s.load(t)
	s.replace(t, "own")
	none(t, l.stop(t, "from helm to selfRotating", "2 replicas replaced"))
}

// trustToo puts a CA before what every caBundle holds.
func (s *site) trustToo(t *testing.T, ca string) {
	t.Helper()
	texts, err := read(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	bundle := []byte(strings.TrimSpace(ca) + "\n" + texts[0])
	c := s.admin.AdmissionregistrationV1()
	patch := func(webhooks int) []byte {
		var set []map[string]any
		for i := range webhooks {
			set = append(set, map[string]any{"op": "replace", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": bundle})
		}
		text, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	v, err := c.ValidatingWebhookConfigurations().Get(t.Context(), "validate.saguard.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ValidatingWebhookConfigurations().Patch(t.Context(), v.Name, types.JSONPatchType, patch(len(v.Webhooks)), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MutatingWebhookConfigurations().Patch(t.Context(), "mutate.saguard.io", types.JSONPatchType, patch(len(texts)-len(v.Webhooks)), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// replace starts two replicas and ends the others when they are ready, as a Deployment with maxUnavailable 0 does.
func (s *site) replace(t *testing.T, name string, args ...string) {
	t.Helper()
	former := shared.Service().Ready()
	for n := range 2 {
		r, err := shared.StartReplica(install.ReplicaOptions{Name: fmt.Sprintf("%s-%d", name, n), Args: args})
		if err != nil {
			t.Fatal(err)
		}
		shared.Service().Add(r)
	}
	if err := shared.Service().Await(t.Context(), func(ready []*install.Replica) bool { return len(ready) == len(former)+2 }); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for _, r := range former {
		group.Go(func() error { return shared.Service().Terminate(t.Context(), r) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := shared.Service().Await(t.Context(), func(ready []*install.Replica) bool { return len(ready) == 2 }); err != nil {
		t.Fatal(err)
	}
}
