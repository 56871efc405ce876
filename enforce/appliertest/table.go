package appliertest

import (
	"embed"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
)

//go:embed testdata/cast.yaml testdata/table
var testdata embed.FS

// few is how many errors of one kind are listed.
const few = 5

// row is one line of a table.
type row struct {
	line   int
	text   string
	packet packet // without addresses
	ends   [2]string
	family uint8 // 0 for both
	allow  bool
	echo   bool
}

// parseRow reads "prod/web -> prod/db tcp 40000>5432 fragmented v4 allow".
func parseRow(text string) (row, error) {
	words := strings.Fields(text)
	if len(words) < 5 || words[1] != "->" {
		return row{}, fmt.Errorf("read %q: want FROM -> TO PROTOCOL... allow|deny", text)
	}
	out := row{text: strings.Join(words, " "), ends: [2]string{words[0], words[2]}}
	switch words[len(words)-1] {
	case "allow":
		out.allow = true
	case "deny":
	default:
		return row{}, fmt.Errorf("read %q: want allow or deny at the end", text)
	}
	words = words[3 : len(words)-1]
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	var err error
	number := func(s string, bits int) uint64 {
		n, failed := strconv.ParseUint(s, 10, bits)
		if failed != nil && err == nil {
			err = fmt.Errorf("read %q: %w", text, failed)
		}
		return n
	}
	switch name := next(); name {
	case "tcp", "udp", "sctp", "udplite":
		out.packet.Protocol, _ = policy.ProtocolNumber(name)
		ports := next()
		if from, to, ok := strings.Cut(ports, ">"); ok {
			out.packet.SourcePort, ports = uint16(number(from, 16)), to
		}
		out.packet.Port = uint16(number(ports, 16))
	case "icmp":
		out.packet.Protocol = policy.ProtocolICMP
		kind, code, _ := strings.Cut(next(), "/")
		out.packet.ICMPType, out.packet.ICMPCode = uint8(number(kind, 8)), uint8(number(code, 8))
		out.family = 4
	case "icmpv6":
		out.packet.Protocol = policy.ProtocolICMPv6
		kind, code, _ := strings.Cut(next(), "/")
		out.packet.ICMPType, out.packet.ICMPCode = uint8(number(kind, 8)), uint8(number(code, 8))
		out.family = 6
	case "echo":
		out.echo = true
	case "protocol":
		out.packet.Protocol = uint8(number(next(), 8))
	default:
		return row{}, fmt.Errorf("read %q: unknown protocol %q", text, name)
	}
	for len(words) > 0 {
		switch w := next(); w {
		case "fragmented":
			out.packet.shape = fragmented
		case "tiny":
			out.packet.shape = tiny
		case "options":
			out.packet.shape = options
		case "hop-by-hop":
			out.packet.shape = hopByHop
		case "v4":
			out.family = 4
		case "v6":
			out.family = 6
		default:
			return row{}, fmt.Errorf("read %q: unknown word %q", text, w)
		}
	}
	for _, end := range out.ends {
		if a, failed := netip.ParseAddr(end); failed == nil {
			out.family = 6
			if a.Is4() {
				out.family = 4
			}
		}
	}
	return out, err
}

// probes are the row's packets, one for each IP version.
func (w *world) probes(rows []row) []probe {
	w.t.Helper()
	var out []probe
	s := w.snapshot()
	for _, r := range rows {
		for _, family := range []uint8{4, 6} {
			if r.family != 0 && r.family != family {
				continue
			}
			p := probe{packet: r.packet, want: r.allow}
			var ends [2]netip.Addr
			for i, end := range r.ends {
				if namespace, name, ok := strings.Cut(end, "/"); ok {
					pod := s.Workload(namespace, name)
					if pod == nil {
						w.t.Fatalf("line %d: no pod %s", r.line, end)
					}
					ends[i], _ = pod.Address(family)
				} else {
					ends[i] = netip.MustParseAddr(end)
				}
			}
			p.Source, p.Destination = ends[0], ends[1]
			if r.echo {
				p.Protocol, p.ICMPType = policy.ProtocolICMP, 8
				if family == 6 {
					p.Protocol, p.ICMPType = policy.ProtocolICMPv6, 128
				}
			}
			if p.SourcePort == 0 && (ported(p.Protocol) || p.Protocol == policy.ProtocolICMP || p.Protocol == policy.ProtocolICMPv6) {
				p.SourcePort = w.rig.port()
			}
			out = append(out, p)
		}
	}
	return out
}

