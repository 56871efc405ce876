package appliertest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
)

const (
	web4, api4, db4, intern4 = "10.65.1.1", "10.65.1.2", "10.65.1.3", "10.65.1.4"
	web6, api6, intern6      = "fd65:1::1", "fd65:1::2", "fd65:1::4"
	db24, db26               = "10.65.2.2", "fd65:2::2"
	partner4, stranger4      = "203.0.113.5", "198.51.100.1"
	partner6, stranger6      = "2001:db8::5", "2001:db9::5"
)

func flow(from, to string, protocol uint8, port uint16) ruleset.Flow {
	return ruleset.Flow{Source: netip.MustParseAddr(from), Destination: netip.MustParseAddr(to), Protocol: protocol, Port: port}
}

// probe is a packet from a new port.
func (r *rig) probe(from, to string, protocol uint8, port uint16, want bool) probe {
	p := probe{packet: packet{Flow: flow(from, to, protocol, port)}, want: want}
	p.SourcePort = r.port()
	return p
}

// services are DNAT and masquerade as kube-proxy sets them up in its nftables mode: translation in prerouting, a mark for
// what is to be masqueraded, masquerade by the mark in postrouting.
const services = `
table ip services {
	chain prerouting {
		type nat hook prerouting priority -100
		ip daddr 10.96.0.10 tcp dport 80 ip saddr 10.65.1.2 meta mark set meta mark | 0x4000
		ip daddr 10.96.0.10 tcp dport 80 dnat to 10.65.1.2:8080
		ip daddr 10.96.0.11 tcp dport 80 dnat to 10.65.2.2:5432
		ip daddr 172.31.0.1 tcp dport 30080 meta mark set meta mark | 0x4000
		ip daddr 172.31.0.1 tcp dport 30080 dnat to 10.65.1.2:8080
		ip daddr 172.31.0.1 tcp dport 30081 meta mark set meta mark | 0x4000
		ip daddr 172.31.0.1 tcp dport 30081 dnat to 10.65.2.2:5432
	}
	chain postrouting {
		type nat hook postrouting priority 100
		meta mark & 0x4000 != 0 masquerade
		ip saddr 10.65.0.0/16 ip daddr != 10.65.0.0/16 masquerade
	}
}
table ip6 services {
	chain prerouting {
		type nat hook prerouting priority -100
		ip6 daddr fd96::10 tcp dport 80 dnat to [fd65:1::2]:8080
		ip6 daddr fd96::11 tcp dport 80 dnat to [fd65:2::2]:5432
		ip6 daddr fd31::1 tcp dport 30080 meta mark set meta mark | 0x4000
		ip6 daddr fd31::1 tcp dport 30080 dnat to [fd65:1::2]:8080
	}
	chain postrouting {
		type nat hook postrouting priority 100
		meta mark & 0x4000 != 0 masquerade
	}
}
`

