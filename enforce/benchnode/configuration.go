//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/bpf"
	"github.com/saguard/saguard/enforce/nft"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// The world of packets: a and b are pods of the node, with 98 others; many remote pods share 1,000 accounts. Each policy selects
// one pod of the node and allows one account one port; b's middle one allows a. Both ends are judged, as between pods of one
// node, but for the rows oneEnd: between nodes, each judges one.
const (
	endpoints      = 100
	remoteAccounts = 1000
	perEndpoint    = 10 // b has at least so many policies, as far as there are any
)

// rule is what one policy of the world of packets says.
type rule struct{ endpoint, account, port int }

// packetWorld is the policies of one configuration.
type packetWorld struct {
	rules []rule
	pods  int // remote ones
	// oneEnd says that a is a pod of another node, so that this one judges at b's end alone.
	oneEnd bool
}

// newPacketWorld spreads n policies over the node's pods, or gives b all of them.
func newPacketWorld(n, pods int, all bool) packetWorld {
	over := max(1, min(endpoints, n/perEndpoint))
	if all {
		over = 1
	}
	w := packetWorld{rules: make([]rule, n), pods: pods}
	for i := range w.rules {
		w.rules[i] = rule{endpoint: i % over, account: i / over % remoteAccounts, port: 10_000 + i%1000}
	}
	// a's is in the middle of b's: what the position costs is the mean where rules are gone through in order.
	w.rules[n/over/2*over] = rule{endpoint: 0, account: -1, port: allowedPort}
	return w
}

// local is the address of endpoint n of the node: b is 0; a, which nobody selects, is not among them.
func local(n int) netip.Addr { return address(addressB, n) }

func remote(n int) netip.Addr { return address("10.1.0.0", n) }

