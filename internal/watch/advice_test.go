package watch

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy/reference"
)

func unstructuredCalico(kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "projectcalico.org/v3", "kind": kind, "spec": spec}}
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func sinkOf(t *testing.T, sources []Source, name string) Sink {
	t.Helper()
	for _, s := range sources {
		if s.Name == name {
			return s.Sink
		}
	}
	t.Fatalf("there is no source %s", name)
	return nil
}

// What the sources of advice and of policies see is what memory holds: objects that cannot be read are there, and prove nothing.
func TestAdviceReachesMemory(t *testing.T) {
	always := func() bool { return true }
	c := state.New(state.Live{PoliciesCurrent: always, TiersCurrent: always, AccountsCurrent: always}, nil)
	sources := append(Admission(c, func(state.PolicyID, int) {}), Advice(c)...)
	accounts, tiers := sinkOf(t, sources, AccountsName), sinkOf(t, sources, "Tier.projectcalico.org")
	policies, global := sinkOf(t, sources, "NetworkPolicy.projectcalico.org"), sinkOf(t, sources, "GlobalNetworkPolicy.projectcalico.org")

	web := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "web", Labels: map[string]string{"role": "a"}}}
	accounts.Replace([]client.Object{web})
	if is, ok := c.AnyAccount("prod", reference.Grant{Kind: reference.Label, Key: "role", Value: "a"}).Get(); !is || !ok {
		t.Error("the account's label is not known")
	}
	accounts.Delete(web)
	accounts.Set(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "api"}})
	for name, want := range map[string]bool{"web": false, "api": true} {
		if is, ok := c.AnyAccount("", reference.Grant{Kind: reference.Account, Value: name}).Get(); is != want || !ok {
			t.Errorf("%s is there: %v, want %v", name, is, want)
		}
	}

	good := unstructuredCalico("Tier", "", "security", map[string]any{"order": 5.0})
	tiers.Replace([]client.Object{good, unstructuredCalico("Tier", "", "odd", map[string]any{"order": "first"}), unstructuredCalico("Tier", "", "gone", nil)})
	tiers.Set(unstructuredCalico("Tier", "", "late", map[string]any{"order": 7.0, "defaultAction": "Pass"}))
	tiers.Delete(unstructuredCalico("Tier", "", "gone", nil))
	policies.Replace([]client.Object{unstructuredCalico("NetworkPolicy", "prod", "a", nil), unstructuredCalico("NetworkPolicy", "prod", "b", map[string]any{"order": []any{}}), unstructuredCalico("NetworkPolicy", "", "nowhere", nil)})
	global.Set(unstructuredCalico("GlobalNetworkPolicy", "", "g", nil))
	o, _ := c.Others("prod").Get()
	if len(o.Own) != 2 || len(o.Global) != 1 {
		t.Errorf("%d policies of the namespace and %d global ones", len(o.Own), len(o.Global))
	}
	known, ok := o.Tiers.Get()
	if !ok || len(known) != 3 || known["security"].Order != 5 || known["late"].Order != 7 {
		t.Errorf("tiers %v", known)
	}
	if odd := known["odd"].Order; odd < 0 || odd >= 0 {
		t.Errorf("a tier that cannot be read has order %v", odd)
	}
}

// Guards wait for policies, and not for what only advice rests on.
func TestNobodyWaitsForAdvice(t *testing.T) {
	for _, s := range Advice(state.New(state.Live{}, nil)) {
		if !s.Unawaited || !s.Advisory {
			t.Errorf("%s is waited for", s.Name)
		}
	}
	for _, s := range Admission(state.New(state.Live{}, nil), nil) {
		if s.Advisory {
			t.Errorf("%s is advisory", s.Name)
		}
	}
}
