//go:build linux

package bpf

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

func TestPacketsBetweenPods(t *testing.T) {
	r := newRig(t, "a", "b", "c")
	r.serve("a", 5000)
	r.serve("b", 5000)
	r.serve("b", 6000)
	a := newApplier(t, pinDir(t))
	rules := plainRuleset(r, "a", "b", "c")
	r.must(rules.Check())
	r.must(a.Sync(t.Context(), rules))

	for _, c := range []struct {
		name     string
		from, to string
		port     uint16
		want     bool
	}{
		{name: "what the rule allows", from: "a", to: "b", port: 5000, want: true},
		{name: "another port", from: "a", to: "b", port: 6000},
		{name: "another pod", from: "c", to: "b", port: 5000},
		{name: "the other way round", from: "b", to: "a", port: 5000, want: true},
		{name: "to a pod without policy", from: "c", to: "a", port: 5000, want: true},
	} {
		for _, network := range []string{"tcp", "udp"} {
			for _, addr := range []netip.Addr{r.pods[c.to].v4, r.pods[c.to].v6} {
				if got := r.talks(c.from, network, netip.AddrPortFrom(addr, c.port), 100); got != c.want {
					t.Errorf("%s, %s to %s: passes: %v, want %v", c.name, network, addr, got, c.want)
				}
			}
		}
	}
	for _, addr := range []netip.Addr{r.pods["b"].v4, r.pods["b"].v6} {
		if !r.pings("a", addr) {
			t.Errorf("echo request of a to %s does not pass", addr)
		}
		if r.pings("c", addr) {
			t.Errorf("echo request of c to %s passes", addr)
		}
		if !r.talks("a", "udp", netip.AddrPortFrom(addr, 5000), 8000) {
			t.Errorf("fragments of an allowed datagram to %s do not pass", addr)
		}
		if r.talks("a", "udp", netip.AddrPortFrom(addr, 6000), 8000) {
			t.Errorf("fragments of a denied datagram to %s pass", addr)
		}
	}
	// The error is from b, whose egress allows it, to a; that b's ingress would let no error in does not matter, nor does a's.
	for _, addr := range []netip.Addr{r.pods["a"].v4, r.pods["a"].v6} {
		if !r.refused("b", netip.AddrPortFrom(addr, 7000)) {
			t.Errorf("the error for a datagram of b to a closed port of %s does not pass", addr)
		}
	}
	hits, err := a.Hits(t.Context())
	r.must(err)
	if hits[ruleAllow].Packets < 20 || hits[ruleDeny].Packets < 10 {
		t.Errorf("hits %v", hits)
	}
}

func TestRevokedPermissionCutsLiveConnection(t *testing.T) {
	r := newRig(t, "a", "b")
	r.serve("b", 5000)
	r.serve("a", 5000)
	a := newApplier(t, pinDir(t))
	r.must(a.Sync(t.Context(), plainRuleset(r, "a", "b")))

	for _, addr := range []netip.Addr{r.pods["b"].v4, r.pods["b"].v6} {
		for _, network := range []string{"tcp", "udp"} {
			live, err := r.dial("a", network, netip.AddrPortFrom(addr, 5000))
			r.must(err)
			r.must(echo(live, 100))
			cell := ruleset.Cell{Program: inB, Identity: identityOf(1, family(addr)), Row: 0}
			r.must(a.Apply(t.Context(), []*ruleset.Delta{{Cells: []ruleset.Cell{cell}}}))
			if echo(live, 100) == nil {
				t.Errorf("%s to %s: the connection lives on", network, addr)
			}
			if r.talks("a", network, netip.AddrPortFrom(addr, 5000), 100) {
				t.Errorf("%s to %s: a new connection is made", network, addr)
			}
			live.Close()
			cell.Row = rowSome
			r.must(a.Apply(t.Context(), []*ruleset.Delta{{Cells: []ruleset.Cell{cell}}}))
			if !r.talks("a", network, netip.AddrPortFrom(addr, 5000), 100) {
				t.Errorf("%s to %s: restored, but no connection is made", network, addr)
			}
		}
	}

	// b may be answered though nothing may talk to it: only replies bypass policy.
	r.must(a.Apply(t.Context(), []*ruleset.Delta{{Cells: []ruleset.Cell{
		{Program: inB, Identity: identityOf(1, 4), Row: 0}, {Program: inB, Identity: identityOf(1, 6), Row: 0},
	}}}))
	for _, addr := range []netip.Addr{r.pods["a"].v4, r.pods["a"].v6} {
		if !r.talks("b", "tcp", netip.AddrPortFrom(addr, 5000), 100) || !r.talks("b", "udp", netip.AddrPortFrom(addr, 5000), 100) {
			t.Errorf("b gets no answers of %s", addr)
		}
	}
}

func TestReplacedSetLosesAndLeaksNothing(t *testing.T) {
	r := newRig(t, "a", "b", "c")
	r.serve("b", 5000)
	dir := pinDir(t)
	rules := plainRuleset(r, "a", "b", "c")
	first := newApplier(t, dir)
	r.must(first.Sync(t.Context(), rules))

	stop := r.flood()
	applier := first
	for i := range 20 {
		if i%2 == 0 { // a new process
			r.must(applier.Close())
			applier = newApplier(t, dir)
			answer, err := applier.Lookup(t.Context(), ruleset.Flow{
				Source: r.pods["c"].v4, Destination: r.pods["b"].v4, Protocol: protocolUDP, Port: 5000,
			})
			r.must(err)
			if !answer.Ingress.Applies || answer.Ingress.Allow || answer.Ingress.Rule != ruleDeny {
				t.Errorf("what the process before left says %+v", answer)
			}
		}
		r.must(applier.Sync(t.Context(), rules))
		r.must(applier.Verify(t.Context()))
	}
	stop()
	names, err := setNames(dir)
	r.must(err)
	if len(names) != 1 {
		t.Errorf("sets %v, want one", names)
	}
}

func TestRulesOutliveTheProcessUntilTheyAreRemoved(t *testing.T) {
	r := newRig(t, "a", "b", "c")
	r.serve("b", 5000)
	dir := pinDir(t)
	to := netip.AddrPortFrom(r.pods["b"].v4, 5000)
	if !r.talks("c", "udp", to, 1) {
		t.Fatal("without rules, no packet passes")
	}
	first := newApplier(t, dir)
	r.must(first.Probe(t.Context()))
	if !r.talks("c", "udp", to, 1) {
		t.Error("after the probe, no packet passes")
	}
	r.must(first.Sync(t.Context(), plainRuleset(r, "a", "b", "c")))
	r.must(first.Close())
	if r.talks("c", "udp", to, 1) || !r.talks("a", "udp", to, 1) {
		t.Error("rules do not outlive the process")
	}
	second := newApplier(t, dir)
	if err := second.Apply(t.Context(), []*ruleset.Delta{{}}); !errors.Is(err, errNotSynced) {
		t.Errorf("delta before the first sync: %v", err)
	}
	r.must(second.Remove(t.Context()))
	if !r.talks("c", "udp", to, 1) {
		t.Error("after the removal, no packet passes")
	}
	r.must(second.Remove(t.Context()))
}
