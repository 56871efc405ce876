package policies_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// heard collects the warnings that a client is sent.
type heard struct {
	mu   sync.Mutex
	text []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (h *heard) HandleWarningHeader(_ int, _, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, text)
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.text
	h.text = nil
	return out
}

// What the webhook knows of policies, tiers and accounts reaches the author of a policy as warnings, and goes when it is not so
// any more.
func TestWarningsReachTheAuthor(t *testing.T) {
	bothGroups(t, func(t *testing.T, gv schema.GroupVersion) {
		tn := newTenant(t)
		tn.grant(tn.namespace, bindAccounts("web"), bindLabels("role="+tn.namespace))
		cfg, err := shared.CP.User(tn.user)
		if err != nil {
			t.Fatal(err)
		}
		cfg = config(t, cfg)
		var h heard
		cfg.WarningHandler = &h
		client, err := dynamic.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		tier := "security-" + tn.namespace
		tn.existing(gv, fmt.Sprintf("kind: Tier\nmetadata: {name: %s}\nspec: {order: 10}", tier))
		tn.existing(gv, fmt.Sprintf("kind: GlobalNetworkPolicy\nmetadata: {name: %s.deny-intern}\nspec: {tier: %s, order: 10, serviceAccountSelector: role == '%s', ingress: [{action: Deny}]}", tier, tier, tn.namespace))
		mine := fmt.Sprintf("kind: NetworkPolicy\nspec: {serviceAccountSelector: role == '%s', ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}}}]}", tn.namespace)
		expect := func(when string, want ...string) {
			t.Helper()
			tn.eventually(when, func(ctx context.Context) error {
				h.take()
				if err := tn.create(ctx, client, gv, mine, true); err != nil {
					return err
				}
				if got := h.take(); !slices.EqualFunc(got, want, strings.HasPrefix) {
					return fmt.Errorf("warnings %q, want %q", got, want)
				}
				return nil
			})
		}
		shadowed := "ingress never matches, because " + tier + "/deny-intern (order 10) decides first"
		label := "none today: service accounts labelled role=" + tn.namespace + " in namespace " + tn.namespace
		expect("all warnings", shadowed, label, "none today: service account web in namespace "+tn.namespace)
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"role": tn.namespace}}}
		if _, err := tn.admin.CoreV1().ServiceAccounts(tn.namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("the account", shadowed)
		deny := tn.object(gv, "kind: GlobalNetworkPolicy\nmetadata: {name: "+tier+".deny-intern}")
		if err := resource(tn.root, gv, deny).Delete(t.Context(), deny.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("no warning")
	})
}
