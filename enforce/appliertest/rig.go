package appliertest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// The gateway's addresses in every pod, which are the node's end of the link.
const (
	gateway4 = "169.254.1.1"
	gateway6 = "fe80::1"
)

// rig is two nodes with places for pods, and the outside.
type rig struct {
	t       testing.TB
	backend Backend
	nodes   []*node
	outside *place

	ids atomic.Uint32 // of packets and streams
	// refused are packets that must not arrive, and where.
	mu      sync.Mutex
	refused map[uint64]refusal
}

type refusal struct {
	at   *place
	what packet
}

// node is a namespace that forwards, with an Applier in it.
type node struct {
	Node

	ns     *namespace
	worker *worker
	rig    *rig
	places []*place
	peer   netlink.Link
	hw     net.HardwareAddr // of the peer link
	// address of the node itself, one per family.
	address4, address6 netip.Addr
	links              int
}

// place is a namespace behind one link of a node: a pod's, or the outside.
type place struct {
	ns       *namespace
	node     *node
	link     netlink.Link // the node's end
	inner    int          // the index of the other end
	hw       net.HardwareAddr
	tap      *tap
	quiet4   netip.Addr // addresses that no policy judges
	quiet6   netip.Addr
	claimed  map[netip.Addr]bool
	outwards bool
}

// places is how many pods a node has room for in namespaces of their own.
const places = 4

// newRig builds a rig with places for pods on each of its two nodes.
func newRig(t testing.TB, b Backend) *rig {
	t.Helper()
	r := &rig{t: t, backend: b, refused: map[uint64]refusal{}}
	r.ids.Store(1)
	for i := range 2 {
		n := &node{
			rig: r, ns: newNamespace(t, fmt.Sprintf("node-%d", i+1)),
			address4: netip.MustParseAddr(fmt.Sprintf("172.31.0.%d", i+1)), address6: netip.MustParseAddr(fmt.Sprintf("fd31::%d", i+1)),
		}
		n.Node = Node{Name: n.ns.name, Dir: t.TempDir(), NetNS: int(n.ns.handle)}
		n.ns.sysctl(t, map[string]string{
			"ipv4.ip_forward": "1", "ipv6.conf.all.forwarding": "1", "ipv6.conf.default.forwarding": "1",
			"ipv4.conf.all.rp_filter": "0", "ipv4.conf.default.rp_filter": "0",
			"ipv4.conf.all.send_redirects": "0", "ipv4.conf.default.send_redirects": "0",
			"ipv6.conf.default.accept_dad": "0", "ipv6.conf.default.accept_ra": "0",
			"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0", "ipv4.icmp_msgs_per_sec": "100000", "ipv4.icmp_msgs_burst": "100000",
			"ipv4.conf.all.accept_local": "1",
		})
		n.worker = newWorker(t, n.ns)
		r.nodes = append(r.nodes, n)
	}
	r.connect()
	r.outside = r.nodes[0].newPlace("outside", true)
	for _, n := range r.nodes {
		for i := range places {
			n.places = append(n.places, n.newPlace(fmt.Sprintf("%s-pod-%d", n.Name, i), false))
		}
		// Conntrack is on, as it is with kube-proxy.
		n.nft("table inet conntrack {\n chain forward {\n type filter hook forward priority 300\n ct state established counter\n }\n}\n")
	}
	r.warm()
	t.Cleanup(r.settle)
	return r
}

// warm waits until packets go from the outside to every place and back. A new link drops what is sent into it until the kernel
// has got round to giving it a queue, which may be a while after it is up.
func (r *rig) warm() {
	r.t.Helper()
	for _, n := range r.nodes {
		for _, p := range n.places {
			for _, family := range []uint8{4, 6} {
				for _, way := range [][2]*place{{r.outside, p}, {p, r.outside}} {
					from, to := way[0], way[1]
					sentinel := packet{Flow: ruleset.Flow{Source: from.quiet(family), Destination: to.quiet(family), Protocol: 17, SourcePort: 9, Port: 9}, id: r.id()}
					arrived := func() bool { return len(to.tap.arrivals(sentinel.id, sentinel.Source, sentinel.Destination)) > 0 }
					for deadline := time.Now().Add(patience); !arrived(); {
						r.fatal(from.tap.send(sentinel), "send first packet")
						// The error is that nothing came, and then it is sent again.
						if err := to.tap.wait(r.t.Context(), window, arrived); err != nil && time.Now().After(deadline) {
							r.t.Fatalf("no packet goes from %s to %s; %s", from.ns.name, to.ns.name, r.drops())
						}
					}
				}
			}
		}
	}
}

