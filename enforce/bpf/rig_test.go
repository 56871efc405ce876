//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// rig is a node, which is the network namespace of the test's thread, and pods behind veth pairs with addresses of full length,
// as routed CNIs make them.
type rig struct {
	t    *testing.T
	pods map[string]*pod
}

type pod struct {
	ns     netns.NsHandle
	v4, v6 netip.Addr
	closer []io.Closer
}

func newRig(t *testing.T, names ...string) *rig {
	t.Helper()
	requireNetns(t)
	r := &rig{t: t, pods: map[string]*pod{}}
	for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		r.must(os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0o644))
	}
	// Package net asks once whether there is IPv6, by an address of lo.
	r.must(setUp(&netlink.Handle{}, "lo"))
	node, err := netns.Get()
	r.must(err)
	t.Cleanup(func() { node.Close() })
	for i, name := range names {
		r.addPod(node, i+1, name)
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// enter runs f on a thread in a pod's namespace.
func (p *pod) enter(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(p.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (r *rig) addPod(node netns.NsHandle, n int, name string) {
	r.t.Helper()
	p := &pod{v4: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), v6: netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n)})}
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		p.ns, err = netns.New()
		made <- err
	}()
	r.must(<-made)
	r.t.Cleanup(func() {
		for _, c := range p.closer {
			c.Close()
		}
		p.ns.Close()
	})
	host := fmt.Sprintf("cali%d", n)
	r.must(netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns),
	}))
	gateway4, gateway6 := netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")
	inNode, err := netlink.NewHandleAt(node)
	r.must(err)
	defer inNode.Close()
	r.must(setUp(inNode, host, gateway4, gateway6))
	r.must(route(inNode, host, single(p.v4), netip.Addr{}))
	r.must(route(inNode, host, single(p.v6), netip.Addr{}))
	inPod, err := netlink.NewHandleAt(p.ns)
	r.must(err)
	defer inPod.Close()
	r.must(setUp(inPod, "lo"))
	r.must(setUp(inPod, "eth0", p.v4, p.v6))
	r.must(route(inPod, "eth0", netip.MustParsePrefix("0.0.0.0/0"), gateway4))
	r.must(route(inPod, "eth0", netip.MustParsePrefix("::/0"), gateway6))
	r.pods[name] = p
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setUp(h *netlink.Handle, name string, addrs ...netip.Addr) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		address := &netlink.Addr{IPNet: ipNet(single(a))}
		if a.Is6() {
			address.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(l, address); err != nil {
			return err
		}
	}
	return h.LinkSetUp(l)
}

func route(h *netlink.Handle, name string, to netip.Prefix, via netip.Addr) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	out := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		out.Gw, out.Scope = via.AsSlice(), netlink.SCOPE_UNIVERSE
		out.Flags = int(netlink.FLAG_ONLINK)
	}
	return h.RouteReplace(out)
}

// serve answers on a TCP and on a UDP port with what it gets.
func (r *rig) serve(name string, port uint16) {
	r.t.Helper()
	p := r.pods[name]
	r.must(p.enter(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
		if err != nil {
			return errors.Join(err, l.Close())
		}
		p.closer = append(p.closer, l, u)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if _, err := io.Copy(c, c); err != nil {
						return
					}
				}()
			}
		}()
		go func() {
			buffer := make([]byte, 1<<16)
			for {
				n, from, err := u.ReadFrom(buffer)
				if err != nil {
					return
				}
				if _, err := u.WriteTo(buffer[:n], from); err != nil {
					return
				}
			}
		}()
		return nil
	}))
}

// patience is how long a packet that is not dropped may take; what is dropped costs it.
const patience = 400 * time.Millisecond

func (r *rig) dial(from, network string, to netip.AddrPort) (net.Conn, error) {
	var c net.Conn
	err := r.pods[from].enter(func() (err error) {
		c, err = net.DialTimeout(network, to.String(), patience)
		return err
	})
	return c, err
}

// echo sends size bytes and waits for them.
func echo(c net.Conn, size int) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, size)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, size))
	return err
}

// talks reports whether a new connection gets an answer.
func (r *rig) talks(from, network string, to netip.AddrPort, size int) bool {
	r.t.Helper()
	c, err := r.dial(from, network, to)
	if err != nil {
		return false
	}
	defer c.Close()
	return echo(c, size) == nil
}

