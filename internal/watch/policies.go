package watch

import (
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
)

// PolicyAPI reads what network policy speaks of. It asks for JSON, in which what is not wanted can be passed over, and for
// nothing else: it need not know what the API server serves.
type PolicyAPI struct {
	client    client.WithWatch
	discovery *Discovery
}

// NewPolicyAPI returns an API on cfg.
func NewPolicyAPI(cfg *rest.Config) (*PolicyAPI, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	scheme := runtime.NewScheme()
	versions := []schema.GroupVersion{{Version: "v1"}, {Group: "networking.k8s.io", Version: "v1"}, {Group: groupV3, Version: "v3"}, {Group: groupCRD, Version: "v1"}}
	mapper := meta.NewDefaultRESTMapper(versions)
	for _, gv := range versions {
		metav1.AddToGroupVersion(scheme, gv)
	}
	for _, add := range []func(*runtime.Scheme, *meta.DefaultRESTMapper){
		register[podReading], register[namespaceReading], register[accountReading], register[nodeReading], register[kubernetesPolicy],
		register[v3Policy], register[v3GlobalPolicy], register[v3Tier], register[v3Set], register[v3GlobalSet],
		register[crdPolicy], register[crdGlobalPolicy], register[crdTier], register[crdSet], register[crdGlobalSet],
	} {
		add(scheme, mapper)
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("create client of policies: %w", err)
	}
	d, err := NewDiscovery(cfg)
	if err != nil {
		return nil, err
	}
	return &PolicyAPI{client: c, discovery: d}, nil
}

func register[R reading](scheme *runtime.Scheme, mapper *meta.DefaultRESTMapper) {
	var r R
	gvk := r.resource()
	scheme.AddKnownTypeWithName(gvk, &item[R]{})
	scheme.AddKnownTypeWithName(gvk.GroupVersion().WithKind(gvk.Kind+"List"), &itemList[R]{})
	scope := meta.RESTScopeRoot
	if r.namespaced() {
		scope = meta.RESTScopeNamespace
	}
	mapper.Add(gvk, scope)
}

// Policies returns the sources that keep p. Staged policies enforce nothing and are not read. Nodes are followed only where
// podCIDRs, the prefixes of all pods, are not given.
func (a *PolicyAPI) Policies(p *state.Policies, podCIDRs []netip.Prefix) []Source {
	sources := []Source{
		sourceOf[podReading](a, p.Origin(policy.KindPod, "pods", false)),
		sourceOf[namespaceReading](a, p.Origin(policy.KindNamespace, "namespaces", false)),
		sourceOf[accountReading](a, p.Origin(policy.KindServiceAccount, "serviceaccounts", false)),
		sourceOf[kubernetesPolicy](a, p.Origin(policy.KindKubernetesNetworkPolicy, "networkpolicies.networking.k8s.io", false)),
		sourceOf[v3Policy](a, p.Origin(policy.KindNetworkPolicy, "networkpolicies."+groupV3, false)),
		sourceOf[crdPolicy](a, p.Origin(policy.KindNetworkPolicy, "networkpolicies."+groupCRD, true)),
		sourceOf[v3GlobalPolicy](a, p.Origin(policy.KindGlobalNetworkPolicy, "globalnetworkpolicies."+groupV3, false)),
		sourceOf[crdGlobalPolicy](a, p.Origin(policy.KindGlobalNetworkPolicy, "globalnetworkpolicies."+groupCRD, true)),
		sourceOf[v3Tier](a, p.Origin(policy.KindTier, "tiers."+groupV3, false)),
		sourceOf[crdTier](a, p.Origin(policy.KindTier, "tiers."+groupCRD, false)),
		sourceOf[v3Set](a, p.Origin(policy.KindNetworkSet, "networksets."+groupV3, false)),
		sourceOf[crdSet](a, p.Origin(policy.KindNetworkSet, "networksets."+groupCRD, false)),
		sourceOf[v3GlobalSet](a, p.Origin(policy.KindGlobalNetworkSet, "globalnetworksets."+groupV3, false)),
		sourceOf[crdGlobalSet](a, p.Origin(policy.KindGlobalNetworkSet, "globalnetworksets."+groupCRD, false)),
	}
	if len(podCIDRs) > 0 {
		p.SetPodCIDRs(podCIDRs)
		return sources
	}
	p.AwaitNodes()
	return append(sources, Source{
		Name: "nodes", NewList: newList[itemList[nodeReading]], Client: a.client, Paged: true, Sink: nodes(p),
	})
}

// nodeAbsentPoll spares the API server of a cluster without Calico: every node looks for ten resources.
const nodeAbsentPoll = 10 * time.Second

// sourceOf is the source of one resource; where it is one of Calico's, the API server may not serve it.
func sourceOf[R reading](a *PolicyAPI, o *state.Origin) Source {
	var r R
	s := Source{Name: o.Resource(), NewList: newList[itemList[R]], Client: a.client, Paged: true, Sink: parsing[R]{o}}
	if group := r.resource().Group; group == groupV3 || group == groupCRD {
		s.Optional, s.Confirm, s.AbsentPoll = true, a.discovery.Confirm(r.resource()), nodeAbsentPoll
	}
	return s
}

// parsing is a Sink that parses what it is told and tells an origin.
type parsing[R reading] struct{ origin *state.Origin }

func (s parsing[R]) parse(i *item[R]) state.Parsed {
	out := state.Parsed{Namespace: i.Namespace, Name: i.Name}
	if i.err != nil {
		out.Unreadable = i.err.Error()
		return out
	}
	out.Resource, out.Problems = policy.Parse(i.object, s.origin.Semantics())
	return out
}

// Replace implements Sink.
func (s parsing[R]) Replace(objs []client.Object) {
	all := make([]state.Parsed, 0, len(objs))
	for _, o := range objs {
		if i, ok := o.(*item[R]); ok {
			all = append(all, s.parse(i))
		}
	}
	s.origin.Replace(all)
}

// Set implements Sink.
func (s parsing[R]) Set(o client.Object) {
	if i, ok := o.(*item[R]); ok {
		s.origin.Set(s.parse(i))
	}
}

// Delete implements Sink.
func (s parsing[R]) Delete(o client.Object) { s.origin.Delete(o.GetNamespace(), o.GetName()) }

// Absent implements Absenter.
func (s parsing[R]) Absent() { s.origin.Absent() }

// nodes passes on what could be read of spec.podCIDRs; the API server admits only prefixes there.
func nodes(p *state.Policies) Sink {
	prefixes := func(i *item[nodeReading]) []netip.Prefix {
		if n, ok := i.object.Value.(*node); ok {
			return n.prefixes
		}
		return nil
	}
	return typed[*item[nodeReading]]{
		replace: func(all []*item[nodeReading]) {
			m := make(map[string][]netip.Prefix, len(all))
			for _, i := range all {
				m[i.Name] = prefixes(i)
			}
			p.ReplaceNodes(m)
		},
		set:    func(i *item[nodeReading]) { p.SetNode(i.Name, prefixes(i)) },
		remove: func(i *item[nodeReading]) { p.DeleteNode(i.Name) },
	}
}