func hardware(a, b, c byte) net.HardwareAddr { return net.HardwareAddr{0x02, 0x5a, 0, a, b, c} }

func prefixNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func single(a netip.Addr) *net.IPNet { return prefixNet(netip.PrefixFrom(a, a.BitLen())) }

func (r *rig) fatal(err error, format string, args ...any) {
	if err != nil {
		r.t.Helper()
		r.t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// connect puts a link between the nodes; what is not for a pod of the second goes to the first.
func (r *rig) connect() {
	a, b := r.nodes[0], r.nodes[1]
	a.hw, b.hw = hardware(0, 0, 1), hardware(0, 0, 2)
	r.fatal(a.ns.links.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "peer", HardwareAddr: a.hw, MTU: 1500, TxQLen: -1}, PeerName: "peer",
		PeerHardwareAddr: b.hw, PeerNamespace: netlink.NsFd(b.ns.handle),
	}), "add link between nodes")
	for i, n := range r.nodes {
		other := r.nodes[1-i]
		n.peer = n.up(n.ns, "peer")
		for _, end := range [][2]netip.Addr{{n.address4, other.address4}, {n.address6, other.address6}} {
			n.addAddress(n.ns, n.peer, end[0])
			n.neighbour(n.ns, n.peer, end[1], other.hw)
			n.route(n.ns, &netlink.Route{Dst: single(end[1]), LinkIndex: n.peer.Attrs().Index, Scope: netlink.SCOPE_LINK})
		}
	}
	for _, to := range []netip.Addr{a.address4, a.address6} {
		b.route(b.ns, &netlink.Route{Gw: to.AsSlice(), LinkIndex: b.peer.Attrs().Index, Dst: everywhere(to)})
	}
}

func everywhere(a netip.Addr) *net.IPNet { return prefixNet(netip.PrefixFrom(zero(a), 0)) }

func zero(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (n *node) up(ns *namespace, name string) netlink.Link {
	link, err := ns.links.LinkByName(name)
	n.rig.fatal(err, "find link %s", name)
	n.rig.fatal(ns.links.LinkSetUp(link), "set link %s up", name)
	return link
}

func (n *node) addAddress(ns *namespace, link netlink.Link, a netip.Addr) {
	err := ns.links.AddrReplace(link, &netlink.Addr{IPNet: single(a), Flags: unix.IFA_F_NODAD})
	n.rig.fatal(err, "add address %s", a)
}

func (n *node) neighbour(ns *namespace, link netlink.Link, a netip.Addr, hw net.HardwareAddr) {
	err := ns.links.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: a.AsSlice(), HardwareAddr: hw, State: netlink.NUD_PERMANENT})
	n.rig.fatal(err, "set neighbour %s", a)
}

func (n *node) route(ns *namespace, route *netlink.Route) {
	n.rig.fatal(ns.links.RouteReplace(route), "set route to %v", route.Dst)
}