// port is a source port that no other packet has, for a while.
func (r *rig) port() uint16 { return uint16(20000 + r.ids.Add(1)%40000) }

// check holds probes against the oracle, the ruleset, the kernel's answer and real packets.
func (w *world) check(probes []probe) {
	w.t.Helper()
	s := w.snapshot()
	wrong := 0
	for _, p := range probes {
		if got := w.allowed(s, p.Flow); got != p.want {
			w.t.Errorf("%s: the table says allow %v, policy/eval %v", p, p.want, got)
			continue
		}
		got, err := w.lookup(p.Flow)
		if err == nil && got == p.want {
			continue
		}
		if wrong++; wrong <= few {
			w.t.Errorf("%s: Lookup says allow %v, %v, want %v", p, got, err, p.want)
		}
	}
	if wrong > few {
		w.t.Errorf("Lookup is wrong on %d of %d packets", wrong, len(probes))
	}
	w.send(probes)
}

// send holds real packets against what is expected. Conntrack knows packets without ports by their addresses alone, so each of
// them is sent with conntrack's memory empty, lest it is taken for the reply to another.
func (w *world) send(probes []probe) {
	w.t.Helper()
	var together, alone []probe
	for _, p := range probes {
		if ported(p.Protocol) || p.Protocol == policy.ProtocolICMP || p.Protocol == policy.ProtocolICMPv6 {
			together = append(together, p)
		} else {
			alone = append(alone, p)
		}
	}
	w.rig.forget()
	batches := append([][]probe{together}, slices.Collect(slices.Chunk(alone, 1))...)
	for _, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		if len(batch) == 1 {
			w.rig.forget()
		}
		for i, arrived := range w.rig.deliver(w.t.Context(), batch) {
			if p := batch[i]; arrived != p.want {
				p.id = 0
				again := w.rig.deliver(w.t.Context(), []probe{p})
				w.t.Errorf("%s: arrived %v, want %v; sent again: arrived %v; %s", p, arrived, p.want, again[0], w.rig.drops())
			}
		}
	}
}

func readTable(t testing.TB, name string) ([]policy.Object, []row) {
	t.Helper()
	raw, err := testdata.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	objects, packets, ok := strings.Cut(string(raw), "=== packets\n")
	if !ok {
		t.Fatalf("%s: no line \"=== packets\"", name)
	}
	var rows []row
	for i, line := range strings.Split(packets, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRow(line)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r.line = strings.Count(objects, "\n") + 2 + i
		rows = append(rows, r)
	}
	return mustDecode(t, objects), rows
}

func cast(t testing.TB) []policy.Object {
	t.Helper()
	raw, err := testdata.ReadFile("testdata/cast.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return mustDecode(t, string(raw))
}

// newCast is a rig with the cast placed on it, and the world that holds it.
func newCast(t testing.TB, b Backend) *world {
	t.Helper()
	r := newRig(t, b)
	objects := cast(t)
	r.place(objects)
	w := newWorld(t, r)
	w.set(objects...)
	return w
}

// table runs all tables on one rig: each time the policies of the last are replaced by the next's, by Apply and, after every
// other, again by Sync.
func table(t *testing.T, b Backend) {
	entries, err := testdata.ReadDir("testdata/table")
	if err != nil {
		t.Fatal(err)
	}
	w := newCast(t, b)
	outer := w.t
	defer func() { w.t = outer }()
	for i, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".txt")
		t.Run(name, func(t *testing.T) {
			w.t = t
			objects, rows := readTable(t, path.Join("testdata/table", entry.Name()))
			w.set(objects...)
			w.apply()
			w.check(w.probes(rows))
			if i%2 == 0 {
				w.sync()
				w.send(w.probes(rows))
			}
			for _, s := range w.sides {
				if err := w.verify(s); err != nil {
					t.Errorf("Verify on %s: %v", s.node.Name, err)
				}
			}
			for _, o := range objects {
				w.remove(refOf(o.Value))
			}
		})
	}
}
