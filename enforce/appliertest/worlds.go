package appliertest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/policytest"
)

// settleIn routes every address to a place on the node of the pods that claim it, and to the outside if they do not agree.
func (w *world) settleIn(addresses []netip.Addr) {
	s := w.snapshot()
	for i, a := range addresses {
		var want *place
		for _, n := range w.rig.nodes {
			claimants := s.At(a)
			if len(claimants) > 0 && !slices.ContainsFunc(claimants, func(c *policy.Workload) bool { return c.Node != n.Name }) {
				want = n.places[i%len(n.places)]
			}
		}
		if now := w.rig.at(a); now == w.rig.outside {
			now = nil
		} else if now == want {
			continue
		} else {
			now.release(a)
		}
		if want != nil {
			want.claim(a, false)
		}
	}
}

// wired says whether real packets of a flow go where the world says: every pod that claims an end is where the end is.
func (w *world) wired(s *policy.Snapshot, f ruleset.Flow) bool {
	for _, a := range []netip.Addr{f.Source, f.Destination} {
		for _, c := range s.At(a) {
			if p := w.rig.at(a); p.outwards || p.node.Name != c.Node {
				return false
			}
		}
		if !a.IsGlobalUnicast() || (a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 224)) {
			return false
		}
		for _, own := range []string{"198.18.0.0/16", "172.31.0.0/30", "fd18::/16", "fd31::/64"} {
			if netip.MustParsePrefix(own).Contains(a) {
				return false
			}
		}
	}
	discovery := f.Protocol == policy.ProtocolICMPv6 && f.ICMPType >= 130 && f.ICMPType <= 143 // never forwarded
	return f.Source != f.Destination && !discovery
}

// judge holds flows against the oracle and the kernel, and some of them, at most packets, as real packets. It returns how many
// were sent.
func (w *world) judge(what string, flows []ruleset.Flow, packets int) int {
	w.t.Helper()
	s := w.snapshot()
	var probes []probe
	type tuple struct {
		a, b     netip.Addr
		protocol uint8
		x, y     uint16
	}
	known := map[tuple]bool{}
	for _, f := range flows {
		want := w.allowed(s, f) && !w.vacant(s, f)
		got, err := w.lookup(f)
		if err != nil || got != want {
			w.t.Fatalf("%s: %+v: Lookup says %v, %v, want %v\n%s\n%s\n%s", what, f, got, err, want, s, w.sides[0].rules, w.sides[1].rules)
		}
		if len(probes) == packets || !w.wired(s, f) {
			continue
		}
		// What conntrack would take for a reply to another is for another time.
		x, y := f.SourcePort, f.Port
		if f.Protocol == policy.ProtocolICMP || f.Protocol == policy.ProtocolICMPv6 {
			x = w.rig.port()
			y = x
		}
		if known[tuple{f.Destination, f.Source, f.Protocol, y, x}] {
			continue
		}
		known[tuple{f.Source, f.Destination, f.Protocol, x, y}] = true
		p := probe{packet: packet{Flow: f}, want: want}
		p.SourcePort = x
		probes = append(probes, p)
	}
	failed := w.t.Failed()
	w.send(probes)
	if !failed && w.t.Failed() {
		w.t.Fatalf("%s:\n%s\n%s\n%s", what, s, w.sides[0].rules, w.sides[1].rules)
	}
	return len(probes)
}

// worlds: random small worlds that change step by step, and random flows in them. The seeds are the same for every backend.
func worlds(t *testing.T, b Backend) {
	r := newRig(t, b)
	w := newWorld(t, r)
	var addresses []netip.Addr
	for _, text := range policytest.Stock() {
		addresses = append(addresses, netip.MustParseAddr(text))
	}
	lookups, sent, allowing := 0, 0, 0
	for seed := range 6 * volume(t) {
		random := newRandom(uint64(seed)) //nolint:gosec // not negative
		w.clear()
		w.setPodCIDRs()
		if seed%2 == 1 {
			w.setPodCIDRs(netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64"))
		}
		for range 40 {
			w.set(policy.Object{Value: random.Object()})
		}
		w.settleIn(addresses)
		w.sync()
		for step := range 7 {
			if step > 0 {
				for range 1 + random.IntN(5) {
					o := random.Object()
					if random.In(4) {
						w.remove(refOf(o))
					} else {
						w.set(policy.Object{Value: o})
					}
				}
				w.settleIn(addresses)
				w.apply()
			}
			var flows []ruleset.Flow
			for range 30 {
				flows = append(flows, random.flow())
			}
			s := w.snapshot()
			for _, f := range flows {
				if w.allowed(s, f) {
					allowing++
				}
			}
			lookups += len(flows)
			sent += w.judge(fmt.Sprintf("seed %d step %d", seed, step), flows, 8)
			for _, s := range w.sides {
				if err := w.verify(s); err != nil {
					t.Fatalf("seed %d step %d: Verify: %v", seed, step, err)
				}
			}
		}
	}
	t.Logf("%d flows looked up, %d of them allowed; %d packets sent", lookups, allowing, sent)
	if allowing < lookups/10 || allowing > lookups*9/10 {
		t.Errorf("%d of %d flows are allowed: nearly all worlds say the same", allowing, lookups)
	}
}

// scenario is one of the recorded verdicts of Calico's engine.
type scenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Flows   []struct {
		From       string  `json:"from"`
		To         string  `json:"to"`
		IPVersion  uint8   `json:"ipVersion"`
		Protocol   string  `json:"protocol"`
		Port       uint16  `json:"port"`
		SourcePort *uint16 `json:"sourcePort"`
		ICMPType   uint8   `json:"icmpType"`
		ICMPCode   uint8   `json:"icmpCode"`
		Verdict    string  `json:"verdict"`
	} `json:"flows"`
}