// newPlace makes a namespace behind a veth pair, with its default route over the node.
func (n *node) newPlace(name string, outwards bool) *place {
	r := n.rig
	n.links++
	number := byte(n.links)
	which := n.Name[len(n.Name)-1] - '0'
	outer := hardware(which, number, 1)
	p := &place{ns: newNamespace(r.t, name), node: n, hw: hardware(which, number, 2), claimed: map[netip.Addr]bool{}, outwards: outwards}
	p.ns.sysctl(r.t, map[string]string{
		"ipv4.conf.all.rp_filter": "0", "ipv4.conf.default.rp_filter": "0", "ipv4.ip_nonlocal_bind": "1", "ipv6.ip_nonlocal_bind": "1",
		"ipv6.conf.default.accept_dad": "0", "ipv6.conf.default.accept_ra": "0",
		"ipv4.icmp_ratelimit": "0", "ipv6.icmp.ratelimit": "0", "ipv4.icmp_msgs_per_sec": "100000", "ipv4.icmp_msgs_burst": "100000",
		"ipv4.icmp_echo_ignore_broadcasts": "0",
	})
	outside := fmt.Sprintf("pod%d", number)
	r.fatal(n.ns.links.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: outside, HardwareAddr: outer, MTU: 1500, TxQLen: -1}, PeerName: "eth0",
		PeerHardwareAddr: p.hw, PeerNamespace: netlink.NsFd(p.ns.handle),
	}), "add link of %s", name)
	p.link = n.up(n.ns, outside)
	inner := n.up(p.ns, "eth0")
	p.inner = inner.Attrs().Index
	for _, text := range []string{gateway4, gateway6} {
		gateway := netip.MustParseAddr(text)
		n.neighbour(p.ns, inner, gateway, outer)
		if gateway.Is4() {
			n.route(p.ns, &netlink.Route{Dst: single(gateway), LinkIndex: p.inner, Scope: netlink.SCOPE_LINK})
		}
		n.route(p.ns, &netlink.Route{Dst: everywhere(gateway), Gw: gateway.AsSlice(), LinkIndex: p.inner})
		if outwards {
			// What is nobody's goes outside.
			next := netip.MustParseAddr("169.254.2.2")
			if gateway.Is6() {
				next = netip.MustParseAddr("fe80::2")
			}
			n.neighbour(n.ns, p.link, next, p.hw)
			n.route(n.ns, &netlink.Route{Dst: everywhere(next), Gw: next.AsSlice(), LinkIndex: p.link.Attrs().Index, Flags: int(netlink.FLAG_ONLINK)})
		}
	}
	p.tap = newTap(r.t, p.ns, "eth0", p.inner, outer)
	p.quiet4 = netip.AddrFrom4([4]byte{198, 18, which, number})
	p.quiet6 = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x18, 14: which, 15: number})
	p.claim(p.quiet4, false)
	p.claim(p.quiet6, false)
	return p
}

// claim routes an address to the place. Only where local is set does the namespace answer for it.
func (p *place) claim(a netip.Addr, local bool) {
	n := p.node
	n.neighbour(n.ns, p.link, a, p.hw)
	n.route(n.ns, &netlink.Route{Dst: single(a), LinkIndex: p.link.Attrs().Index, Scope: netlink.SCOPE_LINK})
	for _, other := range n.rig.nodes {
		if other != n {
			via := n.address4
			if a.Is6() {
				via = n.address6
			}
			other.route(other.ns, &netlink.Route{Dst: single(a), Gw: via.AsSlice(), LinkIndex: other.peer.Attrs().Index})
		}
	}
	if local {
		inner, err := p.ns.links.LinkByIndex(p.inner)
		n.rig.fatal(err, "find eth0 of %s", p.ns.name)
		n.addAddress(p.ns, inner, a)
	}
	p.claimed[a] = local
}

// release takes an address from the place again.
func (p *place) release(a netip.Addr) {
	local, ok := p.claimed[a]
	if !ok {
		return
	}
	delete(p.claimed, a)
	n := p.node
	for _, other := range n.rig.nodes {
		r := &netlink.Route{Dst: single(a), LinkIndex: p.link.Attrs().Index, Scope: netlink.SCOPE_LINK}
		if other != n {
			r.LinkIndex, r.Scope = other.peer.Attrs().Index, netlink.SCOPE_UNIVERSE
		}
		n.rig.fatal(other.ns.links.RouteDel(r), "remove route to %s", a)
	}
	if local {
		inner, err := p.ns.links.LinkByIndex(p.inner)
		n.rig.fatal(err, "find eth0 of %s", p.ns.name)
		n.rig.fatal(p.ns.links.AddrDel(inner, &netlink.Addr{IPNet: single(a)}), "remove address %s", a)
	}
}

// at returns the place that an address is routed to: the outside if it is nobody's.
func (r *rig) at(a netip.Addr) *place {
	for _, n := range r.nodes {
		for _, p := range n.places {
			if _, ok := p.claimed[a]; ok {
				return p
			}
		}
	}
	return r.outside
}

func (r *rig) node(name string) *node {
	for _, n := range r.nodes {
		if n.Name == name {
			return n
		}
	}
	r.t.Helper()
	r.t.Fatalf("no node %q", name)
	return nil
}