// ruleset compiles the world for the node.
func (w packetWorld) ruleset() (*ruleset.Ruleset, error) {
	c := compile.New(localNode, policy.Strict)
	c.SetPodCIDRs([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	var errs []error
	set := func(o object) {
		p, err := o.parse()
		errs = append(errs, err)
		c.Set(p.Resource)
	}
	set(defaultTier())
	set(namespace(0))
	account_ := func(name string) object { return account(0, name, 0, 0) }
	set(account_("local"))
	set(account_("a"))
	nodeOfA := localNode
	if w.oneEnd {
		nodeOfA = "node-other"
	}
	set(pod("a", "ns-0", "a", nodeOfA, netip.MustParseAddr(addressA), `"app":"a"`))
	for n := range endpoints {
		set(pod(fmt.Sprintf("local-%d", n), "ns-0", "local", localNode, local(n), fmt.Sprintf(`"app":"app-%d"`, n)))
	}
	for n := range min(remoteAccounts, w.pods) {
		set(account_(accountName(n)))
	}
	for n := range w.pods {
		set(pod(fmt.Sprintf("remote-%d", n), "ns-0", accountName(n%remoteAccounts), "node-other", remote(n), ""))
	}
	for n, r := range w.rules {
		from := "a"
		if r.account >= 0 {
			from = accountName(r.account)
		}
		var rules []string
		for _, protocol := range []string{"TCP", "UDP"} {
			rules = append(rules, fmt.Sprintf(`{"action":"Allow","protocol":%q,"source":{"serviceAccounts":{"names":[%q]}},"destination":{"ports":[%d]}}`, protocol, from, r.port))
		}
		set(object{calico, policy.KindNetworkPolicy, fmt.Sprintf(`{"metadata":{"name":"p-%d","namespace":"ns-0"},"spec":{"order":%d,"selector":"app == 'app-%d'","types":["Ingress"],"ingress":[%s]}}`, n, n, r.endpoint, strings.Join(rules, ","))})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := ruleset.New()
	out.Apply(c.Flush(1))
	return out, nil
}

// script begins a table with the sets of accounts.
func (w packetWorld) script() *strings.Builder {
	var b strings.Builder
	b.WriteString("table inet bench {\n")
	members := make([][]string, remoteAccounts)
	for n := range w.pods {
		members[n%remoteAccounts] = append(members[n%remoteAccounts], remote(n).String())
	}
	declared := map[int]bool{}
	for _, r := range w.rules {
		if declared[r.account] {
			continue
		}
		declared[r.account] = true
		elements := []string{addressA}
		if r.account >= 0 {
			elements = members[r.account]
		}
		fmt.Fprintf(&b, "set %s { type ipv4_addr; ", r.set())
		if len(elements) > 0 {
			fmt.Fprintf(&b, "elements = { %s }\n", strings.Join(elements, ", "))
		}
		b.WriteString(" }\n")
	}
	return &b
}

func (r rule) set() string {
	if r.account < 0 {
		return "account_a"
	}
	return fmt.Sprintf("account_%d", r.account)
}

// felix is the form that Calico's Felix gives rules: by address to a chain per endpoint, from there to a chain per policy.
func (w packetWorld) felix() string {
	b := w.script()
	chains := make([][]string, endpoints)
	for n, r := range w.rules {
		fmt.Fprintf(b, "chain policy_%d { ip saddr @%s tcp dport %d accept\nip saddr @%s udp dport %d accept\n }\n", n, r.set(), r.port, r.set(), r.port)
		chains[r.endpoint] = append(chains[r.endpoint], fmt.Sprintf("jump policy_%d\n", n))
	}
	var to, from []string
	for n, jumps := range chains {
		end := "drop" // of a pod that policies select
		if len(jumps) == 0 {
			end = "return"
		}
		fmt.Fprintf(b, "chain to_%d { ct state established,related accept\nct state invalid drop\n%s%s\n }\n", n, strings.Join(jumps, ""), end)
		fmt.Fprintf(b, "chain from_%d { ct state established,related accept\nct state invalid drop\nreturn\n }\n", n)
		to = append(to, fmt.Sprintf("%s : goto to_%d", local(n), n))
		from = append(from, fmt.Sprintf("%s : jump from_%d", local(n), n))
	}
	fmt.Fprintf(b, "chain from_a { ct state established,related accept\nct state invalid drop\nreturn\n }\n")
	from = append(from, addressA+" : jump from_a")
	fmt.Fprintf(b, "map to { type ipv4_addr : verdict; elements = { %s }\n }\n", strings.Join(to, ", "))
	fmt.Fprintf(b, "map from { type ipv4_addr : verdict; elements = { %s }\n }\n", strings.Join(from, ", "))
	b.WriteString("chain forward { type filter hook forward priority 0\nip saddr vmap @from\nip daddr vmap @to\n }\n}\n")
	return b.String()
}

// linear is two rules per policy in one chain, one for each protocol. The policies are those of all pods of the node.
func (w packetWorld) linear() string {
	b := w.script()
	b.WriteString("chain forward { type filter hook forward priority 0\nct state established,related accept\nct state invalid drop\n")
	for _, r := range w.rules {
		for _, protocol := range []string{"tcp", "udp"} {
			fmt.Fprintf(b, "ip daddr %s ip saddr @%s %s dport %d accept\n", local(r.endpoint), r.set(), protocol, r.port)
		}
	}
	fmt.Fprintf(b, "ip daddr %s drop\n }\n}\n", addressB)
	return b.String()
}

// conntrack asks for conntrack by a rule that no packet meets.
const conntrack = "table inet bench { chain unhooked { ct state established return\n }\n}\n"

// configuration is one row of the table.
type configuration struct {
	name  string
	apply func(ctx context.Context, node *space, dir string) (enforce.Applier, error) // nil: no Applier to close
	judge bool                                                                        // whether what is not allowed is denied
}

// The names of rows that ratios refer to.
const (
	none     = "none"
	baseline = "conntrack"
	// hookOnly is a BPF program on the FORWARD hook that accepts everything: what any program there costs.
	hookOnly = "bpf_accept"
)

func configurations(s *settings) []configuration {
	const few = 10
	linearMost := min(1000, s.rules)
	script := func(text func() string) func(context.Context, *space, string) (enforce.Applier, error) {
		return func(_ context.Context, node *space, _ string) (enforce.Applier, error) { return nil, node.nft(text()) }
	}
	ours := func(backend string, w packetWorld) func(context.Context, *space, string) (enforce.Applier, error) {
		return func(ctx context.Context, node *space, dir string) (enforce.Applier, error) {
			r, err := w.ruleset()
			if err != nil {
				return nil, err
			}
			var a enforce.Backend
			err = node.do(func() error {
				var err error
				if a, err = openBackend(backend, dir); err != nil {
					return err
				}
				return a.Sync(ctx, r)
			})
			return a, err
		}
	}
	out := []configuration{
		{none, func(context.Context, *space, string) (enforce.Applier, error) { return nil, nil }, false},
		{baseline, script(func() string { return conntrack }), false},
		{hookOnly, func(_ context.Context, node *space, _ string) (a enforce.Applier, err error) {
			err = node.do(func() error {
				var err error
				a, err = acceptAll()
				return err
			})
			return a, errors.Join(err, node.nft(conntrack))
		}, false},
	}
	for _, b := range s.backends() {
		for _, n := range []int{few, s.rules} {
			out = append(out, configuration{fmt.Sprintf("%s_%d", b, n), ours(b, newPacketWorld(n, s.pods, false)), true})
		}
		out = append(out, configuration{fmt.Sprintf("%s_%d_onePod", b, s.rules), ours(b, newPacketWorld(s.rules, s.pods, true)), true})
		oneEnd := newPacketWorld(s.rules, s.pods, false)
		oneEnd.oneEnd = true
		out = append(out, configuration{fmt.Sprintf("%s_%d_oneEnd", b, s.rules), ours(b, oneEnd), true})
	}
	for _, n := range []int{few, s.rules} {
		out = append(out, configuration{fmt.Sprintf("felix_%d", n), script(newPacketWorld(n, s.pods, false).felix), true})
	}
	for _, n := range []int{few, linearMost} {
		out = append(out, configuration{fmt.Sprintf("linear_%d", n), script(newPacketWorld(n, s.pods, false).linear), true})
	}
	return out
}

// openBackend opens a backend in the network namespace of the calling thread; dir is its own.
func openBackend(name, dir string) (enforce.Backend, error) {
	switch name {
	case "bpf":
		a, err := bpf.New(bpf.Options{Dir: filepath.Join(dir, "bpf", "saguard")})
		if err != nil {
			return nil, err
		}
		return a, nil
	case "nft":
		a, err := nft.New(nft.Options{})
		if err != nil {
			return nil, err
		}
		return a, nil
	}
	return nil, fmt.Errorf("-backend: %q: want bpf, nft", name)
}

// accepting is a program on the FORWARD hook that accepts all IPv4 packets. It enforces nothing.
type accepting struct {
	enforce.Applier
	link    link.Link
	program *ebpf.Program
}

// Close takes the program away.
func (a accepting) Close() error { return errors.Join(a.link.Close(), a.program.Close()) }

// acceptAll attaches the program in the network namespace of the calling thread.
func acceptAll() (enforce.Applier, error) {
	const verdict = 1 // NF_ACCEPT
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Netfilter, AttachType: ebpf.AttachNetfilter, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	l, err := link.AttachNetfilter(link.NetfilterOptions{
		Program: program, ProtocolFamily: link.NetfilterProtoIPv4, Hook: link.NetfilterInetForward, Priority: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("attach program: %w", errors.Join(err, program.Close()))
	}
	return accepting{link: l, program: program}, nil
}