const servicePolicies = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {namespace: prod, name: api}
spec:
  selector: app == 'api'
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: "app in {'web', 'api'}"}, destination: {ports: [8080]}}
  - {action: Allow, protocol: TCP, source: {nets: [203.0.113.0/24, "2001:db8::/32"]}, destination: {ports: [8080]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {namespace: prod, name: web}
spec:
  selector: app == 'web'
  types: [Egress]
  egress:
  - {action: Allow, protocol: TCP, destination: {selector: app == 'api', ports: [8080]}}
  - {action: Allow, protocol: TCP, destination: {nets: [203.0.113.0/24]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {namespace: prod, name: db}
spec:
  selector: app == 'db'
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: app == 'api'}, destination: {ports: [5432]}}
  - {action: Allow, protocol: TCP, source: {nets: [172.31.0.1/32]}, destination: {ports: [5432]}}
`

// translated: policy sees the destination after DNAT and the source before masquerade, and leaves the marks alone.
func translated(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	r.nodes[0].nft(services)
	w.set(mustDecode(t, servicePolicies)...)
	w.apply()
	at := func(p probe, arrives, from string) probe {
		p.arrivesAt = netip.MustParseAddr(arrives)
		p.to = r.at(p.arrivesAt)
		if from != "" {
			p.arrivesFrom = netip.MustParseAddr(from)
		}
		return p
	}
	const node1, node16 = "172.31.0.1", "fd31::1"
	const vip, vipDB, vip6, vipDB6 = "10.96.0.10", "10.96.0.11", "fd96::10", "fd96::11"
	tcp := policy.ProtocolTCP
	outside := r.probe(web4, partner4, tcp, 443, true)
	outside.to = r.outside
	refusedOutside := r.probe(web4, stranger4, tcp, 443, false)
	refusedOutside.to = r.outside
	w.send([]probe{
		at(r.probe(web4, vip, tcp, 80, true), api4, web4),
		at(r.probe(intern4, vip, tcp, 80, false), api4, ""),
		at(r.probe(web4, vipDB, tcp, 80, false), db24, ""),
		at(r.probe(api4, vipDB, tcp, 80, true), db24, api4),
		at(r.probe(intern4, vipDB, tcp, 80, false), db24, ""),
		at(r.probe(api4, vip, tcp, 80, true), api4, node1),
		at(r.probe(web6, vip6, tcp, 80, true), api6, web6),
		at(r.probe(intern6, vip6, tcp, 80, false), api6, ""),
		at(r.probe(api6, vipDB6, tcp, 80, true), db26, api6),
		at(r.probe(intern6, vipDB6, tcp, 80, false), db26, ""),
		at(r.probe(partner4, node1, tcp, 30080, true), api4, node1),
		at(r.probe(stranger4, node1, tcp, 30080, false), api4, ""),
		at(r.probe(partner6, node16, tcp, 30080, true), api6, ""),
		at(r.probe(stranger6, node16, tcp, 30080, false), api6, ""),
		at(r.probe(stranger4, node1, tcp, 30081, true), db24, node1),
		at(outside, partner4, node1),
		at(refusedOutside, stranger4, ""),
	})

	api := r.at(netip.MustParseAddr(api4))
	for _, end := range [][3]string{{api4, web4, vip}, {api6, web6, vip6}} {
		api.ns.echo(t, netip.AddrPortFrom(netip.MustParseAddr(end[0]), 8080))
		from := netip.MustParseAddr(end[1])
		c, err := r.at(from).ns.dial(t, from, netip.AddrPortFrom(netip.MustParseAddr(end[2]), 80), patience)
		if err != nil {
			t.Errorf("connect over the service's address: %v", err)
			continue
		}
		if err := converse(c, true).moves(t.Context()); err != nil {
			t.Errorf("talk over the service's address: %v", err)
		}
	}
}

// sealedBut lets the web into the api on a few ports, and nothing else in or out of anybody.
const sealedBut = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: sealed}
spec: {selector: all(), order: 100, types: [Ingress, Egress]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web-calls}
spec:
  selector: app == 'web'
  order: 1
  types: [Egress]
  egress: [{action: Allow, source: {selector: app == 'web'}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: called}
spec:
  selector: app in {'api', 'db'}
  order: 1
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [80]}}
  - {action: Allow, protocol: UDP, source: {selector: app == 'web'}, destination: {ports: [80]}}
`

// icmpErrors: errors that belong to a connection reach its source, whatever the policies there and at the error's sender say.
// Others are judged.
func icmpErrors(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	w.set(mustDecode(t, sealedBut)...)
	w.apply()
	db := r.at(netip.MustParseAddr(db24))
	if err := r.nodes[1].ns.links.LinkSetMTU(db.link, 1300); err != nil {
		t.Fatal(err)
	}
	send := func(name string, p probe, kind4, code4, kind6, code6 byte) {
		t.Helper()
		p.id = r.id()
		from := r.at(p.Source)
		r.fatal(from.tap.send(p.packet), "send %s", p.packet)
		kind, code := kind4, code4
		if p.family() == 6 {
			kind, code = kind6, code6
		}
		err := from.tap.wait(t.Context(), patience/2, func() bool {
			for _, c := range from.tap.arrivals(p.id, netip.Addr{}, p.Source) {
				if c.icmpType == kind && c.icmpCode == code && (c.protocol == policy.ProtocolICMP || c.protocol == policy.ProtocolICMPv6) {
					return true
				}
			}
			return false
		})
		if err != nil {
			t.Errorf("%s of %s: no ICMP %d/%d came back, but %+v; it arrived: %v; %s", name, p.packet, kind, code,
				from.tap.arrivals(p.id, netip.Addr{}, netip.Addr{}), r.at(p.Destination).tap.arrivals(p.id, netip.Addr{}, p.Destination), r.drops())
		}
	}
	for _, ends := range [][3]string{{web4, api4, db24}, {web6, api6, db26}} {
		send("port unreachable on the node", r.probe(ends[0], ends[1], policy.ProtocolUDP, 80, true), 3, 3, 1, 4)
		send("port unreachable from the other node", r.probe(ends[0], ends[2], policy.ProtocolUDP, 80, true), 3, 3, 1, 4)
		big := r.probe(ends[0], ends[2], policy.ProtocolUDP, 80, true)
		big.size, big.whole = 1400, true
		send("fragmentation needed at the other node", big, 3, 4, 2, 0)
		dying := r.probe(ends[0], ends[2], policy.ProtocolUDP, 80, true)
		dying.hops = 2
		send("time exceeded at the other node", dying, 11, 0, 3, 0)
	}
	// Errors about connections that do not exist.
	unasked := []probe{
		{packet: packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(api4), Destination: netip.MustParseAddr(web4), Protocol: policy.ProtocolICMP, ICMPType: 3, ICMPCode: 3}}},
		{packet: packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(api6), Destination: netip.MustParseAddr(web6), Protocol: policy.ProtocolICMPv6, ICMPType: 1, ICMPCode: 4}}},
		{packet: packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(db24), Destination: netip.MustParseAddr(web4), Protocol: policy.ProtocolICMP, ICMPType: 3, ICMPCode: 4}}},
		{packet: packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(api4), Destination: netip.MustParseAddr(web4), Protocol: policy.ProtocolICMP, ICMPType: 0}}},
		{packet: packet{Flow: ruleset.Flow{Source: netip.MustParseAddr(api6), Destination: netip.MustParseAddr(web6), Protocol: policy.ProtocolICMPv6, ICMPType: 129}}},
	}
	w.check(unasked)
}

