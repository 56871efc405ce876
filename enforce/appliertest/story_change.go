package appliertest

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

// volume multiplies what is repeated.
func volume(t testing.TB) int {
	t.Helper()
	text := os.Getenv("APPLIERTEST_VOLUME")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("APPLIERTEST_VOLUME is %q, want a number from 1", text)
	}
	return n
}

func account(namespace, name string, labels map[string]string) policy.Object {
	return policy.Object{Value: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}}
}

func pod(namespace, name, node, account string, labels map[string]string, addresses ...string) policy.Object {
	return policy.Object{Value: podObject(namespace, name, node, account, labels, addresses...)}
}

func podObject(namespace, name, node, account string, labels map[string]string, addresses ...string) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: account},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, a := range addresses {
		out.Status.PodIPs = append(out.Status.PodIPs, corev1.PodIP{IP: a})
	}
	return out
}

// called lets accounts with role=frontend into the databases on ports 80 and 81, and nobody else anywhere near them.
const called = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: called}
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {selector: role == 'frontend'}}, destination: {ports: [80, 81]}}
  - {action: Allow, protocol: UDP, source: {serviceAccounts: {selector: role == 'frontend'}}, destination: {ports: [80]}}
`

// partners lets two networks into the databases.
const partners = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: partners}
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress: [{action: Allow, protocol: UDP, source: {nets: [198.51.100.0/24, "2001:db8:ffff::/48"]}, destination: {ports: [80]}}]
`

const denyFirst = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: deny-first}
spec:
  selector: app == 'web'
  order: 1
  types: [Egress]
  egress: [{action: Deny, protocol: TCP}]
