package bypass

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Interfaces by which dataplanes are known that hand packets of pods on below the hook.
const (
	// ciliumHost is Cilium's. Where it routes through the host (bpf.hostLegacyRouting) packets do cross the hook, which cannot
	// be seen from here: whoever knows has to say so.
	ciliumHost = "cilium_host"
	// calicoIn and calicoOut are those of Calico's eBPF dataplane (felix: bpfin.cali, bpfout.cali).
	calicoIn, calicoOut = "bpfin.cali", "bpfout.cali"
)

// Why says why packets of the node's pods do not cross the hook, "" if nothing speaks for that.
func Why(f Facts, pods []netip.Addr) string {
	var why []string
	if _, ok := f.Links[ciliumHost]; ok {
		why = append(why, "Cilium routes packets of pods below the FORWARD hook (interface "+ciliumHost+"); if it routes them through the host, say --dataplane=forward")
	}
	for _, name := range []string{calicoIn, calicoOut} {
		if _, ok := f.Links[name]; ok {
			why = append(why, "Calico's eBPF dataplane routes packets of pods below the FORWARD hook (interface "+name+")")
			break
		}
	}
	for version, sysctl := range [2]string{"net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"} {
		if f.BridgeCalls[version] {
			continue
		}
		for _, bridge := range f.bridges(pods, version == 1) {
			if !f.Links[bridge].Calls[version] {
				why = append(why, fmt.Sprintf("packets between pods on bridge %s do not cross the FORWARD hook: load br_netfilter and set %s=1", bridge, sysctl))
			}
		}
	}
	return strings.Join(why, "; ")
}

// Remark says what is strange, and may pass: pods without an interface of their own, as ipvlan and macvlan make them, and as
// all are between a node's start and that of its pods. "" if nothing is.
func Remark(f Facts, pods []netip.Addr) string {
	strange := 0
	for _, a := range pods {
		if r, ok := f.route(a); !ok || r.Prefix.Bits() == 0 {
			strange++
		}
	}
	if strange == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d pod addresses have no route of their own on the node: what reaches them past the node's routing is not judged", strange, len(pods))
}

// bridges are those that pods of an IP version are behind, sorted.
func (f *Facts) bridges(pods []netip.Addr, v6 bool) []string {
	var out []string
	for _, a := range pods {
		if a.Unmap().Is6() != v6 {
			continue
		}
		// A default route by a bridge says nothing of pods: the node itself may be behind one.
		if r, ok := f.route(a); ok && r.Prefix.Bits() > 0 && f.Links[r.Link].Bridge && !slices.Contains(out, r.Link) {
			out = append(out, r.Link)
		}
	}
	slices.Sort(out)
	return out
}

// route is the one with the longest prefix that contains a.
func (f *Facts) route(a netip.Addr) (best Route, ok bool) {
	a = a.Unmap()
	for _, r := range f.Routes {
		if r.Prefix.Contains(a) && (!ok || r.Prefix.Bits() > best.Prefix.Bits()) {
			best, ok = r, true
		}
	}
	return best, ok
}
