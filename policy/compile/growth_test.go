package compile_test

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
	"github.com/saguard/saguard/policy/selector"
)

const (
	growthNamespaces = 50
	growthAccounts   = 500 // of all namespaces together
	growthLocal      = 100 // pods on the node
)

// growthWorld has the shape of the benchmark worlds: policies select by account and allow accounts; pods are spread over
// accounts, the first of them on the node.
func growthWorld(tb testing.TB, pods, policies int) []policy.Resource {
	tb.Helper()
	must := func(text string) *selector.Selector {
		s, err := selector.Parse(text)
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
	out := []policy.Resource{&policy.Tier{Name: policy.DefaultTier, Order: policy.DefaultTierOrder}}
	for n := range growthNamespaces {
		out = append(out, &policy.Namespace{Name: fmt.Sprintf("ns-%d", n), Labels: map[string]string{"env": fmt.Sprintf("env-%d", n%5)}})
	}
	for n := range growthAccounts {
		out = append(out, growthAccount(n, fmt.Sprintf("role-%d", n*7%50)))
	}
	for n := range pods {
		out = append(out, growthPod(tb, n))
	}
	for n := range policies {
		id := policy.Ref{Kind: policy.KindNetworkPolicy, Namespace: fmt.Sprintf("ns-%d", n%growthNamespaces), Name: fmt.Sprintf("p-%d", n)}
		allow := func(index int, text string) policy.Rule {
			return policy.Rule{
				Index: index, Action: policy.ActionAllow, Protocol: policy.ProtocolTCP,
				Source:      policy.Entity{Set: &policy.Set{Selector: must(text), Accounts: true, Reading: policy.ReadingCertain}},
				Destination: policy.Entity{Ports: []policy.Port{{First: 8080, Last: 8080}}},
			}
		}
		out = append(out, &policy.Policy{
			ID: id, Tier: policy.DefaultTier, Order: float64(n), AppliesIngress: true,
			Selector: must(fmt.Sprintf("(pcsa.role == 'role-%d') && projectcalico.org/namespace == '%s'", n*3%50, id.Namespace)),
			Ingress: []policy.Rule{
				allow(0, fmt.Sprintf("(pcns.env == 'env-%d') && (pcsa.role in {'role-%d', 'role-%d'})", n%5, n%50, n*11%50)),
				allow(1, fmt.Sprintf("(projectcalico.org/namespace == '%s') && (pcsa.team == 'team-%d' && pcsa.role != 'role-%d')", id.Namespace, n%10, n/500)),
			},
		})
	}
	return out
}

func growthAccount(n int, role string) *policy.ServiceAccount {
	return &policy.ServiceAccount{
		Namespace: fmt.Sprintf("ns-%d", n%growthNamespaces), Name: fmt.Sprintf("sa-%d", n/growthNamespaces),
		Labels: map[string]string{"role": role, "team": fmt.Sprintf("team-%d", n*13%10)},
	}
}

func growthPod(tb testing.TB, n int) *policy.Workload {
	tb.Helper()
	account := growthAccount(n%growthAccounts, "")
	id, err := identity.NewServiceAccount(account.Namespace, account.Name)
	if err != nil {
		tb.Fatal(err)
	}
	node := "remote"
	if n < growthLocal {
		node = "local"
	}
	return &policy.Workload{
		Namespace: account.Namespace, Name: fmt.Sprintf("pod-%d", n), Node: node, Account: id,
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})},
		Labels: map[string]string{
			"app": fmt.Sprintf("app-%d", n), policy.LabelNamespace: account.Namespace, policy.LabelServiceAccount: account.Name,
			policy.LabelOrchestrator: "k8s",
		},
	}
}

func compiled(resources []policy.Resource) (*compile.Compiler, *ruleset.Delta) {
	c := compile.New("local", policy.Strict)
	for _, r := range resources {
		c.Set(r)
	}
	return c, c.Flush(1)
}

