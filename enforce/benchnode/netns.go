//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a network namespace without a name, with a thread in it that does one call after the other.
type space struct {
	handle netns.NsHandle
	links  *netlink.Handle
	calls  chan func()
	ended  chan struct{}
}

// newSpace makes one; its thread stays on processor cpu, or anywhere for -1.
func newSpace(cpu int) (*space, error) {
	s := &space{calls: make(chan func()), ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		var err error
		if s.handle, err = netns.New(); err == nil && cpu >= 0 {
			var set unix.CPUSet
			set.Set(cpu)
			err = unix.SchedSetaffinity(0, &set)
		}
		if err == nil {
			s.links, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
		}
		ready <- err
		if err != nil {
			return
		}
		for call := range s.calls {
			call()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	return s, s.up("lo")
}

// do runs f on the space's thread.
func (s *space) do(f func() error) error { return <-s.begin(f) }

// begin starts f on the space's thread.
func (s *space) begin(f func() error) <-chan error {
	done := make(chan error, 1)
	s.calls <- func() { done <- f() }
	return done
}

func (s *space) close() error {
	close(s.calls)
	<-s.ended
	s.links.Close()
	return s.handle.Close()
}

func (s *space) up(name string) error {
	link, err := s.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := s.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return nil
}

func (s *space) sysctl(settings map[string]string) error {
	return s.do(func() error {
		for key, value := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644); err != nil {
				return fmt.Errorf("set net/%s: %w", key, err)
			}
		}
		return nil
	})
}

// nft runs a script of nft.
func (s *space) nft(script string) error {
	return s.do(func() error {
		cmd := exec.Command("nft", "-f", "-") //nolint:noctx // it ends by itself
		cmd.Stdin = strings.NewReader(script)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run nft: %w: %.300s", err, text)
		}
		return nil
	})
}

// trio is a node and two of its pods, each a namespace, connected as the CNI plugin ptp does it.
type trio struct{ node, a, b *space }

// The addresses of the pods, and the node's in each.
const (
	addressA = "10.0.0.1"
	addressB = "10.0.0.2"
	gateway  = "169.254.1.1"
)

func newTrio(cpu int) (*trio, error) {
	t := &trio{}
	for _, s := range []struct {
		into **space
		cpu  int
	}{{&t.node, -1}, {&t.a, cpu}, {&t.b, cpu}} {
		var err error
		if *s.into, err = newSpace(s.cpu); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	err := t.node.sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"})
	if err == nil {
		err = errors.Join(t.join(t.a, 1, addressA), t.join(t.b, 2, addressB))
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *trio) close() error {
	var errs []error
	for _, s := range []*space{t.a, t.b, t.node} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// join puts a link between the node and a pod; neighbours are fixed.
func (t *trio) join(pod *space, n byte, ip string) error {
	at, via := netip.MustParseAddr(ip), netip.MustParseAddr(gateway)
	outer, inner := net.HardwareAddr{2, 0x5a, 0, 0, n, 1}, net.HardwareAddr{2, 0x5a, 0, 0, n, 2}
	name := fmt.Sprintf("pod%d", n)
	err := t.node.links.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: outer, MTU: 1500, TxQLen: -1},
		PeerName:  "eth0", PeerHardwareAddr: inner, PeerNamespace: netlink.NsFd(pod.handle),
	})
	if err != nil {
		return fmt.Errorf("add link: %w", err)
	}
	if err := errors.Join(t.node.up(name), pod.up("eth0")); err != nil {
		return err
	}
	if err := t.node.toward(name, at, inner, netip.Addr{}); err != nil {
		return err
	}
	eth0, err := pod.links.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find link of pod: %w", err)
	}
	if err := pod.links.AddrAdd(eth0, &netlink.Addr{IPNet: single(at)}); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	return errors.Join(pod.toward("eth0", via, outer, netip.Addr{}), pod.toward("eth0", netip.IPv4Unspecified(), nil, via))
}

// toward sets a route, and the neighbour that it leads to; to 0.0.0.0 it is the default route.
func (s *space) toward(link string, to netip.Addr, hw net.HardwareAddr, via netip.Addr) error {
	l, err := s.links.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", link, err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: single(to), Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		r.Dst, r.Gw, r.Scope = &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(0, 32)}, via.AsSlice(), netlink.SCOPE_UNIVERSE
	}
	if err := s.links.RouteReplace(r); err != nil {
		return fmt.Errorf("set route to %s: %w", to, err)
	}
	if hw == nil {
		return nil
	}
	err = s.links.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: to.AsSlice(), HardwareAddr: hw, State: netlink.NUD_PERMANENT})
	if err != nil {
		return fmt.Errorf("set neighbour %s: %w", to, err)
	}
	return nil
}

// forget empties conntrack.
func (t *trio) forget() error {
	if err := t.node.links.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("flush conntrack: %w", err)
	}
	return nil
}

// unmountBelow takes away the BPF file systems that backends mounted below dir.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var errs []error
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", fields[1], err))
			}
		}
	}
	return errors.Join(append(errs, f.Close())...)
}