// command runs a program in the node's namespace.
func (n *node) command(stdin, name string, args ...string) (string, error) {
	var out []byte
	err := n.ns.do(func() error {
		cmd := exec.CommandContext(n.rig.t.Context(), name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run %s: %w: %s", name, err, out)
		}
		return nil
	})
	return string(out), err
}

// nft loads rules, as somebody else's on the node.
func (n *node) nft(rules string) {
	n.rig.t.Helper()
	_, err := n.command(rules, "nft", "-f", "-")
	n.rig.fatal(err, "load rules")
}

// forget empties the connection tracking tables of all nodes.
func (r *rig) forget() {
	for _, n := range r.nodes {
		r.fatal(n.ns.links.ConntrackTableFlush(netlink.ConntrackTable), "flush connections")
	}
}

func (p *place) quiet(family uint8) netip.Addr {
	if family == 4 {
		return p.quiet4
	}
	return p.quiet6
}

func (r *rig) id() uint64 { return uint64(r.ids.Add(1)) }

// probe is a packet and whether it is expected to arrive.
type probe struct {
	packet

	want bool
	// To is where the packet comes out; the place of its destination if nil. From is where it starts.
	to, from *place
	// arrival is what it looks like there; any if zero.
	arrivesFrom, arrivesAt netip.Addr
}

// deliver sends packets, no more than a device's queue holds, and says which have arrived.
func (r *rig) deliver(ctx context.Context, probes []probe) []bool {
	r.t.Helper()
	out := make([]bool, 0, len(probes))
	for chunk := range slices.Chunk(probes, 64) {
		out = append(out, r.deliverSome(ctx, chunk)...)
	}
	return out
}

func (r *rig) deliverSome(ctx context.Context, probes []probe) []bool {
	r.t.Helper()
	type way struct {
		from, to *place
		family   uint8
	}
	ways := map[way]bool{}
	for i := range probes {
		p := &probes[i]
		if p.id == 0 {
			p.id = r.id()
		}
		if p.from == nil {
			p.from = r.at(p.Source)
		}
		if p.to == nil {
			p.to = r.at(p.Destination)
		}
		ways[way{p.from, p.to, p.family()}] = true
		r.fatal(p.from.tap.send(p.packet), "send %s", p.packet)
	}
	for _, p := range probes {
		if p.want {
			if err := p.to.tap.wait(ctx, patience/5, func() bool { return r.arrived(p) }); err != nil {
				continue // what did not come is seen below
			}
		}
	}
	for w := range ways {
		r.sentinel(ctx, w.from, w.to, w.family)
	}
	pause(ctx, window)
	got := make([]bool, len(probes))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range probes {
		got[i] = r.arrived(p)
		if !got[i] {
			r.refused[p.id] = refusal{p.to, p.packet}
		}
	}
	return got
}

func (r *rig) arrived(p probe) bool {
	at := p.arrivesAt
	if !at.IsValid() && p.to == r.at(p.Destination) {
		at = p.Destination
	}
	return len(p.to.tap.arrivals(p.id, p.arrivesFrom, at)) > 0
}

// sentinel sends packets that no policy judges until one has arrived: then everything before it has, too, or never will.
func (r *rig) sentinel(ctx context.Context, from, to *place, family uint8) {
	r.t.Helper()
	p := packet{Flow: ruleset.Flow{Source: from.quiet(family), Destination: to.quiet(family), Protocol: 17, SourcePort: 9, Port: 9}, id: r.id()}
	r.fatal(from.tap.send(p), "send sentinel")
	err := to.tap.wait(ctx, patience, func() bool { return len(to.tap.arrivals(p.id, p.Source, p.Destination)) > 0 })
	r.fatal(err, "wait for a packet between addresses that are no endpoints, from %s to %s", from.ns.name, to.ns.name)
}

// pause waits for something that is not to happen.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// settle looks once more for packets that were to be denied.
func (r *rig) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, refused := range r.refused {
		if len(refused.at.tap.arrivals(id, netip.Addr{}, refused.what.Destination)) > 0 {
			r.t.Errorf("%s was denied, and arrived later", refused.what)
		}
	}
}
