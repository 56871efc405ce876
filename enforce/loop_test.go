package enforce_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/enforcetest"
	"github.com/saguard/saguard/internal/desired"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

var errKernel = errors.New("no memory")

// node is a loop in a bubble where time passes only when all is quiet, over a kernel in memory and real policies.
type node struct {
	*enforce.Loop
	t                            *testing.T
	kernel                       *enforcetest.Kernel
	policies                     *state.Policies
	namespaces, pods, kubernetes *state.Origin
	stale, bypassed              said
	registry                     *prometheus.Registry
	stop                         func()
}

// enforced runs test with a running loop over the candidates, "nft" if there are none.
func enforced(t *testing.T, kernel *enforcetest.Kernel, candidates []string, test func(n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, kernel: kernel, policies: state.NewPolicies(policy.Strict, time.Now), registry: prometheus.NewRegistry()}
		n.namespaces = n.policies.Origin(policy.KindNamespace, "namespaces", false)
		n.pods = n.policies.Origin(policy.KindPod, "pods", false)
		n.kubernetes = n.policies.Origin(policy.KindKubernetesNetworkPolicy, "networkpolicies", false)
		metrics, err := enforce.NewMetrics(n.registry)
		if err != nil {
			t.Fatal(err)
		}
		o := enforce.Options{
			Feed: desired.New(n.policies, "node"), Metrics: metrics, Log: logr.Discard(), Now: time.Now,
			WhyStale: func() string { return n.stale.get() }, Path: func([]netip.Addr) (string, string) { return n.bypassed.get(), "" },
		}
		if candidates == nil {
			candidates = []string{"nft"}
		}
		for _, name := range candidates {
			o.Candidates = append(o.Candidates, kernel.Candidate(name))
		}
		n.Loop, err = enforce.New(o)
		if err != nil {
			t.Fatal(err)
		}
		n.registry.MustRegister(n.Collector())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		stopped := false
		n.stop = func() {
			if stopped {
				return
			}
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if kernel.Open() != 0 {
				t.Errorf("%d appliers left open", kernel.Open())
			}
		}
		synctest.Wait()
		test(n)
		n.stop()
	})
}

// said is a text that two goroutines know of.
type said struct{ v atomic.Pointer[string] }

func (s *said) set(text string) { s.v.Store(&text) }

func (s *said) get() string {
	if p := s.v.Load(); p != nil {
		return *p
	}
	return ""
}

// pass lets the bubble's time pass.
func (n *node) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // of a synctest bubble, no real time
	synctest.Wait()
}

// read makes everything be read: a namespace, and pods of which the first is the node's.
func (n *node) read(pods ...int) {
	n.namespaces.Replace([]state.Parsed{parsed(&policy.Namespace{Name: "a"})})
	var all []state.Parsed
	for _, i := range pods {
		all = append(all, pod(i))
	}
	n.pods.Replace(all)
	n.kubernetes.Replace(nil)
	synctest.Wait()
}

func parsed(r policy.Resource) state.Parsed {
	return state.Parsed{Namespace: r.Ref().Namespace, Name: r.Ref().Name, Resource: r}
}

func pod(i int) state.Parsed {
	w := &policy.Workload{
		Namespace: "a", Name: fmt.Sprintf("pod-%d", i), Node: "node", Labels: map[string]string{policy.LabelNamespace: "a", policy.LabelOrchestrator: "k8s"},
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
	}
	if i > 1 {
		w.Node = "other"
	}
	return parsed(w)
}

