package appliertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// exchange: two states follow each other, in both of which the same packets are denied, for reasons that a mixture of the two
// would not have. Nothing may pass at any moment, neither by Apply nor by Sync.
func exchange(t *testing.T, b Backend) {
	w := newCast(t, b)
	const rule = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: called}
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: UDP, source: {serviceAccounts: {selector: role == 'frontend'}}, destination: {ports: [%d]}}
  - {action: Allow, protocol: UDP, source: {nets: [10.65.1.2/32, "fd65:1::2/128"]}, destination: {ports: [90]}}
`
	state := func(i int) {
		port, role := 80, "intern"
		if i%2 == 1 {
			port, role = 81, "frontend"
		}
		// web: in one state it has the role but not the port, in the other the port but not the role. The name of the account
		// and the place of the pod change as well, so that identities change with their rows.
		w.set(mustDecode(t, fmt.Sprintf(rule, port))...)
		w.set(account("prod", "web", map[string]string{"role": role}))
		w.set(pod("prod", "web", "node-1", []string{"web", "other"}[i/2%2], map[string]string{"app": "web"}, web4, web6))
		w.set(account("prod", "other", map[string]string{"role": role}))
	}
	good := []ruleset.Flow{flow(api4, db4, policy.ProtocolUDP, 90), flow(api4, db24, policy.ProtocolUDP, 90)}
	bad := []ruleset.Flow{
		flow(web4, db4, policy.ProtocolUDP, 80), flow(web6, "fd65:1::3", policy.ProtocolUDP, 80), flow(web4, db24, policy.ProtocolUDP, 80),
		flow(web6, db26, policy.ProtocolUDP, 80),
	}
	for i := range 4 {
		state(i)
		w.sync()
		w.mustStand(good, bad)
	}
	f := w.rig.flood(good, bad)
	for i := range 300 * volume(t) {
		state(i)
		if i%30 == 29 {
			w.sync()
		} else {
			w.apply()
		}
		if i%50 == 0 {
			if err := f.more(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.clean(f)
}

// restart: a new process takes over what the old one left, with a ruleset whose IDs are all different.
func restart(t *testing.T, b Backend) {
	w := newCast(t, b)
	w.set(mustDecode(t, called)...)
	w.apply()
	good, bad := w.goodAndBad()
	f := w.rig.flood(good, bad)
	for i := range 5 * volume(t) {
		for j := range 4 {
			w.churn(4*i + j)
			w.apply()
		}
		w.churn(4*i + 3) // while nobody is there
		w.flush()
		for _, s := range w.sides {
			if err := f.more(2); err != nil {
				t.Fatal(err)
			}
			w.restart(s)
		}
	}
	w.mustStand(good, bad)
	if err := f.more(2); err != nil {
		t.Error(err)
	}
	w.clean(f)
	objects, rows := readTable(t, "testdata/table/accounts.txt")
	w.set(objects...)
	w.remove(policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: "called"})
	for i := range 7 {
		name := fmt.Sprintf("churn-%d", i)
		w.remove(policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: name}, policy.Ref{Kind: policy.KindNetworkPolicy, Namespace: "dev", Name: name})
	}
	w.set(cast(t)...)
	w.apply()
	w.check(w.probes(rows))
}

// tamper: damage is noticed as Drift and repaired by Sync, during which nothing that was denied before gets through.
func tamper(t *testing.T, b Backend) {
	if len(b.Tampers) == 0 {
		t.Errorf("backend %s has no way to be tampered with", b.Name)
	}
	w := newCast(t, b)
	objects, rows := readTable(t, "testdata/table/accounts.txt")
	w.set(objects...)
	w.apply()
	for _, what := range slices.Sorted(maps.Keys(b.Tampers)) {
		t.Run(what, func(t *testing.T) {
			outer := w.t
			w.t = t
			defer func() { w.t = outer }()
			for _, s := range w.sides {
				if err := w.verify(s); err != nil {
					t.Fatalf("Verify before: %v", err)
				}
				if err := s.call(func() error { return b.Tampers[what](s.node.Node) }); err != nil {
					t.Fatalf("tamper: %v", err)
				}
				err := w.verify(s)
				var drift *enforce.Drift
				if !errors.As(err, &drift) {
					t.Errorf("Verify says %v, want *enforce.Drift", err)
				} else if drift.What == "" {
					t.Errorf("Drift does not say what")
				} else {
					t.Logf("%s: %v", s.node.Name, drift)
				}
				w.syncSide(s)
				if err := w.verify(s); err != nil {
					t.Errorf("Verify after Sync: %v", err)
				}
			}
			w.check(w.probes(rows))
		})
	}
}

// removed: Remove leaves nothing, and may be called twice.
func removed(t *testing.T, b Backend) {
	r := newRig(t, b)
	before, counted := map[*node]string{}, map[*node]int{}
	for _, n := range r.nodes {
		before[n] = n.listing()
		counted[n] = n.objects()
	}
	w := newWorld(t, r)
	objects := cast(t)
	r.place(objects)
	w.set(objects...)
	policies, rows := readTable(t, "testdata/table/accounts.txt")
	w.set(policies...)
	w.apply()
	w.check(w.probes(rows))
	for _, s := range w.sides {
		if err := s.call(func() error { return s.applier.Close() }); err != nil {
			t.Errorf("close: %v", err)
		}
		s.applier = nil
	}
	w.send(w.probes(rows)) // the rules outlive the process
	for range 2 {
		for _, s := range w.sides {
			if err := s.call(func() error { return b.Remove(s.node.Node) }); err != nil {
				t.Errorf("remove: %v", err)
			}
		}
	}
	probes := w.probes(rows)
	for i := range probes {
		probes[i].want = true
	}
	w.send(probes)
	for _, s := range w.sides {
		if left := s.node.objects() - counted[s.node]; left != 0 {
			t.Errorf("%d kernel objects are left on %s", left, s.node.Name)
		}
		if got := s.node.listing(); got != before[s.node] {
			t.Errorf("the rules on %s are not what they were:\n%s\nwant\n%s", s.node.Name, got, before[s.node])
		}
	}
}

// objects counts the backend's kernel objects, 0 if it has no way to.
func (n *node) objects() int {
	if n.rig.backend.Objects == nil {
		return 0
	}
	var count int
	var err error
	n.worker.run(func() { count, err = n.rig.backend.Objects(n.Node) })
	n.rig.fatal(err, "count objects of %s", n.Name)
	return count
}

// listing is what nft says is there, without counters.
func (n *node) listing() string {
	out, err := n.command("", "nft", "--stateless", "list", "ruleset")
	n.rig.fatal(err, "list rules")
	return out
}

func descriptors(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, to)
		}
	}
	return out
}

// growth: after thousands of changes that cancel each other out, there is no more of anything than before.
func growth(t *testing.T, b Backend) {
	w := newCast(t, b)
	changes := 1000 * volume(t)
	rest := func() (fds int, objects []int) {
		t.Helper()
		w.clear()
		w.set(cast(t)...)
		w.set(mustDecode(t, called)...)
		w.apply()
		for _, s := range w.sides {
			objects = append(objects, s.node.objects())
			if err := w.verify(s); err != nil {
				t.Errorf("Verify: %v", err)
			}
		}
		return len(descriptors(t)), objects
	}
	run := func(from, to int) {
		for i := from; i < to; i++ {
			w.churn(i)
			w.apply()
			if i%200 == 199 {
				w.sync()
			}
		}
	}
	run(0, changes/10)
	fds, objects := rest()
	start := time.Now()
	run(changes/10, changes)
	t.Logf("%d changes in %v", changes-changes/10, time.Since(start).Round(time.Millisecond))
	fdsAfter, objectsAfter := rest()
	t.Logf("descriptors %d, then %d; kernel objects %v, then %v", fds, fdsAfter, objects, objectsAfter)
	if fdsAfter > fds {
		t.Errorf("%d open files became %d: %v", fds, fdsAfter, descriptors(t))
	}
	for i := range objects {
		// What traffic itself makes may come and go: a leak would be far larger.
		if objectsAfter[i] > objects[i]+changes/100 {
			t.Errorf("%d kernel objects became %d", objects[i], objectsAfter[i])
		}
	}
}

func (w *world) hits(s *side) map[ruleset.RuleID]enforce.Hits {
	w.t.Helper()
	var out map[ruleset.RuleID]enforce.Hits
	err := s.call(func() (err error) {
		out, err = s.applier.Hits(w.t.Context())
		return err
	})
	if err != nil {
		w.t.Fatalf("hits: %v", err)
	}
	return out
}

// ingressRule is how a rule of the default tier is called.
func ingressRule(policyName string, index int) string {
	return ruleset.Rule{Tier: policy.DefaultTier, Policy: policyName, Direction: ruleset.Ingress, Index: index}.String()
}

// hits: each rule counts the packets that it decided, over changes of the ruleset as well.
func hits(t *testing.T, b Backend) {
	w := newCast(t, b)
	w.set(mustDecode(t, called)...)
	w.apply()
	s := w.side("node-1")
	count := func(what string, want map[string]uint64, f func()) {
		t.Helper()
		before := w.hits(s)
		f()
		var got map[string]uint64
		// On a busy machine a packet may wait at one processor while the sentinel passes at another.
		for wait := time.Duration(0); wait < patience/5; wait += window {
			got = map[string]uint64{}
			for id, h := range w.hits(s) {
				rule, ok := s.rules.Rules[id]
				if n := h.Packets - before[id].Packets; n > 0 {
					if !ok {
						t.Errorf("%s: %d hits of rule %d, which does not exist", what, n, id)
					}
					got[rule.String()] += n
				}
			}
			delete(got, "profile") // where no policy applies: the other direction of each of these packets
			if maps.Equal(got, want) {
				return
			}
			pause(t.Context(), window)
		}
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
	send := func(n int, from, to string, protocol uint8, port uint16, want bool) func() {
		return func() {
			var probes []probe
			for range n {
				probes = append(probes, w.rig.probe(from, to, protocol, port, want))
			}
			w.send(probes)
		}
	}
	tcpRule, udpRule, end := ingressRule("GlobalNetworkPolicy called", 0), ingressRule("GlobalNetworkPolicy called", 1), ingressRule("GlobalNetworkPolicy called", ruleset.EndOfTier)
	count("allowed UDP", map[string]uint64{udpRule: 7}, send(7, web4, db4, policy.ProtocolUDP, 80, true))
	count("allowed UDP over IPv6", map[string]uint64{udpRule: 3}, send(3, web6, "fd65:1::3", policy.ProtocolUDP, 80, true))
	count("denied by nothing that allows", map[string]uint64{end: 5}, send(5, intern4, db4, policy.ProtocolUDP, 80, false))
	count("on the other node", map[string]uint64{}, send(5, intern4, db24, policy.ProtocolUDP, 80, false))
	count("allowed TCP", map[string]uint64{tcpRule: 4}, send(4, web4, db4, policy.ProtocolTCP, 81, true))
	count("every packet of one connection", map[string]uint64{udpRule: 6}, func() {
		p := w.rig.probe(web4, db4, policy.ProtocolUDP, 80, true)
		for range 6 {
			p.id = w.rig.id()
			if !w.rig.deliver(t.Context(), []probe{p})[0] {
				t.Errorf("%s did not arrive", p)
			}
		}
	})
	count("a change in between", map[string]uint64{udpRule: 4}, func() {
		send(2, web4, db4, policy.ProtocolUDP, 80, true)()
		w.churn(0)
		w.apply()
		send(2, web4, db4, policy.ProtocolUDP, 80, true)()
	})
	count("a Sync in between", map[string]uint64{end: 4}, func() {
		send(2, intern4, db4, policy.ProtocolUDP, 80, false)()
		w.sync()
		send(2, intern4, db4, policy.ProtocolUDP, 80, false)()
	})
}

// watch: denied and logged packets are reported with their rule and flow; how many were not is said.
func watch(t *testing.T, b Backend) {
	w := newCast(t, b)
	objects, _ := readTable(t, "testdata/table/log.txt")
	w.set(objects...)
	w.set(mustDecode(t, called)...)
	w.apply()
	s := w.side("node-1")
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan enforce.Event, 100000)
	done := make(chan error, 1)
	go func() {
		done <- s.node.ns.do(func() error {
			return s.applier.Watch(ctx, func(e enforce.Event) { events <- e })
		})
	}()
	expect := func(p probe, allow bool, rule string) {
		t.Helper()
		deadline := time.Now().Add(patience / 2)
		var others []string
		for time.Now().Before(deadline) {
			p.id = 0 // a packet may be lost to the rate limit, and the first ones before there was a listener: it is sent again
			w.rig.deliver(t.Context(), []probe{p})
			tick := time.NewTimer(50 * time.Millisecond)
			for waiting := true; waiting; {
				select {
				case e := <-events:
					name := s.rules.Rules[e.Rule].String()
					if e.Flow == p.Flow && e.Allowed == allow && e.Direction == ruleset.Ingress && name == rule {
						if time.Since(e.Time).Abs() > time.Minute {
							t.Errorf("%s: the event's time is %v", p, e.Time)
						}
						tick.Stop()
						return
					}
					others = append(others, fmt.Sprintf("%+v by %s", e, name))
				case <-tick.C:
					waiting = false
				}
			}
		}
		t.Errorf("%s: no event that says allowed %v by %q, but %v", p, allow, rule, others[:min(len(others), few)])
	}
	end, apiEnd := ingressRule("GlobalNetworkPolicy called", ruleset.EndOfTier), ingressRule("NetworkPolicy prod/api", ruleset.EndOfTier)
	logFirst, logRest := ingressRule("NetworkPolicy prod/api", 0), ingressRule("NetworkPolicy prod/api", 2)
	echo6 := w.rig.probe(intern6, "fd65:1::3", policy.ProtocolICMPv6, 0, false)
	echo6.SourcePort, echo6.ICMPType = 0, 128
	expect(w.rig.probe(intern4, db4, policy.ProtocolUDP, 80, false), false, end)
	expect(w.rig.probe(intern6, "fd65:1::3", policy.ProtocolTCP, 80, false), false, end)
	expect(w.rig.probe("10.65.2.3", db4, policy.ProtocolSCTP, 80, false), false, end)
	expect(echo6, false, end)
	expect(w.rig.probe(web4, api4, policy.ProtocolTCP, 80, true), true, logFirst)
	expect(w.rig.probe(web4, api4, policy.ProtocolTCP, 81, false), false, apiEnd)
	expect(w.rig.probe(web4, api4, policy.ProtocolTCP, 81, false), false, logFirst)
	expect(w.rig.probe(web6, api6, policy.ProtocolUDP, 9, false), false, logRest)

	// Far more than any rate: something is lost, and said to be; the world does not stop.
	deadline := time.Now().Add(patience)
	lost := uint64(0)
	for lost == 0 && time.Now().Before(deadline) {
		var probes []probe
		for range 512 {
			probes = append(probes, w.rig.probe(intern4, db4, policy.ProtocolUDP, 80, false))
		}
		w.rig.deliver(t.Context(), probes)
		for drained := false; !drained; {
			select {
			case e := <-events:
				lost += e.Lost
			default:
				drained = true
			}
		}
	}
	if lost == 0 {
		t.Errorf("packets are denied by the thousand for %v, and no event says that others were lost", patience)
	}
	w.churn(5)
	w.apply()
	expect(w.rig.probe(intern4, db4, policy.ProtocolUDP, 81, false), false, end)
	w.sync()
	expect(w.rig.probe(intern4, db4, policy.ProtocolUDP, 82, false), false, end)
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ends with %v", err)
		}
	case <-time.After(patience):
		t.Error("Watch goes on after its context has ended")
	}
}