`

// cutWithin is how long a connection may go on after its permission was revoked, on a machine that has other things to do. What
// is promised is 100 ms from the event; the log has the figure.
const cutWithin = time.Second

// revoked: a live connection stops when what allowed it goes, however that comes about, and goes on when it is back. A download
// ends a little later: what its source may send without an acknowledgement are replies.
func revoked(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	objects := mustDecode(t, called)
	w.set(objects...)
	w.apply()
	changes := []struct {
		name         string
		revoke, give func()
	}{
		{
			"the account's label",
			func() { w.set(account("prod", "web", map[string]string{"role": "intern"})) },
			func() { w.set(account("prod", "web", map[string]string{"role": "frontend"})) },
		},
		{
			"the account",
			func() { w.remove(policy.Ref{Kind: policy.KindServiceAccount, Namespace: "prod", Name: "web"}) },
			func() { w.set(account("prod", "web", map[string]string{"role": "frontend"})) },
		},
		{
			"the rule",
			func() {
				changed := mustDecode(t, sealedBut)
				w.set(changed[0])
				w.remove(refOf(objects[0].Value))
			},
			func() {
				w.set(objects...)
				w.remove(policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: "sealed"})
			},
		},
		{
			"a Deny at the other end",
			func() { w.set(mustDecode(t, denyFirst)...) },
			func() { w.remove(policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: "deny-first"}) },
		},
		{
			"the pod that had the address",
			func() {
				w.remove(policy.Ref{Kind: policy.KindPod, Namespace: "prod", Name: "web"})
				w.set(pod("dev", "heir", "node-1", "tool", nil, web4, web6))
			},
			func() {
				w.remove(policy.Ref{Kind: policy.KindPod, Namespace: "dev", Name: "heir"})
				w.set(pod("prod", "web", "node-1", "web", map[string]string{"app": "web"}, web4, web6))
			},
		},
	}
	for _, text := range []string{db4, db24, "fd65:1::3", db26} {
		a := netip.MustParseAddr(text)
		r.at(a).ns.echo(t, netip.AddrPortFrom(a, 80))
		r.at(a).ns.source(t, netip.AddrPortFrom(a, 81))
	}
	for i, change := range changes {
		type talk struct {
			name     string
			live     *live
			download bool
		}
		var talks []talk
		for _, to := range []string{db4, db24, "fd65:1::3", db26} {
			a, from := netip.MustParseAddr(to), netip.MustParseAddr(web4)
			if a.Is6() {
				from = netip.MustParseAddr(web6)
			}
			for _, port := range []uint16{80, 81} {
				c, err := r.at(from).ns.dial(t, from, netip.AddrPortFrom(a, port), patience)
				if err != nil {
					t.Fatalf("connect to %s: %v", a, err)
				}
				name := fmt.Sprintf("conversation with %s", a)
				if port == 81 {
					name = fmt.Sprintf("download from %s", a)
				}
				talks = append(talks, talk{name, converse(c, port == 80), port == 81})
			}
		}
		for _, c := range talks {
			if err := c.live.moves(t.Context()); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		change.revoke()
		start := time.Now()
		w.apply()
		took := time.Since(start)
		var worst, drained time.Duration
		for _, c := range talks {
			last, err := c.live.stops(t.Context(), 100*time.Millisecond)
			if err != nil {
				t.Errorf("revoking %s: %s: %v", change.name, c.name, err)
			}
			if c.download {
				drained = max(drained, last.Sub(start))
			} else {
				worst = max(worst, last.Sub(start))
			}
		}
		t.Logf("%s: conversations cut %v after Apply began, which took %v; downloads came to rest after %v",
			change.name, worst.Round(10*time.Microsecond), took.Round(10*time.Microsecond), drained.Round(10*time.Microsecond))
		if max(worst, drained) > cutWithin {
			t.Errorf("revoking %s: a connection went on for %v", change.name, max(worst, drained))
		}
		change.give()
		w.apply()
		if i > 0 {
			continue // that it came back is seen by the next connections
		}
		for _, c := range talks {
			if err := c.live.moves(t.Context()); err != nil {
				t.Errorf("giving back %s: %s: %v", change.name, c.name, err)
			}
		}
	}
}

// churn is one change of many that leave the cast as it is: pods and accounts come and go, policies for them and for the
// others, network sets.
func (w *world) churn(i int) {
	name := fmt.Sprintf("churn-%d", i%7)
	address4, address6 := fmt.Sprintf("10.66.%d.%d", i/250%250, i%250+1), fmt.Sprintf("fd66::%x", i%60000+1)
	ref := policy.Ref{Namespace: "dev", Name: name}
	switch i % 8 {
	case 0, 1, 2:
		w.set(pod("dev", name, []string{"node-1", "node-2", "elsewhere"}[i/8%3], "tool", map[string]string{"app": name}, address4, address6))
	case 3:
		w.set(account("dev", "tool", map[string]string{"role": name}))
	case 4:
		ref.Kind = policy.KindPod
		w.remove(ref)
	case 5:
		objects, err := decode(fmt.Sprintf(churnPolicies, name, i%500+1000, i%250))
		if err != nil {
			w.t.Fatal(err)
		}
		w.set(objects...)
	case 6:
		ref.Kind = policy.KindNetworkPolicy
		w.remove(ref)
	case 7:
		w.remove(policy.Ref{Kind: policy.KindGlobalNetworkPolicy, Name: name}, policy.Ref{Kind: policy.KindGlobalNetworkSet, Name: name})
	}
}

// churnPolicies have something to say of everybody, the flows of floods included, but never a verdict on them: their ports are
// other ones.
const churnPolicies = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {namespace: dev, name: %[1]s}
spec: {selector: app == '%[1]s', types: [Ingress, Egress], ingress: [{action: Allow, source: {selector: app == 'tool'}}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: %[1]s, labels: {set: %[1]s}}
spec: {nets: [203.0.%[3]d.0/24, "2001:db8:%[3]d::/48", 10.65.1.0/29]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: %[1]s}
spec:
  selector: app in {'web', 'db'}
  order: 1
  types: [Ingress, Egress]
  ingress:
  - {action: Allow, protocol: UDP, source: {selector: set == '%[1]s'}, destination: {ports: ["%[2]d:1600"]}}
  - {action: Allow, protocol: TCP, source: {selector: app == '%[1]s'}, destination: {ports: [%[2]d]}}
  egress: [{action: Log, destination: {serviceAccounts: {selector: role == '%[1]s'}}}, {action: Allow}]
`