// moduleRoot is the folder of go.mod, above the one that the test runs in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find folder: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find go.mod: there is none above")
		}
		dir = parent
	}
}

// scenarios reads every so manyth recorded scenario, with the features that Calico's checker knows and with the others.
func scenarios(t testing.TB, every int) []scenario {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var out []scenario
	for _, name := range []string{"verdicts.jsonl.gz", "verdicts-ext.jsonl.gz"} {
		zipped, err := os.ReadFile(filepath.Join(root, "policy/eval/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		in, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(in)
		for i := 0; ; i++ {
			var s scenario
			if err := decoder.Decode(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if i%every == 0 {
				out = append(out, s)
			}
		}
	}
	return out
}

// corpus: the recorded scenarios, with their pods on the rig's nodes, in strict semantics.
func corpus(t *testing.T, b Backend) {
	r := newRig(t, b)
	w := newWorld(t, r)
	flows, sent, differ := 0, 0, 0
	sample := scenarios(t, max(1, 20/volume(t)))
	for i, sc := range sample {
		w.clear()
		var addresses []netip.Addr
		for _, raw := range sc.Objects {
			o, err := policy.Decode(raw)
			if err != nil {
				t.Fatalf("%s: %v", sc.Name, err)
			}
			resource, _ := policy.Parse(o, policy.Strict)
			if pod, ok := resource.(*policy.Workload); ok {
				moved := *pod
				moved.Node = r.nodes[len(addresses)/2%2].Name
				if pod.Node == "node-a" {
					moved.Node = r.nodes[0].Name
				}
				addresses = append(addresses, pod.Addresses...)
				resource = &moved
			}
			if resource != nil {
				w.setResource(resource)
			}
		}
		w.settleIn(addresses)
		if i%2 == 0 {
			w.sync()
		} else {
			w.apply()
		}
		s := w.snapshot()
		var list []ruleset.Flow
		for _, f := range sc.Flows {
			flow, ok := w.recorded(s, sc, f.From, f.To, f.IPVersion, f.Protocol)
			if !ok {
				continue
			}
			flow.Port, flow.SourcePort, flow.ICMPType, flow.ICMPCode = f.Port, 40000, f.ICMPType, f.ICMPCode
			if f.SourcePort != nil {
				flow.SourcePort = *f.SourcePort
			}
			if !ported(flow.Protocol) {
				flow.Port, flow.SourcePort = 0, 0
			}
			if w.allowed(s, flow) != (f.Verdict == "Allow") {
				differ++
			}
			list = append(list, flow)
		}
		flows += len(list)
		sent += w.judge(sc.Name, list, 12)
		for _, a := range addresses {
			r.at(a).release(a)
		}
	}
	t.Logf("%d scenarios, %d flows looked up (%d of them strictly not as Calico decides), %d packets sent", len(sample), flows, differ, sent)
	if flows < 1000 || sent < 150 {
		t.Errorf("%d flows and %d packets are too few", flows, sent)
	}
}

// recorded is a flow of a scenario without ports; ok is false where strict semantics know no such pod.
func (w *world) recorded(s *policy.Snapshot, sc scenario, from, to string, version uint8, protocol string) (ruleset.Flow, bool) {
	w.t.Helper()
	var out ruleset.Flow
	number, ok := policy.ProtocolNumber(protocol)
	if !ok {
		w.t.Fatalf("%s: protocol %q", sc.Name, protocol)
	}
	out.Protocol = number
	if version == 0 {
		version = 4
		if strings.Contains(from, ":") || strings.Contains(to, ":") {
			version = 6
		}
	}
	for i, text := range []string{from, to} {
		a, err := netip.ParseAddr(text)
		if err != nil {
			namespace, name, _ := strings.Cut(text, "/")
			pod := s.Workload(namespace, name)
			if pod == nil {
				return out, false
			}
			if a, ok = pod.Address(version); !ok {
				w.t.Fatalf("%s: %s has no IPv%d address", sc.Name, text, version)
			}
		}
		if i == 0 {
			out.Source = a
		} else {
			out.Destination = a
		}
	}
	return out, true
}
