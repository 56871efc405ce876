package nft

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// rig is a node and its pods, each a network namespace; a pod hangs on a veth with a route to its addresses, as the CNI plugin
// ptp does it. Pod n has the addresses 10.1.0.n and fd01::n.
type rig struct {
	t    testing.TB
	node netns.NsHandle
	pods []netns.NsHandle
}

func podAddr(n int) netip.Addr  { return netip.AddrFrom4([4]byte{10, 1, 0, byte(n)}) }
func podAddr6(n int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 15: byte(n)}) }

// inside runs f on a thread of its own in ns.
func inside(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in its namespace
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// newRig makes a node with pods 1 to n. The calling thread has to be in a namespace of its own, which is the node's.
func newRig(t testing.TB, n int) *rig {
	t.Helper()
	node, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, node: node}
	t.Cleanup(func() {
		for _, ns := range append(r.pods, r.node) {
			if err := ns.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, f := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/net/"+f, []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := r.addPod(i + 1); err != nil {
			t.Fatalf("make pod %d: %v", i+1, err)
		}
	}
	return r
}

func (r *rig) addPod(n int) error {
	var pod netns.NsHandle
	err := inside(r.node, func() (err error) {
		pod, err = netns.New()
		return err
	})
	if err != nil {
		return err
	}
	r.pods = append(r.pods, pod)
	name := fmt.Sprintf("pod%d", n)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod)}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	gateway, gateway6 := net.IPv4(169, 254, 1, 1), net.ParseIP("fe80::1")
	host := func(ip net.IP) *net.IPNet {
		if v4 := ip.To4(); v4 != nil {
			return &net.IPNet{IP: v4, Mask: net.CIDRMask(32, 32)}
		}
		return &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}
	}
	err = errors.Join(
		netlink.AddrAdd(link, &netlink.Addr{IPNet: host(gateway)}),
		netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: gateway6, Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}),
		netlink.LinkSetUp(link))
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{podAddr(n), podAddr6(n)} {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: host(a.AsSlice()), Scope: netlink.SCOPE_LINK}); err != nil {
			return err
		}
	}
	return inside(pod, func() error {
		eth, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		err = errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(eth))
		for _, a := range []netip.Addr{podAddr(n), podAddr6(n)} {
			err = errors.Join(err, netlink.AddrAdd(eth, &netlink.Addr{IPNet: host(a.AsSlice()), Flags: unix.IFA_F_NODAD}))
		}
		index := eth.Attrs().Index
		return errors.Join(err,
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: host(gateway), Scope: netlink.SCOPE_LINK}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway6, Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}))
	})
}

func hostPort(a netip.Addr, port int) string { return net.JoinHostPort(a.String(), strconv.Itoa(port)) }

// echo serves a port of a pod until the test ends: it sends back what it gets.
func (r *rig) echo(n int, network string, a netip.Addr, port int) {
	r.t.Helper()
	err := inside(r.pods[n-1], func() error {
		var config net.ListenConfig
		if network == "udp" {
			conn, err := config.ListenPacket(r.t.Context(), network, hostPort(a, port))
			if err != nil {
				return err
			}
			r.t.Cleanup(func() { conn.Close() })
			go func() {
				buffer := make([]byte, 2048)
				for {
					n, from, err := conn.ReadFrom(buffer)
					if err != nil {
						return
					}
					if _, err := conn.WriteTo(buffer[:n], from); err != nil {
						continue
					}
				}
			}()
			return nil
		}
		listener, err := config.Listen(r.t.Context(), network, hostPort(a, port))
		if err != nil {
			return err
		}
		r.t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				r.t.Cleanup(func() { conn.Close() })
				go func() {
					buffer := make([]byte, 2048)
					for {
						n, err := conn.Read(buffer)
						if err != nil {
							return
						}
						if _, err := conn.Write(buffer[:n]); err != nil {
							return
						}
					}
				}()
			}
		}()
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// patience is how long an answer may take that has to come, silence how long one is waited for that must not.
const (
	patience = 5 * time.Second
	silence  = 300 * time.Millisecond
)

// dial opens a connection from a pod.
func (r *rig) dial(n int, network string, a netip.Addr, port int, wait time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := inside(r.pods[n-1], func() (err error) {
		ctx, cancel := context.WithTimeout(r.t.Context(), wait)
		defer cancel()
		conn, err = (&net.Dialer{}).DialContext(ctx, network, hostPort(a, port))
		return err
	})
	if err == nil {
		r.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// answered sends a byte and reports whether it comes back.
func answered(conn net.Conn, wait time.Duration) bool {
	if conn.SetDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 16))
	return err == nil && n > 0
}

// passes reports whether pod n reaches a port.
func (r *rig) passes(n int, network string, a netip.Addr, port int, wait time.Duration) bool {
	conn, err := r.dial(n, network, a, port, wait)
	return err == nil && answered(conn, wait)
}

// ping sends an echo request from pod n, and reports whether it is answered.
func (r *rig) ping(n int, a netip.Addr, wait time.Duration) bool {
	network, request := "ip4:icmp", []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}
	if a.Is6() {
		network, request = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0, 1, 0, 1} // the kernel fills in the checksum
	}
	conn, err := r.dial(n, network, a, 0, wait)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(wait))
	}
	if err == nil {
		_, err = conn.Write(request)
	}
	if err != nil {
		return false
	}
	for {
		buffer := make([]byte, 128)
		n, err := conn.Read(buffer)
		if err != nil {
			return false
		}
		if n >= 8 && (buffer[0] == 0 || buffer[0] == 129) {
			return true
		}
	}
}

// apply puts a delta in, to the kernel and to r.
func apply(t testing.TB, a enforce.Applier, r *ruleset.Ruleset, d *ruleset.Delta) {
	t.Helper()
	r.Apply(d)
	if err := a.Apply(t.Context(), []*ruleset.Delta{d}); err != nil {
		t.Error(err)
	}
}