// goodAndBad are flows for floods in a world that has called and sealedBut's first policy: on one node and across two.
func (w *world) goodAndBad() (good, bad []ruleset.Flow) {
	return []ruleset.Flow{
			flow(web4, db4, policy.ProtocolUDP, 80), flow(web6, "fd65:1::3", policy.ProtocolUDP, 80), flow(web4, db24, policy.ProtocolUDP, 80),
			flow("10.65.2.1", db4, policy.ProtocolUDP, 80),
		}, []ruleset.Flow{
			flow(intern4, db4, policy.ProtocolUDP, 80), flow(web6, "fd65:1::3", policy.ProtocolUDP, 81), flow(intern4, db24, policy.ProtocolUDP, 80),
			flow("10.65.2.3", db4, policy.ProtocolTCP, 80),
		}
}

// mustStand fails the test if the oracle says that the flows of a flood have changed sides: then the test is wrong.
func (w *world) mustStand(good, bad []ruleset.Flow) {
	w.t.Helper()
	s := w.snapshot()
	for _, f := range good {
		if !w.allowed(s, f) {
			w.t.Fatalf("%+v is not allowed any more", f)
		}
	}
	for _, f := range bad {
		if w.allowed(s, f) {
			w.t.Fatalf("%+v is allowed by now", f)
		}
	}
}

// untouched: changes that do not concern a flow neither lose a packet of it nor let one through.
func untouched(t *testing.T, b Backend) {
	w := newCast(t, b)
	w.set(mustDecode(t, called)...)
	w.set(mustDecode(t, partners)...)
	w.apply()
	good, bad := w.goodAndBad()
	good = append(good, flow("198.51.100.1", db4, policy.ProtocolUDP, 80), flow("2001:db8:ffff::1", "fd65:1::3", policy.ProtocolUDP, 80))
	bad = append(bad, flow("198.51.101.1", db4, policy.ProtocolUDP, 80), flow("2001:db8:fffe::1", "fd65:1::3", policy.ProtocolUDP, 80))
	f := w.rig.flood(good, bad)
	a := netip.MustParseAddr(db4)
	w.rig.at(a).ns.echo(t, netip.AddrPortFrom(a, 80))
	c, err := w.rig.at(netip.MustParseAddr(web4)).ns.dial(t, netip.MustParseAddr(web4), netip.AddrPortFrom(a, 80), patience)
	if err != nil {
		t.Fatal(err)
	}
	conversation := converse(c, true)
	if err := f.more(5); err != nil {
		t.Fatal(err)
	}
	changes := 1000 * volume(t)
	start := time.Now()
	for i := range changes {
		w.churn(i)
		w.apply()
		if i%100 == 50 {
			w.mustStand(good, bad)
		}
	}
	t.Logf("%d updates of two nodes in %v", changes, time.Since(start).Round(time.Millisecond))
	if err := f.more(5); err != nil {
		t.Error(err)
	}
	w.clean(f)
	if err := conversation.moves(t.Context()); err != nil {
		t.Error(err)
	}
}

