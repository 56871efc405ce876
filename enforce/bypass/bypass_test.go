package bypass_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/saguard/saguard/enforce/bypass"
)

// machine is a root file system of a node.
type machine struct{ fstest.MapFS }

func newMachine() machine {
	m := machine{fstest.MapFS{}}
	m.file("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n")
	m.file("proc/net/ipv6_route", "")
	m.link("eth0", false)
	m.route("eth0", "0.0.0.0/0")
	m.route("eth0", "::/0")
	return m
}

func (m machine) file(name, text string) { m.MapFS[name] = &fstest.MapFile{Data: []byte(text)} }

func (m machine) link(name string, bridge bool) {
	m.file("sys/class/net/"+name+"/uevent", "")
	if bridge {
		m.file("sys/class/net/"+name+"/bridge/nf_call_iptables", "0\n")
		m.file("sys/class/net/"+name+"/bridge/nf_call_ip6tables", "0\n")
	}
}

func (m machine) route(link, prefix string) {
	p := netip.MustParsePrefix(prefix)
	if p.Addr().Is4() {
		mask := ^uint32(0) << (32 - p.Bits())
		if p.Bits() == 0 {
			mask = 0
		}
		a4 := p.Addr().As4()
		m.MapFS["proc/net/route"].Data = fmt.Appendf(m.MapFS["proc/net/route"].Data, "%s\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0\n",
			link, binary.NativeEndian.Uint32(a4[:]), binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, mask)))
		return
	}
	a := p.Addr().As16()
	m.MapFS["proc/net/ipv6_route"].Data = fmt.Appendf(m.MapFS["proc/net/ipv6_route"].Data, "%x %02x %032d 00 %032d 00000400 00000001 00000000 00000001 %8s\n", a[:], p.Bits(), 0, 0, link)
}

func TestWhetherPacketsOfPodsCrossTheHook(t *testing.T) {
	const on = "1\n"
	cases := map[string]struct {
		make   func(m machine)
		why    []string // parts of the reason; nil = they do
		remark bool
	}{
		"routed to interfaces of their own": {make: func(m machine) {
			m.link("veth1", false)
			m.route("veth1", "10.244.0.5/32")
			m.route("veth1", "fd00::5/128")
		}},
		"a bridge that calls": {make: func(m machine) {
			m.bridged("cni0")
			m.file("proc/sys/net/bridge/bridge-nf-call-iptables", on)
			m.file("proc/sys/net/bridge/bridge-nf-call-ip6tables", on)
		}},
		"this bridge calls, others do not": {make: func(m machine) {
			m.bridged("cni0")
			m.file("sys/class/net/cni0/bridge/nf_call_iptables", on)
			m.file("sys/class/net/cni0/bridge/nf_call_ip6tables", on)
		}},
		"a bridge that does not call, without the module": {make: func(m machine) { m.bridged("cni0") }, why: []string{"cni0", "bridge-nf-call-iptables", "bridge-nf-call-ip6tables"}},
		"a bridge that calls for IPv4 only": {make: func(m machine) {
			m.bridged("cni0")
			m.file("proc/sys/net/bridge/bridge-nf-call-iptables", on)
			m.file("proc/sys/net/bridge/bridge-nf-call-ip6tables", "0\n")
		}, why: []string{"bridge-nf-call-ip6tables=1"}},
		"a bridge without pods": {make: func(m machine) {
			m.link("docker0", true)
			m.route("docker0", "172.17.0.0/16")
			m.link("veth1", false)
			m.route("veth1", "10.244.0.0/16")
			m.route("veth1", "fd00::/64")
		}},
		"the node itself is behind a bridge": {make: func(m machine) {
			m.link("br0", true)
			m.route("br0", "0.0.0.0/0")
		}, remark: true},
		"Cilium": {make: func(m machine) {
			m.link("cilium_host", false)
			m.route("cilium_host", "10.244.0.0/24")
			m.route("cilium_host", "fd00::/64")
		}, why: []string{"Cilium", "--dataplane=forward"}},
		"Calico's eBPF dataplane": {make: func(m machine) {
			m.link("bpfin.cali", false)
			m.link("cali1", false)
			m.route("cali1", "10.244.0.5/32")
			m.route("cali1", "fd00::5/128")
		}, why: []string{"Calico"}},
		"Calico's ordinary dataplane": {make: func(m machine) {
			m.link("cali1", false)
			m.route("cali1", "10.244.0.5/32")
			m.route("cali1", "fd00::5/128")
		}},
		"no route of their own": {make: func(machine) {}, remark: true},
	}
	pods := []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("fd00::5")}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			tc.make(m)
			f, err := bypass.Gather(m)
			if err != nil {
				t.Fatal(err)
			}
			why := bypass.Why(f, pods)
			if (why == "") != (tc.why == nil) {
				t.Errorf("why: %q", why)
			}
			for _, part := range tc.why {
				if !strings.Contains(why, part) {
					t.Errorf("%q does not speak of %s", why, part)
				}
			}
			if got := bypass.Remark(f, pods); (got != "") != tc.remark {
				t.Errorf("remark: %q", got)
			}
			// Without pods only the dataplane itself can be known.
			if why := bypass.Why(f, nil); strings.Contains(why, "bridge") {
				t.Errorf("without pods: %q", why)
			}
		})
	}
}

func (m machine) bridged(name string) {
	m.link(name, true)
	m.route(name, "10.244.0.0/24")
	m.route(name, "fd00::/64")
}

func TestFactsThatCannotBeRead(t *testing.T) {
	for name, spoil := range map[string]func(m machine){
		"no interfaces":         func(m machine) { clear(m.MapFS) },
		"a route cut short":     func(m machine) { m.file("proc/net/route", "titles\neth0\t00\n") },
		"a destination no hex":  func(m machine) { m.file("proc/net/route", "titles\neth0 xyzxyzxy 0 0 0 0 0 00000000\n") },
		"an IPv6 route cut":     func(m machine) { m.file("proc/net/ipv6_route", "fd00 40\n") },
		"an IPv6 prefix of 129": func(m machine) { m.file("proc/net/ipv6_route", strings.Repeat("0", 32)+" 81 0 0 0 0 0 0 0 eth0\n") },
	} {
		m := newMachine()
		spoil(m)
		if f, err := bypass.Gather(m); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// The machine that the test runs on can be read.
func TestThisMachine(t *testing.T) {
	f, err := bypass.Gather(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Links["lo"]; !ok {
		t.Errorf("no loopback among %v", f.Links)
	}
}

// FuzzRoutes: nothing panics, and every route is a masked prefix.
func FuzzRoutes(f *testing.F) {
	m := newMachine()
	m.bridged("cni0")
	f.Add(m.MapFS["proc/net/route"].Data, m.MapFS["proc/net/ipv6_route"].Data)
	f.Fuzz(func(t *testing.T, v4, v6 []byte) {
		m := newMachine()
		m.file("proc/net/route", string(v4))
		m.file("proc/net/ipv6_route", string(v6))
		facts, err := bypass.Gather(m)
		if err != nil {
			return
		}
		for _, r := range facts.Routes {
			if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() {
				t.Errorf("route %+v", r)
			}
		}
	})
}