// pings reports whether an echo request gets an answer.
func (r *rig) pings(from string, to netip.Addr) bool {
	r.t.Helper()
	ok := false
	r.must(r.pods[from].enter(func() error {
		network, request := "ip4:icmp", []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
		if to.Is6() {
			network, request = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 0, 0, 0}
		}
		c, err := net.DialIP(network, nil, &net.IPAddr{IP: to.AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
		buffer := make([]byte, 128)
		for {
			n, _, err := c.ReadFrom(buffer) // without the IPv4 header
			if err != nil {
				return nil
			}
			if n > 0 && (buffer[0] == 0 || buffer[0] == 129) {
				ok = true
				return nil
			}
		}
	}))
	return ok
}

// refused reports whether a connection ends by an ICMP error, which is what a closed UDP port sends.
func (r *rig) refused(from string, to netip.AddrPort) bool {
	r.t.Helper()
	c, err := r.dial(from, "udp", to)
	r.must(err)
	defer c.Close()
	return errors.Is(echo(c, 1), syscall.ECONNREFUSED)
}

// The IDs of plainRuleset.
const (
	world4, world6 ruleset.IdentityID = 1, 2
	ruleDeny       ruleset.RuleID     = 1
	ruleAllow      ruleset.RuleID     = 2
	rowDeny        ruleset.RowID      = 1
	rowAllow       ruleset.RowID      = 2
	rowSome        ruleset.RowID      = 3
	inOpen         ruleset.ProgramID  = 1
	outOpen        ruleset.ProgramID  = 2
	inB            ruleset.ProgramID  = 3
	open_          ruleset.SubjectID  = 1
	subjectB       ruleset.SubjectID  = 2
)

func whole(protocol uint8, allow bool, rule ruleset.RuleID) ruleset.Segment {
	return ruleset.Segment{Protocol: protocol, Last: math.MaxUint16, SourceLast: math.MaxUint16, Allow: allow, Rule: rule}
}

func one(protocol uint8, port uint16) []ruleset.Segment {
	before, at, after := whole(protocol, false, ruleDeny), whole(protocol, true, ruleAllow), whole(protocol, false, ruleDeny)
	before.Last, at.First, at.Last, after.First = port-1, port, port, port+1
	return []ruleset.Segment{before, at, after}
}

// identityOf returns the identity that plainRuleset gives to the n-th pod.
func identityOf(n int, family uint8) ruleset.IdentityID {
	return ruleset.IdentityID(10*n) + ruleset.IdentityID(family)
}

// plainRuleset lets pod 1 alone talk to pod 2, by TCP and UDP to port 5000 and by echo requests. Whatever else pods of the node
// do is allowed.
func plainRuleset(r *rig, names ...string) *ruleset.Ruleset {
	var pods [][]netip.Addr
	for _, name := range names {
		pods = append(pods, []netip.Addr{r.pods[name].v4, r.pods[name].v6})
	}
	return plainRulesetOf(pods)
}

func plainRulesetOf(pods [][]netip.Addr) *ruleset.Ruleset {
	out := ruleset.New()
	out.Rules[ruleDeny] = ruleset.Rule{Tier: "default", Policy: "NetworkPolicy prod/b", Index: ruleset.EndOfTier}
	out.Rules[ruleAllow] = ruleset.Rule{Tier: "default", Policy: "NetworkPolicy prod/b"}
	out.Rows[rowDeny] = ruleset.Row{whole(0, false, ruleDeny)}
	out.Rows[rowAllow] = ruleset.Row{whole(0, true, ruleAllow)}
	some := ruleset.Row{whole(0, false, ruleDeny)}
	some = append(some, one(protocolICMP, 8<<8)...)
	some = append(some, one(protocolTCP, 5000)...)
	some = append(some, one(protocolUDP, 5000)...)
	some = append(some, one(protocolICMPv6, 128<<8)...)
	out.Rows[rowSome] = some
	out.Identities[world4], out.Identities[world6] = ruleset.Identity{Family: 4}, ruleset.Identity{Family: 6}
	out.Addresses[netip.MustParsePrefix("0.0.0.0/0")] = ruleset.Address{Identity: world4}
	out.Addresses[netip.MustParsePrefix("::/0")] = ruleset.Address{Identity: world6}
	out.Programs[inOpen] = &ruleset.Program{Default4: rowAllow, Default6: rowAllow}
	out.Programs[outOpen] = &ruleset.Program{Direction: ruleset.Egress, Default4: rowAllow, Default6: rowAllow}
	out.Programs[inB] = &ruleset.Program{Default4: rowDeny, Default6: rowDeny, Rows: map[ruleset.IdentityID]ruleset.RowID{
		identityOf(1, 4): rowSome, identityOf(1, 6): rowSome,
	}}
	out.Subjects[open_] = ruleset.Subject{Ingress: inOpen, Egress: outOpen}
	out.Subjects[subjectB] = ruleset.Subject{Ingress: inB, Egress: outOpen}
	for i, addrs := range pods {
		for _, a := range addrs {
			n := identityOf(i+1, family(a))
			out.Identities[n] = ruleset.Identity{Family: family(a)}
			out.Addresses[single(a)] = ruleset.Address{Identity: n}
			subject := open_
			if i == 1 {
				subject = subjectB
			}
			out.Endpoints[a] = ruleset.Endpoint{Subject: subject}
		}
	}
	return out
}