// host: the node reaches its own pods and they reach it, whatever policy says; another node's host is an address like any.
func host(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	w.set(mustDecode(t, sealedBut)...)
	w.apply()
	for _, text := range []string{api4, api6} {
		a := netip.MustParseAddr(text)
		r.at(a).ns.echo(t, netip.AddrPortFrom(a, 9000))
		self, other := r.nodes[0].address4, r.nodes[1].address4
		if a.Is6() {
			self, other = r.nodes[0].address6, r.nodes[1].address6
		}
		c, err := r.nodes[0].ns.dial(t, self, netip.AddrPortFrom(a, 9000), patience)
		if err != nil {
			t.Errorf("connect from the node to its pod %s: %v", a, err)
		} else if err := converse(c, true).moves(t.Context()); err != nil {
			t.Errorf("talk from the node to its pod: %v", err)
		}
		if _, err := r.nodes[1].ns.dial(t, other, netip.AddrPortFrom(a, 9000), 300*time.Millisecond); err == nil {
			t.Errorf("the other node reaches %s, which policy denies", a)
		}
		r.nodes[0].ns.echo(t, netip.AddrPortFrom(self, 9001))
		if c, err = r.at(a).ns.dial(t, a, netip.AddrPortFrom(self, 9001), patience); err != nil {
			t.Errorf("connect from pod %s to its node: %v", a, err)
		} else if err := converse(c, true).moves(t.Context()); err != nil {
			t.Errorf("talk from a pod to its node: %v", err)
		}
	}
}

