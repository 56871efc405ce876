package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/saguard/saguard/policy"
)

func networkObject(apiVersion, kind, namespace, name string, rest map[string]any) *unstructured.Unstructured {
	meta := map[string]any{"name": name}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}}
	for k, v := range rest {
		o.Object[k] = v
	}
	return o
}

// networkCluster is a cluster that serves Calico's kinds in the given groups; without any, Calico is not installed.
func networkCluster(t *testing.T, groups ...string) (*dynamicfake.FakeDynamicClient, served) {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "namespaces"}: "NamespaceList", {Version: "v1", Resource: "serviceaccounts"}: "ServiceAccountList", {Version: "v1", Resource: "pods"}: "PodList",
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}: "NetworkPolicyList",
	}
	var objects []runtime.Object
	add := func(o *unstructured.Unstructured) { objects = append(objects, o) }
	add(networkObject("v1", "Namespace", "", "prod", nil))
	add(networkObject("v1", "ServiceAccount", "prod", "web", map[string]any{"metadata": map[string]any{"namespace": "prod", "name": "web", "labels": map[string]any{"role": "web"}}}))
	for name, ip := range map[string]string{"web": "10.0.0.1", "db": "10.0.0.2"} {
		add(networkObject("v1", "Pod", "prod", name, map[string]any{
			"spec":   map[string]any{"nodeName": "n1", "serviceAccountName": name},
			"status": map[string]any{"phase": "Running", "podIPs": []any{map[string]any{"ip": ip}}},
		}))
	}
	for _, group := range groups {
		gv, err := schema.ParseGroupVersion(group)
		if err != nil {
			t.Fatal(err)
		}
		for resource, kind := range map[string]string{"tiers": "Tier", "networkpolicies": "NetworkPolicy", "globalnetworkpolicies": "GlobalNetworkPolicy", "networksets": "NetworkSet", "globalnetworksets": "GlobalNetworkSet"} {
			kinds[gv.WithResource(resource)] = kind + "List"
		}
		add(networkObject(group, "NetworkPolicy", "prod", "default.db-"+gv.Version, map[string]any{"spec": map[string]any{"selector": "all()", "types": []any{"Ingress"}}}))
	}
	find := func(gv schema.GroupVersion) (*metav1.APIResourceList, error) {
		if !slices.Contains(groups, gv.String()) {
			return nil, apierrors.NewNotFound(schema.GroupResource{}, gv.String())
		}
		out := &metav1.APIResourceList{}
		for _, name := range []string{"tiers", "networkpolicies", "networkpolicies/status", "globalnetworkpolicies", "networksets", "globalnetworksets", "bgppeers"} {
			out.APIResources = append(out.APIResources, metav1.APIResource{Name: name})
		}
		return out, nil
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...), find
}

func TestNetworkFromCluster(t *testing.T) {
	const v3, crd = "projectcalico.org/v3", "crd.projectcalico.org/v1"
	cases := map[string]struct {
		groups   []string
		policies string
		note     string
	}{
		"Calico's API server": {groups: []string{v3}, policies: "default.db-v3"},
		"CRDs alone":          {groups: []string{crd}, policies: "db-v1"},
		"both hold the same objects, one is enough": {groups: []string{crd, v3}, policies: "default.db-v3"},
		"no Calico": {note: "serves no policies of Calico"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, find := networkCluster(t, tc.groups...)
			o, notes, err := networkFromCluster(t.Context(), c, find, policy.Strict)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(notes, " "), tc.note) || tc.note == "" && len(notes) > 0 {
				t.Errorf("notes %q", notes)
			}
			s := o.Snapshot(policy.Strict)
			if len(s.Workloads) != 2 || s.Namespace("prod") == nil || len(o.Problems()) > 0 {
				t.Errorf("workloads %v, problems %v", s.Workloads, o.Problems())
			}
			if account := s.ServiceAccount(s.Workload("prod", "web").Account); account == nil || account.Labels["role"] != "web" {
				t.Errorf("account %+v", account)
			}
			var policies []string
			for _, tier := range s.Tiers {
				for _, p := range tier.Policies {
					policies = append(policies, p.ID.Name)
				}
			}
			if got := strings.Join(policies, " "); got != tc.policies {
				t.Errorf("policies %q, want %q", got, tc.policies)
			}
		})
	}
}

// Half of what decides would be a misleading answer: what cannot be listed, or is not known to be absent, is an error.
func TestNetworkThatCannotBeReadIsAnError(t *testing.T) {
	const v3 = "projectcalico.org/v3"
	for _, resource := range []string{"namespaces", "serviceaccounts", "pods", "networkpolicies", "tiers", "globalnetworkpolicies", "networksets", "globalnetworksets"} {
		c, find := networkCluster(t, v3)
		c.PrependReactor("list", resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", errors.New("no"))
		})
		o, _, err := networkFromCluster(t.Context(), c, find, policy.Strict)
		if o != nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "kubectl auth can-i list "+resource) {
			t.Errorf("%s: got %v, %v", resource, o, err)
		}
	}
	c, _ := networkCluster(t, v3)
	away := errors.New("the server is currently unable to handle the request")
	o, _, err := networkFromCluster(t.Context(), c, func(schema.GroupVersion) (*metav1.APIResourceList, error) { return nil, away }, policy.Strict)
	if o != nil || !errors.Is(err, away) {
		t.Errorf("an API server of Calico that is away counts as %v, %v", o, err)
	}
}

func TestExitCodesOfDiff(t *testing.T) {
	for want, err := range map[int]error{ExitOK: nil, ExitDifferent: ErrDifferences, ExitTrouble: asTrouble(errors.New("away"))} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
	if text := ErrorText(ErrDifferences); text != "" {
		t.Errorf("text %q of differences that have been told", text)
	}
	if text := ErrorText(asTrouble(errors.New("away"))); text != "error: away" {
		t.Errorf("text %q", text)
	}
	if asTrouble(nil) != nil {
		t.Error("no error is trouble")
	}
}
