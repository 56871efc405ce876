package appliertest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/saguard/saguard/policy"
)

// strangers: nothing reaches a pod of the node that the node has not heard of, or not any more, whoever sends; what it sends is
// judged at the other end, and answered. That holds while no agent runs, and for an agent that comes later.
func strangers(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	w.own = map[string][]netip.Prefix{}
	for i, n := range r.nodes {
		w.own[n.Name] = []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.65.%d.0/24", i+1)), netip.MustParsePrefix(fmt.Sprintf("fd65:%d::/64", i+1)),
		}
	}
	w.setPodCIDRs()
	w.sync()
	const db6 = "fd65:1::3"
	known := pod("prod", "web", "node-1", "web", map[string]string{"app": "web"}, web4, web6)
	db := r.at(netip.MustParseAddr(db4))
	db.ns.echo(t, netip.AddrPortFrom(netip.MustParseAddr(db4), 80))

	check := func(what string, reached bool) {
		t.Helper()
		var probes []probe
		for _, protocol := range []uint8{policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP} {
			for _, from := range []string{db4, db24, api4} {
				probes = append(probes, r.probe(from, web4, protocol, 80, reached))
			}
			for _, from := range []string{db6, db26, api6} {
				probes = append(probes, r.probe(from, web6, protocol, 80, reached))
			}
			for _, to := range []string{db4, db24, api4} {
				probes = append(probes, r.probe(web4, to, protocol, 80, true))
			}
			probes = append(probes, r.probe(web6, db6, protocol, 80, true), r.probe(web6, db26, protocol, 80, true))
		}
		for _, p := range probes {
			got, err := w.lookup(p.Flow)
			if err != nil || got != p.want {
				t.Errorf("%s: %s: Lookup says %v, %v, want %v", what, p, got, err, p.want)
			}
		}
		for i, got := range r.deliver(t.Context(), probes) {
			if got != probes[i].want {
				t.Errorf("%s: %s: arrived %v, want %v", what, probes[i], got, probes[i].want)
			}
		}
		c, err := r.at(netip.MustParseAddr(web4)).ns.dial(t, netip.MustParseAddr(web4), netip.AddrPortFrom(netip.MustParseAddr(db4), 80), patience)
		if err != nil {
			t.Errorf("%s: the pod gets no answers: %v", what, err)
			return
		}
		_ = c.Close() //nolint:errcheck // it was there
	}
	check("it is known", true)
	w.remove(refOf(known.Value))
	w.apply()
	check("nobody knows it", false)
	w.set(known)
	w.apply()
	check("it is known again", true)
	w.remove(refOf(known.Value))
	w.apply()
	for _, s := range w.sides {
		if err := s.call(func() error { return s.applier.Close() }); err != nil {
			t.Fatal(err)
		}
	}
	probes := []probe{r.probe(db4, web4, policy.ProtocolTCP, 80, false), r.probe(api4, web4, policy.ProtocolUDP, 80, false), r.probe(web4, api4, policy.ProtocolUDP, 80, true)}
	for i, got := range r.deliver(t.Context(), probes) {
		if got != probes[i].want {
			t.Errorf("no agent runs: %s: arrived %v, want %v", probes[i], got, probes[i].want)
		}
	}
	for _, s := range w.sides {
		s.open(t)
		w.syncSide(s)
	}
	check("an agent came", false)
	w.set(known)
	w.apply()
	check("the agent heard of it", true)
	for _, s := range w.sides {
		if err := w.verify(s); err != nil {
			t.Errorf("Verify on %s: %v", s.node.Name, err)
		}
	}
}