// stray: packets that do not open a connection are judged as if they did, unless they are replies; replies pass, whatever
// policy says of their direction.
func stray(t *testing.T, b Backend) {
	w := newCast(t, b)
	r := w.rig
	w.set(mustDecode(t, sealedBut)...)
	w.apply()
	flags := func(p probe, f byte) probe {
		p.flags = f
		return p
	}
	const ack, synAck, rst, fin = 0x10, 0x12, 0x04, 0x11
	tcp, udp := policy.ProtocolTCP, policy.ProtocolUDP
	reply := r.probe(api4, web4, tcp, 40001, false)
	reply.SourcePort = 80
	reply6 := r.probe(api6, web6, udp, 40001, false)
	reply6.SourcePort = 80
	w.check([]probe{
		flags(r.probe(web4, api4, tcp, 80, true), ack),
		flags(r.probe(web6, api6, tcp, 80, true), ack),
		flags(r.probe(web4, api4, tcp, 81, false), ack),
		flags(r.probe(web6, api6, tcp, 81, false), fin),
		flags(r.probe(web4, api4, tcp, 81, false), rst),
		flags(r.probe(web4, db24, tcp, 81, false), ack),
		flags(r.probe(api4, web4, tcp, 80, false), ack),
		flags(reply, synAck), reply6,
	})
	// A datagram out, and what comes back from the same ports.
	for _, ends := range [][2]string{{web4, api4}, {web6, api6}, {web4, db24}, {web6, db26}} {
		out := r.probe(ends[0], ends[1], udp, 80, true)
		back := r.probe(ends[1], ends[0], udp, out.SourcePort, true)
		back.SourcePort = 80
		elsewhere := r.probe(ends[1], ends[0], udp, out.SourcePort+1, false)
		elsewhere.SourcePort = 80
		for _, p := range []probe{out, back, elsewhere} {
			if got := r.deliver(t.Context(), []probe{p})[0]; got != p.want {
				t.Errorf("%s: arrived %v, want %v", p, got, p.want)
			}
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(ends[1]), 80)
		r.at(to.Addr()).ns.echo(t, to)
		c, err := r.at(out.Source).ns.dial(t, out.Source, to, patience)
		if err != nil {
			t.Errorf("connect to %s: %v", to, err)
		} else if err := converse(c, true).moves(t.Context()); err != nil {
			t.Errorf("talk to %s: %v", to, err)
		}
	}
	// Without connection tracking of its own, a node has to see to it that replies pass.
	bare := r.nodes[1]
	if _, err := bare.command("", "nft", "delete", "table", "inet", "conntrack"); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(db24), 80)
	from := netip.MustParseAddr(web4)
	c, err := r.at(from).ns.dial(t, from, to, patience)
	if err != nil {
		t.Errorf("connect to a pod of a node on which nobody else asks for conntrack: %v", err)
	} else if err := converse(c, true).moves(t.Context()); err != nil {
		t.Errorf("talk to it: %v", err)
	}
	for _, text := range []string{db24, db26} {
		source := web4
		if text == db26 {
			source = web6
		}
		pieces := r.probe(source, text, udp, 80, true)
		pieces.shape = fragmented
		refused := r.probe(source, text, udp, 81, false)
		refused.shape = fragmented
		for i, got := range r.deliver(t.Context(), []probe{pieces, refused}) {
			if want := i == 0; got != want {
				t.Errorf("fragments to port %d of a node on which nobody else asks for conntrack: arrived %v, want %v", 80+i, got, want)
			}
		}
	}
}
