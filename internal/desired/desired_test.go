package desired_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/enforcetest"
	"github.com/saguard/saguard/internal/desired"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// cluster has pods, namespaces and Kubernetes policies, from a small stock of names and addresses so that they collide.
type cluster struct {
	*rand.Rand
	*state.Policies
	namespaces, pods, kubernetes *state.Origin
}

func newCluster(seed uint64) *cluster {
	c := &cluster{Rand: rand.New(rand.NewPCG(seed, 3)), Policies: state.NewPolicies(policy.Strict, func() time.Time { return time.Unix(0, 0) })}
	c.namespaces = c.Origin(policy.KindNamespace, "namespaces", false)
	c.pods = c.Origin(policy.KindPod, "pods", false)
	c.kubernetes = c.Origin(policy.KindKubernetesNetworkPolicy, "networkpolicies", false)
	return c
}

func (c *cluster) parse(t *testing.T, apiVersion, kind, text string) state.Parsed {
	t.Helper()
	o, err := policy.DecodeAs(apiVersion, kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := state.Parsed{Namespace: o.Value.GetNamespace(), Name: o.Value.GetName()}
	out.Resource, out.Problems = policy.Parse(o, policy.Strict)
	return out
}

func (c *cluster) namespace(t *testing.T) state.Parsed {
	t.Helper()
	return c.parse(t, "v1", "Namespace", fmt.Sprintf(`{"metadata":{"name":"ns-%d","labels":{"env":"%d"}}}`, c.IntN(2), c.IntN(2)))
}

func (c *cluster) pod(t *testing.T) state.Parsed {
	t.Helper()
	phase := []string{"Running", "Running", "Running", "Succeeded"}[c.IntN(4)]
	return c.parse(t, "v1", "Pod", fmt.Sprintf(`{"metadata":{"name":"p-%d","namespace":"ns-%d","labels":{"app":"a%d"}},"spec":{"nodeName":"n%d"},"status":{"phase":%q,"podIP":"10.0.0.%d"}}`,
		c.IntN(4), c.IntN(2), c.IntN(2), c.IntN(2), phase, c.IntN(5)))
}

func (c *cluster) policy(t *testing.T) state.Parsed {
	t.Helper()
	peer := []string{`{"podSelector":{"matchLabels":{"app":"a0"}}}`, `{"namespaceSelector":{"matchLabels":{"env":"1"}}}`, `{"ipBlock":{"cidr":"0.0.0.0/0"}}`}[c.IntN(3)]
	return c.parse(t, "networking.k8s.io/v1", "NetworkPolicy", fmt.Sprintf(`{"metadata":{"name":"k-%d","namespace":"ns-%d"},"spec":{"podSelector":{"matchLabels":{"app":"a%d"}},"policyTypes":["Ingress","Egress"],"ingress":[{"from":[%s]}],"egress":[{"to":[%s],"ports":[{"port":%d}]}]}}`,
		c.IntN(3), c.IntN(2), c.IntN(2), peer, peer, 80+c.IntN(2)))
}

func (c *cluster) event(t *testing.T) {
	t.Helper()
	switch c.IntN(10) {
	case 0:
		c.namespaces.Set(c.namespace(t))
	case 1:
		x := c.namespace(t)
		c.namespaces.Delete(x.Namespace, x.Name)
	case 2:
		x := c.policy(t)
		c.kubernetes.Delete(x.Namespace, x.Name)
	case 3, 4:
		c.kubernetes.Set(c.policy(t))
	case 5:
		x := c.pod(t)
		c.pods.Delete(x.Namespace, x.Name)
	case 6:
		c.pods.Replace([]state.Parsed{c.pod(t)})
	case 7:
		prefix := func() []netip.Prefix {
			return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 28+c.IntN(3))}
		}
		if c.IntN(3) == 0 {
			c.SetPodCIDRs(prefix())
		} else {
			c.ReplaceNodes(map[string][]netip.Prefix{"n0": prefix(), "n1": prefix()})
		}
	default:
		c.pods.Set(c.pod(t))
	}
}

// Random events, taken one by one or together, into a kernel that takes nothing out of order: it always holds what is
// compiled from nothing, and with every single event it passes through what was compiled of the world after that event.
func TestEveryEventIsAWorld(t *testing.T) {
	for seed := range uint64(200) {
		c := newCluster(seed)
		c.namespaces.Replace([]state.Parsed{c.namespace(t)})
		c.pods.Replace(nil)
		c.kubernetes.Replace(nil)
		feed := desired.New(c.Policies, "n0")
		kernel := enforcetest.New()
		backend, err := kernel.Candidate("nft").Open()
		if err != nil {
			t.Fatal(err)
		}
		rules := ruleset.New()
		var worlds map[uint64]*ruleset.Ruleset
		look := func() {
			from := compile.New("n0", c.Semantics())
			from.SetPodCIDRs(c.PodCIDRs(), c.PodCIDRsOf("n0")...)
			s := c.Snapshot()
			from.SetSnapshot(s)
			world := ruleset.New()
			world.Apply(from.Flush(s.Rev))
			worlds[c.Revision()] = world
		}
		take := func() []enforce.Change {
			changes, why := feed.Take()
			if why != "" {
				t.Fatal(why)
			}
			for _, ch := range changes {
				rules.Apply(ch.Delta)
				if want := worlds[rules.Revision]; want == nil || !rules.Equal(want) {
					t.Fatalf("seed %d, revision %d: \n%s\nnever was; it was\n%s", seed, rules.Revision, rules, want)
				}
			}
			return changes
		}
		worlds = map[uint64]*ruleset.Ruleset{}
		look()
		take()
		if err := backend.Sync(t.Context(), rules); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			c.event(t)
			look()
			if c.IntN(3) > 0 {
				continue
			}
			var deltas []*ruleset.Delta
			for _, ch := range take() {
				deltas = append(deltas, ch.Delta)
			}
			if err := backend.Apply(t.Context(), deltas); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := kernel.Table("nft"); !got.Equal(worlds[c.Revision()]) {
				t.Fatalf("seed %d: the kernel holds\n%s\nwant\n%s", seed, got, worlds[c.Revision()])
			}
		}
	}
}

func TestWorldWithoutObjectsHasRules(t *testing.T) {
	p := state.NewPolicies(policy.Strict, time.Now)
	pods := p.Origin(policy.KindPod, "pods", false)
	feed := desired.New(p, "n0")
	if changes, why := feed.Take(); why == "" || changes != nil {
		t.Errorf("%v, %q before anything was read", changes, why)
	}
	pods.Replace(nil)
	<-feed.Changed()
	changes, why := feed.Take()
	if why != "" || len(changes) != 1 || changes[0].Delta.Len() == 0 {
		t.Errorf("%v, %q", changes, why)
	}
	if changes, _ := feed.Take(); len(changes) != 0 {
		t.Errorf("again %v", changes)
	}
}
