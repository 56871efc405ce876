package node

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/e2e/thread"
)

// Addresses inside the rack. No other network sees them, so that any number of
// clusters may use the same.
const (
	rackAddress = "10.10.0.1" // the control plane's
	nodeAddress = "10.10.0.%d"
	nodeBits    = 24
	podCIDR     = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16" // package controlplane's
	nodePodCIDR = "10.244.%d.0/24"
	rackBridge  = "rack"
)

// rack is the network namespace of the control plane, and the bridge in it that
// the nodes hang on. It lives as long as the descriptor is open.
type rack struct {
	ns   netns.NsHandle
	link *netlink.Handle
}

func newRack() (_ *rack, err error) {
	r := &rack{ns: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the nodes' network: %w", err), r.close())
		}
	}()
	entered := make(chan error)
	thread.Go(func() {
		var err error
		if r.ns, err = netns.New(); err == nil {
			err = unfiltered()
		}
		entered <- err
	})
	if err := <-entered; err != nil {
		return nil, err
	}
	if r.link, err = netlink.NewHandleAt(r.ns); err != nil {
		return nil, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: rackBridge}}
	if err := r.link.LinkAdd(bridge); err != nil {
		return nil, err
	}
	if err := errors.Join(up(r.link, "lo", ""), up(r.link, rackBridge, rackAddress)); err != nil {
		return nil, err
	}
	// Any route will do, so that the API server's packets to Services get as far as kube-proxy's rules, which send them on.
	made, err := r.link.LinkByName(rackBridge)
	if err != nil {
		return nil, err
	}
	_, services, err := net.ParseCIDR(serviceCIDR)
	if err != nil {
		return nil, err
	}
	return r, r.link.RouteAdd(&netlink.Route{Dst: services, LinkIndex: made.Attrs().Index, Scope: netlink.SCOPE_LINK})
}

// unfiltered keeps the rack's own packet filter, kube-proxy's, away from what the
// bridge passes between nodes.
func unfiltered() error {
	err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the kernel has no such filter
	}
	return err
}

// path names the namespace for this process and its children.
func (r *rack) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(r.ns)) }

// connect puts a cable between the bridge and a node, of which pid is the first
// process, and gives the node its address and routes.
func (r *rack) connect(n *Node, pid int) error {
	if err := r.disconnect(n); err != nil {
		return err
	}
	bridge, err := r.link.LinkByName(rackBridge)
	if err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	cable := netlink.NewLinkAttrs()
	cable.Name, cable.MasterIndex = n.Name, bridge.Attrs().Index
	if err := r.link.LinkAdd(&netlink.Veth{LinkAttrs: cable, PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}); err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	if err := up(r.link, n.Name, ""); err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	defer inside.Close()
	if err := errors.Join(up(inside, "lo", ""), up(inside, "eth0", n.Address)); err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	// A default route, so that addresses of Services have one and kube-proxy sees them.
	if err := route(inside, "0.0.0.0/0", rackAddress); err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	for _, other := range n.cluster.Nodes {
		if other != n {
			err = errors.Join(err, route(inside, other.PodCIDR, other.Address))
		}
	}
	if err := errors.Join(err, route(r.link, n.PodCIDR, n.Address)); err != nil {
		return fmt.Errorf("connect node %s: %w", n.Name, err)
	}
	return nil
}

// disconnect removes the cable of a node's earlier life, if there is one: the
// kernel removes it with the node's namespace, some time after the node's end.
func (r *rack) disconnect(n *Node) error {
	cable, err := r.link.LinkByName(n.Name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = r.link.LinkDel(cable)
	}
	if errors.Is(err, unix.ENODEV) { // the kernel was quicker
		return nil
	}
	if err != nil {
		return fmt.Errorf("disconnect node %s: %w", n.Name, err)
	}
	return nil
}

func (r *rack) close() error {
	if r.link != nil {
		r.link.Close()
	}
	if !r.ns.IsOpen() {
		return nil
	}
	return r.ns.Close()
}

// up switches a link on, with an address unless it is empty.
func up(h *netlink.Handle, name, address string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if address != "" {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(nodeBits, 32)}}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("give link %s the address %s: %w", name, address, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch link %s on: %w", name, err)
	}
	return nil
}

func route(h *netlink.Handle, to, via string) error {
	_, dst, err := net.ParseCIDR(to)
	if err == nil {
		err = h.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)})
	}
	if err != nil {
		return fmt.Errorf("route %s via %s: %w", to, via, err)
	}
	return nil
}