// reuse: an address that changes hands gives the new pod nothing of the old one's, in whatever order the events come.
func reuse(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	w.set(mustDecode(t, called)...)
	w.set(mustDecode(t, `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: interns}
spec:
  selector: all()
  serviceAccountSelector: role == 'intern'
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [22]}}]
  egress: [{action: Allow, protocol: UDP, destination: {ports: [80]}}, {action: Allow, protocol: TCP, destination: {ports: [53]}}]
`)...)
	w.setPodCIDRs(netip.MustParsePrefix("10.65.0.0/16"), netip.MustParsePrefix("fd65::/16"))
	w.apply()
	old := pod("prod", "web", "node-1", "web", map[string]string{"app": "web"}, web4, web6)
	heir := pod("dev", "heir", "node-1", "intern", map[string]string{"app": "lab"}, web4, web6)
	finished := podObject("prod", "web", "node-1", "web", map[string]string{"app": "web"}, web4, web6)
	finished.Status.Phase = corev1.PodSucceeded
	away := pod("dev", "heir", "node-2", "intern", map[string]string{"app": "lab"}, web4, web6)

	// The same ports every time: the old pod's connections are known to conntrack when the new pod sends.
	probes := func() []probe {
		s := w.snapshot()
		var out []probe
		for _, ends := range [][3]string{{web4, db4, intern4}, {web4, db24, intern4}, {web6, "fd65:1::3", intern6}, {web6, db26, intern6}} {
			for _, f := range []ruleset.Flow{
				flow(ends[0], ends[1], policy.ProtocolUDP, 80), flow(ends[0], ends[1], policy.ProtocolTCP, 80), flow(ends[0], ends[1], policy.ProtocolTCP, 53),
				flow(ends[2], ends[0], policy.ProtocolTCP, 22), flow(ends[0], api4, policy.ProtocolTCP, 80),
			} {
				if f.Destination.Is4() != f.Source.Is4() {
					f.Destination = netip.MustParseAddr(api6)
				}
				f.SourcePort = 30000
				if f.Destination == netip.MustParseAddr(ends[0]) {
					f.SourcePort = r.port()
				}
				out = append(out, probe{packet: packet{Flow: f}, want: w.allowed(s, f) && !w.vacant(s, f)})
			}
		}
		return out
	}
	check := func(what string) {
		t.Helper()
		for _, p := range probes() {
			got, err := w.lookup(p.Flow)
			if err != nil || got != p.want {
				t.Errorf("%s: %s: Lookup says %v, %v, want %v", what, p, got, err, p.want)
			}
		}
		all := probes()
		for i, got := range r.deliver(t.Context(), all) {
			if got != all[i].want {
				t.Errorf("%s: %s: arrived %v, want %v", what, all[i], got, all[i].want)
			}
		}
	}
	mustNot := func(what string) {
		t.Helper()
		p := r.probe(web4, db4, policy.ProtocolTCP, 80, false)
		if w.allowed(w.snapshot(), p.Flow) {
			t.Fatalf("%s: the old pod's right is the new one's", what)
		}
	}
	home, abroad := r.at(netip.MustParseAddr(web4)), r.nodes[1].places[3]
	move := func(to *place) {
		for _, text := range []string{web4, web6} {
			a := netip.MustParseAddr(text)
			r.at(a).release(a)
			to.claim(a, true)
		}
	}
	orders := []struct {
		name  string
		steps []func()
	}{
		{"old goes, new comes", []func(){func() { w.remove(refOf(old.Value)) }, func() { w.set(heir) }}},
		{"new comes, old goes", []func(){func() { w.set(heir) }, func() { w.remove(refOf(old.Value)) }}},
		{"both at once", []func(){func() {
			w.set(heir)
			w.remove(refOf(old.Value))
		}}},
		{"old finishes, new comes, old goes", []func(){func() { w.set(policy.Object{Value: finished}) }, func() { w.set(heir) }, func() { w.remove(refOf(old.Value)) }}},
		{"the new pod is on another node", []func(){func() {
			move(abroad)
			w.set(away)
		}, func() { w.remove(refOf(old.Value)) }}},
	}
	for _, order := range orders {
		w.rig.forget()
		check("before " + order.name)
		for i, step := range order.steps {
			step()
			w.apply()
			check(fmt.Sprintf("%s, step %d", order.name, i+1))
		}
		mustNot(order.name)
		// All of it undone and done in one call: two deltas, the second on top of the first.
		move(home)
		w.set(old)
		w.remove(refOf(heir.Value))
		first := w.flush()
		for _, step := range order.steps {
			step()
		}
		second := w.flush()
		for _, s := range w.sides {
			err := s.call(func() error { return s.applier.Apply(t.Context(), []*ruleset.Delta{first[s], second[s]}) })
			if err != nil {
				t.Fatalf("apply two deltas: %v", err)
			}
		}
		check(order.name + ", in one call")
		move(home)
		w.set(old)
		w.remove(refOf(heir.Value))
		w.apply()
	}
}

// vacant says whether an end of a flow is a pod's address that no pod has, and the other an endpoint to which some policy
// applies in that direction.
func (w *world) vacant(s *policy.Snapshot, f ruleset.Flow) bool {
	nobody := func(a netip.Addr) bool {
		for _, p := range w.podCIDRs {
			if p.Contains(a) {
				return len(s.At(a)) == 0
			}
		}
		return false
	}
	judged := func(a netip.Addr, d policy.Direction) bool {
		for _, at := range s.At(a) {
			if !w.has(at.Node) {
				continue
			}
			for _, tier := range s.Tiers {
				for _, p := range tier.Policies {
					if s.Selects(p, at, d) {
						return true
					}
				}
			}
		}
		return false
	}
	return (nobody(f.Source) && judged(f.Destination, policy.Ingress)) || (nobody(f.Destination) && judged(f.Source, policy.Egress))
}
