package appliertest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// drops lists the kernel's own counters of packets that it dropped for other reasons than rules, where they are not 0: in the
// namespaces of the rig, and for the whole machine the backlog of each processor. It is for failure texts.
func (r *rig) drops() string {
	all := []*namespace{r.outside.ns}
	for _, n := range r.nodes {
		all = append(all, n.ns)
		for _, p := range n.places {
			all = append(all, p.ns)
		}
	}
	var out []string
	for _, ns := range all {
		_ = ns.do(func() error { //nolint:errcheck // what cannot be read is not listed
			for _, c := range append(snmp(), conntrackDrops()...) {
				out = append(out, ns.name+" "+c)
			}
			return nil
		})
		links, err := ns.links.LinkList()
		if err != nil {
			continue
		}
		for _, l := range links {
			if s := l.Attrs().Statistics; s != nil && s.RxDropped+s.TxDropped > 0 {
				out = append(out, fmt.Sprintf("%s %s dropped %d in, %d out", ns.name, l.Attrs().Name, s.RxDropped, s.TxDropped))
			}
		}
	}
	if backlog := hexColumn("/proc/net/softnet_stat", 1, false); backlog > 0 {
		out = append(out, fmt.Sprintf("backlog %d", backlog))
	}
	if len(out) == 0 {
		return "no drops are counted elsewhere"
	}
	return "drops counted elsewhere: " + strings.Join(out, ", ")
}

// snmp reads the IP counters of the calling thread's namespace.
func snmp() []string {
	var out []string
	tell := func(name, value string) {
		for _, part := range []string{"Discards", "NoRoutes", "HdrErrors", "AddrErrors", "ReasmFails", "FragFails", "Truncated"} {
			if n, err := strconv.Atoi(value); err == nil && n > 0 && strings.Contains(name, part) {
				out = append(out, name+" "+value)
			}
		}
	}
	if text, err := os.ReadFile("/proc/thread-self/net/snmp6"); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 {
				tell(f[0], f[1])
			}
		}
	}
	if text, err := os.ReadFile("/proc/thread-self/net/snmp"); err == nil {
		lines := strings.Split(string(text), "\n")
		for pair := range slices.Chunk(lines, 2) {
			if len(pair) < 2 {
				continue
			}
			names, values := strings.Fields(pair[0]), strings.Fields(pair[1])
			for i := 1; i < min(len(names), len(values)); i++ {
				tell(strings.TrimSuffix(names[0], ":")+names[i], values[i])
			}
		}
	}
	return out
}

func conntrackDrops() []string {
	var out []string
	for column, name := range map[int]string{9: "conntrack insert_failed", 10: "conntrack drop", 11: "conntrack early_drop"} {
		if n := hexColumn("/proc/thread-self/net/stat/nf_conntrack", column, true); n > 0 {
			out = append(out, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(out)
	return out
}

// hexColumn adds up a column of a table in /proc.
func hexColumn(file string, column int, header bool) uint64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	var sum uint64
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if (i == 0 && header) || len(f) <= column {
			continue
		}
		if n, err := strconv.ParseUint(f[column], 16, 64); err == nil {
			sum += n
		}
	}
	return sum
}
