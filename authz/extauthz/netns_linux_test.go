package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/saguard/saguard/internal/testenv"
)

// gateway is the node's end of every pod's link, as pods see it.
const gateway = "169.254.1.1"

// place is a network namespace: the node's, or a pod's.
type place struct{ handle netns.NsHandle }

// onThread runs f on a thread of its own, which ends with it: whatever namespace it is in by then, nobody gets it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		done <- f()
	}()
	return <-done
}

// newPlace makes a namespace that is gone after the test; where the machine cannot, the test is skipped or fails.
func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{}
	err := onThread(func() (err error) {
		p.handle, err = netns.New()
		return err
	})
	if err != nil {
		testenv.Lacking(t, testenv.NetNS, err.Error())
	}
	t.Cleanup(func() { p.handle.Close() })
	p.must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return p
}

func (p *place) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(p.handle); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

func (p *place) must(t testing.TB, f func() error) {
	t.Helper()
	if err := p.do(f); err != nil {
		t.Fatal(err)
	}
}

// listen opens a TCP listener there.
func (p *place) listen(t testing.TB, address string) net.Listener {
	t.Helper()
	var l net.Listener
	p.must(t, func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// dial opens a TCP connection from there.
func (p *place) dial(ctx context.Context, address string) (c net.Conn, err error) {
	err = p.do(func() (err error) {
		c, err = (&net.Dialer{Timeout: unreachable}).DialContext(ctx, "tcp4", address)
		return err
	})
	return c, err
}

// newNode makes a namespace that forwards, and has the gateway's address.
func newNode(t testing.TB) *place {
	t.Helper()
	n := newPlace(t)
	n.must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return errors.Join(sysctl("ipv4.ip_forward", "1"), netlink.AddrAdd(lo, &netlink.Addr{IPNet: single(gateway)}))
	})
	return n
}

func single(address string) *net.IPNet {
	return &net.IPNet{IP: netip.MustParseAddr(address).AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// sysctl writes a setting of the thread's namespace.
func sysctl(key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys/net", strings.ReplaceAll(key, ".", "/")), []byte(value), 0o600)
}

// newPod joins a new namespace to the node, routed, as Calico does.
func (n *place) newPod(t testing.TB, index int, address string) *place {
	t.Helper()
	pod, inner := newPlace(t), "eth0"
	outer := fmt.Sprintf("pod%d", index)
	to := single(address)
	n.must(t, func() error {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: outer, TxQLen: -1}, PeerName: inner, PeerNamespace: netlink.NsFd(pod.handle),
		})
		if err != nil {
			return fmt.Errorf("add link: %w", err)
		}
		link, err := netlink.LinkByName(outer)
		if err != nil {
			return err
		}
		return errors.Join(
			sysctl("ipv4.conf."+outer+".rp_filter", "0"),
			netlink.LinkSetUp(link), netlink.RouteAdd(&netlink.Route{Dst: to, LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK}),
		)
	})
	pod.must(t, func() error {
		link, err := netlink.LinkByName(inner)
		if err != nil {
			return err
		}
		via := single(gateway)
		return errors.Join(
			netlink.AddrAdd(link, &netlink.Addr{IPNet: to}), netlink.LinkSetUp(link),
			netlink.RouteAdd(&netlink.Route{Dst: via, LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK}),
			netlink.RouteAdd(&netlink.Route{Gw: via.IP, LinkIndex: link.Attrs().Index}),
		)
	})
	return pod
}