// deny is a policy of namespace a that denies what comes to its pods.
func (n *node) deny(t *testing.T) {
	t.Helper()
	o, err := policy.DecodeAs("networking.k8s.io/v1", "NetworkPolicy", []byte(`{"metadata":{"name":"deny","namespace":"a"},"spec":{"podSelector":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, problems := policy.Parse(o, policy.Strict)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	n.kubernetes.Set(parsed(r))
	synctest.Wait()
}

// mustHold compares the kernel with what is compiled from nothing.
func (n *node) mustHold(backend string) {
	n.t.Helper()
	want, _ := compile.Compile(n.policies.Snapshot(), "node", n.policies.PodCIDRs()...)
	got := n.kernel.Table(backend)
	if got == nil || !got.Equal(want) {
		n.t.Errorf("the kernel holds\n%v\nwant\n%v", got, want)
	}
}

func (n *node) mustBe(s enforce.State, message string) {
	n.t.Helper()
	got := n.Status()
	if got.State != s || !strings.Contains(got.Message, message) {
		n.t.Errorf("status %+v, want %s: %s", got, s, message)
	}
	if (n.WhyNotReady() == "") != (s == enforce.Enforcing) {
		n.t.Errorf("%s: not ready for %q", s, n.WhyNotReady())
	}
}

func (n *node) mustLog(want ...string) {
	n.t.Helper()
	if got := n.kernel.Log(); !slices.Equal(got, want) {
		n.t.Errorf("the kernel was told %q, want %q", got, want)
	}
}

func (n *node) metric(name string, label ...string) float64 {
	n.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "saguard_agent_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) == 0 || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label[0] }) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	n.t.Fatalf("no metric %s %v", name, label)
	return 0
}

func TestNothingIsProgrammedBeforeEverythingIsRead(t *testing.T) {
	kernel := enforcetest.New()
	before := ruleset.New()
	before.Revision = 7
	kernel.Put("nft", before)
	enforced(t, kernel, nil, func(n *node) {
		n.namespaces.Replace([]state.Parsed{parsed(&policy.Namespace{Name: "a"})})
		n.pods.Replace([]state.Parsed{pod(1)})
		n.pass(time.Hour)
		n.mustBe(enforce.Waiting, "KubernetesNetworkPolicy not read yet")
		n.mustLog()
		if r := kernel.Table("nft"); r == nil || r.Revision != 7 {
			t.Errorf("what was in the kernel is %v", r)
		}
		n.kubernetes.Replace(nil)
		synctest.Wait()
		n.mustBe(enforce.Enforcing, "")
		n.mustLog("nft sync")
		n.mustHold("nft")
	})
}

func TestEventsReachTheKernel(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1, 2)
		n.deny(t)
		n.pass(5 * time.Millisecond)
		n.mustHold("nft")
		n.mustLog("nft sync", "nft apply 1")
		if n.metric("event_to_kernel_seconds") < 2 || n.metric("revision_lag") != 0 || n.metric("size", "endpoints") != 1 {
			t.Errorf("metrics: %v events, lag %v, %v endpoints", n.metric("event_to_kernel_seconds"), n.metric("revision_lag"), n.metric("size", "endpoints"))
		}
	})
}

// Events that come in one go are one call of the kernel, and each is a delta of its own.
func TestEventsGather(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1)
		n.deny(t)
		for i := range 50 {
			n.pods.Set(pod(2 + i))
		}
		n.pass(5 * time.Millisecond)
		n.mustHold("nft")
		n.mustLog("nft sync", "nft apply 51")
	})
}

func TestEventThatChangesNoRuleIsInForceAtOnce(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1)
		n.pass(time.Second)
		n.namespaces.Set(parsed(&policy.Namespace{Name: "a", Labels: map[string]string{"nobody": "reads"}}))
		n.pass(5 * time.Millisecond)
		n.mustLog("nft sync")
		if s := n.Status(); s.AppliedRevision != s.Revision || s.Revision == 0 {
			t.Errorf("applied %d of %d", s.AppliedRevision, s.Revision)
		}
	})
}

func TestErrorsAreFollowedBySync(t *testing.T) {
	cases := map[string]struct {
		fail string
		errs int
		want []string
	}{
		"the first sync":          {fail: "nft sync", errs: 3, want: []string{"nft sync"}},
		"an apply":                {fail: "nft apply", errs: 1, want: []string{"nft sync", "nft sync"}},
		"the probe":               {fail: "nft probe", errs: 2, want: []string{"nft sync"}},
		"opening":                 {fail: "nft open", errs: 2, want: []string{"nft sync"}},
		"verify by another error": {fail: "nft verify", errs: 1, want: []string{"nft sync", "nft apply 1", "nft sync"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kernel := enforcetest.New()
			kernel.Fail(tc.fail, slices.Repeat([]error{errKernel}, tc.errs)...)
			enforced(t, kernel, nil, func(n *node) {
				n.read(1)
				if len(tc.want) == 1 {
					n.mustBe(enforce.Failing, errKernel.Error())
				}
				n.pass(time.Second)
				n.deny(t)
				n.pass(5 * time.Second)
				n.mustBe(enforce.Enforcing, "")
				n.mustHold("nft")
				if got := n.kernel.Log(); !slices.Equal(got[:len(tc.want)], tc.want) {
					t.Errorf("the kernel was told %q, want %q", got, tc.want)
				}
				if s := n.Status(); s.Errors != uint64(tc.errs) || s.Error != "" {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

// A kernel that goes on refusing is tried again ever more rarely, and at last every few seconds.
func TestErrorsAreTriedAgainWithBackoff(t *testing.T) {
	kernel := enforcetest.New()
	kernel.Fail("nft sync", slices.Repeat([]error{errKernel}, 1000)...)
	enforced(t, kernel, nil, func(n *node) {
		n.read(1)
		n.pass(time.Minute)
		n.mustBe(enforce.Failing, errKernel.Error())
		if s := n.Status(); s.Errors < 15 || s.Errors > 25 {
			t.Errorf("%d tries in a minute", s.Errors)
		}
		if n.metric("revision_lag") == 0 || n.metric("kernel_errors_total", "sync") == 0 {
			t.Error("metrics do not tell")
		}
	})
}

func TestDriftIsRepaired(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1)
		n.deny(t)
		n.pass(time.Second)
		n.kernel.Edit("nft", "table inet saguard is gone")
		n.pass(2 * time.Second)
		n.mustHold("nft")
		n.mustBe(enforce.Enforcing, "")
		n.mustLog("nft sync", "nft apply 1", "nft sync")
		if s := n.Status(); s.Repairs != 1 || s.LastDrift != "table inet saguard is gone" || n.metric("repairs_total") != 1 {
			t.Errorf("status %+v", s)
		}
		n.pass(time.Minute)
		n.mustLog("nft sync", "nft apply 1", "nft sync")
	})
}

func TestBackendIsChosenByProbing(t *testing.T) {
	cases := map[string]struct {
		fail map[string]error
		want string // "" = none
	}{
		"the first that works":           {want: "bpf"},
		"the second where probing fails": {fail: map[string]error{"bpf probe": errKernel}, want: "nft"},
		"the second where opening fails": {fail: map[string]error{"bpf open": errKernel}, want: "nft"},
		"none":                           {fail: map[string]error{"bpf open": errKernel, "nft probe": errKernel}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kernel := enforcetest.New()
			for op, err := range tc.fail {
				kernel.Fail(op, slices.Repeat([]error{err}, 1000)...)
			}
			enforced(t, kernel, []string{"bpf", "nft"}, func(n *node) {
				n.read(1)
				s := n.Status()
				if s.Backend != tc.want || len(s.Notes) != len(tc.fail) && tc.want != "" {
					t.Errorf("status %+v", s)
				}
				if tc.want == "" {
					n.mustBe(enforce.Failing, errKernel.Error())
					n.mustLog()
				}
			})
		})
	}
}

// The other backend's rules are removed, and only once this one's are in force.
func TestMigrationLeavesNoGap(t *testing.T) {
	kernel := enforcetest.New()
	kernel.Put("nft", ruleset.New())
	kernel.Fail("bpf sync", errKernel)
	kernel.Fail("nft remove", errKernel)
	enforced(t, kernel, []string{"bpf", "nft"}, func(n *node) {
		n.read(1)
		n.mustLog()
		if kernel.Table("nft") == nil {
			t.Error("the old rules went before the new ones came")
		}
		n.pass(11 * time.Second)
		n.mustLog("bpf sync")
		if s := n.Status(); !slices.Equal(s.Leftover, []string{"nft"}) {
			t.Errorf("status %+v", s)
		}
		n.pass(11 * time.Second)
		n.mustLog("bpf sync", "nft remove")
		if s := n.Status(); len(s.Leftover) > 0 || kernel.Table("nft") != nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestBypassedNodesAreRefused(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.bypassed.set("bridge cni0 does not call iptables")
		n.read(1)
		n.pass(time.Minute)
		n.mustBe(enforce.Refused, "cni0")
		n.mustLog()
		n.bypassed.set("")
		n.pass(11 * time.Second)
		n.mustBe(enforce.Enforcing, "")
		n.mustLog("nft sync")

		// Found out later: what can be enforced still is, and the status tells.
		n.bypassed.set("bridge cni0 does not call iptables")
		n.pass(11 * time.Second)
		n.mustBe(enforce.Bypassed, "cni0")
		n.deny(t)
		n.pass(time.Second)
		n.mustHold("nft")
	})
}

func TestStaleIsSaidAndEnforcementGoesOn(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1)
		n.stale.set("pods not heard of for 1h0m0s")
		n.mustBe(enforce.Stale, "pods")
		n.deny(t)
		n.pass(time.Hour)
		n.mustHold("nft")
		if n.metric("state", "Stale") != 1 || n.metric("state", "Enforcing") != 0 {
			t.Error("metrics do not tell")
		}
		n.stale.set("")
		n.mustBe(enforce.Enforcing, "")
	})
}

func TestRulesOutliveTheLoop(t *testing.T) {
	kernel := enforcetest.New()
	enforced(t, kernel, nil, func(n *node) {
		n.read(1)
		n.deny(t)
		n.pass(time.Second)
		n.stop()
		n.mustHold("nft")
		n.mustLog("nft sync", "nft apply 1")
	})
}

func TestPacketsAreNamed(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		n.read(1, 2)
		n.deny(t)
		n.pass(time.Second)
		f := ruleset.Flow{Source: netip.MustParseAddr("10.0.0.2"), Destination: netip.MustParseAddr("10.0.0.1"), Protocol: 6, Port: 80}
		e, err := n.Explain(n.t.Context(), f)
		if err != nil || !e.Agree || e.Ingress.Allow || !e.Ingress.Applies || e.Egress.Applies || e.Target.Pod.Name != "pod-1" {
			t.Fatalf("%+v, %v", e, err)
		}
		if !strings.Contains(e.IngressRule.Policy, "deny") {
			t.Errorf("rule %+v", e.IngressRule)
		}
		if !n.kernel.Report(enforce.Event{Flow: f, Rule: e.Ingress.Rule, Lost: 3}) {
			t.Fatal("nobody watches")
		}
		p := <-n.Packets()
		if p.Rule != e.IngressRule || p.Source.Pod.Name != "pod-2" || p.Lost != 3 || p.Allowed {
			t.Errorf("%+v", p)
		}
		// Nobody reads them: they are counted, and nothing stands still.
		for range 5000 {
			n.kernel.Report(enforce.Event{Flow: f, Rule: e.Ingress.Rule})
		}
		synctest.Wait()
		n.pods.Set(pod(9))
		n.pass(time.Second)
		n.mustHold("nft")
		if n.metric("packet_events_lost_total") < 1000 {
			t.Errorf("%v packets lost", n.metric("packet_events_lost_total"))
		}
		n.pass(11 * time.Second)
		if n.metric("packets_total", "Deny") == 0 {
			t.Error("hits are not counted")
		}
	})
}

func TestExplainWithoutKernel(t *testing.T) {
	enforced(t, enforcetest.New(), nil, func(n *node) {
		e, err := n.Explain(n.t.Context(), ruleset.Flow{Source: netip.MustParseAddr("10.0.0.2"), Destination: netip.MustParseAddr("10.0.0.1")})
		if err != nil || e.KernelError == "" || e.Agree {
			t.Errorf("%+v, %v", e, err)
		}
	})
}