func TestARemotePodIsOneElementWhateverTheNumberOfPolicies(t *testing.T) {
	for _, policies := range []int{10, 100, 1000} {
		c, _ := compiled(growthWorld(t, 1000, policies))
		for n := range growthAccounts {
			c.Set(growthPod(t, 1000+n))
			if d := c.Flush(2); d.Len() != 1 || len(d.Addresses) != 1 {
				t.Fatalf("%d policies: one more pod gave %+v, want one address", policies, d)
			}
			c.Delete(policy.Ref{Kind: policy.KindPod, Namespace: growthPod(t, 1000+n).Namespace, Name: fmt.Sprintf("pod-%d", 1000+n)})
			if d := c.Flush(3); d.Len() != 1 || len(d.GoneAddresses) != 1 {
				t.Fatalf("%d policies: one pod less gave %+v, want one address", policies, d)
			}
		}
	}
}

func TestAnAccountLabelCostsTheSameHoweverManyPodsWearIt(t *testing.T) {
	sizes := map[string]bool{}
	for _, pods := range []int{500, 5_000, 50_000} {
		c, _ := compiled(growthWorld(t, pods, 200))
		total := ""
		for n := range 50 {
			c.Set(growthAccount(n, "role-1"))
			d := c.Flush(2)
			if len(d.Addresses)+len(d.Endpoints)+len(d.GoneAddresses)+len(d.GoneEndpoints) > 0 {
				t.Fatalf("%d pods: the label of an account touched addresses: %+v", pods, d)
			}
			total += fmt.Sprint(d.Len(), " ")
		}
		sizes[total] = true
	}
	if len(sizes) != 1 {
		t.Errorf("sizes of the deltas depend on the number of pods: %v", sizes)
	}
}

// BenchmarkGrowth compiles ever larger worlds from nothing, and adds a remote pod to each. per-linear is the time over
// that of the step before, divided by the growth: 1 is linear, less is better. It compares the least times, which the
// other work of the machine disturbs least.
func BenchmarkGrowth(b *testing.B) {
	for _, of := range []struct {
		what  string
		steps []int
		world func(n int) []policy.Resource
	}{
		{"pods", []int{1_000, 10_000, 100_000}, func(n int) []policy.Resource { return growthWorld(b, n, 1_000) }},
		{"policies", []int{100, 1_000, 10_000}, func(n int) []policy.Resource { return growthWorld(b, 10_000, n) }},
	} {
		before, table := 0.0, fmt.Sprintf("%10s %14s %10s %16s\n", of.what, "from nothing", "per linear", "remote pod added")
		for _, n := range of.steps {
			fromNothing, podAdded := 0.0, 0.0
			b.Run(fmt.Sprintf("%s=%d/from=nothing", of.what, n), func(b *testing.B) {
				resources := of.world(n)
				fromNothing = math.Inf(1)
				for b.Loop() {
					start := time.Now()
					compiled(resources)
					fromNothing = min(fromNothing, float64(time.Since(start).Nanoseconds()))
				}
				if before > 0 {
					b.ReportMetric(fromNothing/before/10, "per-linear")
				}
			})
			b.Run(fmt.Sprintf("%s=%d/remote=pod", of.what, n), func(b *testing.B) {
				c, _ := compiled(of.world(n))
				pod := growthPod(b, 1<<20)
				for b.Loop() {
					c.Set(pod)
					c.Flush(2)
					c.Delete(pod.Ref())
					c.Flush(3)
				}
				podAdded = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			})
			ratio := "-"
			if before > 0 {
				ratio = fmt.Sprintf("%.2f", fromNothing/before/10)
			}
			table += fmt.Sprintf("%10d %11.1f ms %10s %13.2f us\n", n, fromNothing/1e6, ratio, podAdded/1e3)
			before = fromNothing
		}
		fmt.Println("\n" + table) // the log of a benchmark with parts is not shown
	}
}
