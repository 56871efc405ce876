package reach

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/saguard/saguard/policy"
)

// Keys of facts; the order is that of preference. Label keys and port names follow the first two.
const (
	factLabel  = "1"
	factPort   = "2"
	factFamily = "3"
	factNets   = "4"
	factShared = "5"
)

// words are the label keys and port names of pods that some policy reads, as far as pods have them.
type words struct{ labels, ports []string }

func readLabels(w *world) words {
	labels, ports := map[string]bool{}, map[string]bool{}
	for _, s := range w.sheets {
		for _, i := range s.Identities {
			for _, c := range i.Pods {
				for _, l := range c.Labels {
					labels[l.Key] = true
				}
				for _, p := range c.Ports {
					ports[p.Name] = true
				}
			}
		}
	}
	return words{slices.Sorted(maps.Keys(labels)), slices.Sorted(maps.Keys(ports))}
}

// note adds what policies of w can know of the pod at that address.
func (m *member) note(w *world, pod *policy.Workload, addr netip.Addr, read words) {
	for _, k := range read.labels {
		text := "!" + k
		if v, ok := pod.Labels[k]; ok {
			text = k + "=" + v
		}
		m.fact(factLabel+k, text)
	}
	for _, name := range read.ports {
		var values []string
		for _, p := range pod.Ports {
			if p.Name == name {
				values = append(values, protocolName(p.Protocol)+" "+strconv.Itoa(int(p.Port)))
			}
		}
		slices.Sort(values)
		text := "no port " + name
		if len(values) > 0 {
			text = "port " + name + "=" + strings.Join(slices.Compact(values), ",")
		}
		m.fact(factPort+name, text)
	}
	m.fact(factFamily, fmt.Sprintf("IPv%d", familyOf(addr)))
	m.fact(factNets, inNets(w.nets(netip.PrefixFrom(addr, addr.BitLen()))))
	var others []string
	for _, o := range w.snapshot.At(addr) {
		if o != pod {
			others = append(others, o.Namespace+"/"+o.Name)
		}
	}
	if len(others) > 0 {
		m.fact(factShared, "address shared with "+strings.Join(others, ", "))
	} else {
		m.fact(factShared, "address of its own")
	}
}

// fact notes a fact, which may be another in a second world.
func (m *member) fact(key, text string) {
	if before, ok := m.facts[key]; ok && before != text {
		text = before + " → " + text
	}
	m.facts[key] = text
}

// nets are the names of the nets and network sets around a prefix.
func (w *world) nets(p netip.Prefix) []string {
	var out []string
	for _, s := range w.sheets {
		out = append(out, s.Identities[s.identity(p)].Nets...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func inNets(names []string) string {
	if len(names) == 0 {
		return "in no net"
	}
	return "in " + strings.Join(names, " + ")
}

// describe names groups by as few facts as tell each from all others: one that does, or two, or all that differ.
func describe(groups [][]*member) []string {
	names := make([]string, len(groups))
	if len(groups) < 2 {
		return names
	}
	differ := differing(groups)
	var sets [][]string
	for _, k := range differ {
		sets = append(sets, []string{k})
	}
	for i, k := range differ {
		for _, l := range differ[i+1:] {
			sets = append(sets, []string{k, l})
		}
	}
	const tries = 200
	sets = append(sets[:min(len(sets), tries)], differ)
	for _, keys := range sets {
		if texts, ok := tellApart(groups, keys); ok {
			return texts
		}
	}
	for i, g := range groups { // only what no fact says, as in a pod that has several addresses
		names[i] = fmt.Sprintf("%s and others like it (%d)", g[0].name, i+1)
	}
	return names
}

// differing returns the keys of facts that are not the same for all members.
func differing(groups [][]*member) []string {
	first := groups[0][0].facts
	keys := map[string]bool{}
	for _, g := range groups {
		for _, m := range g {
			for k, v := range m.facts {
				if first[k] != v {
					keys[k] = true
				}
			}
			for k := range first {
				if _, ok := m.facts[k]; !ok {
					keys[k] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// tellApart names groups by the values of some facts; ok is false if two groups have values in common.
func tellApart(groups [][]*member, keys []string) (names []string, ok bool) {
	owner := map[string]int{}
	for i, g := range groups {
		var values []string
		for _, m := range g {
			var parts []string
			for _, k := range keys {
				if text, ok := m.facts[k]; ok {
					parts = append(parts, text)
				}
			}
			value := strings.Join(parts, ", ")
			if o, taken := owner[value]; taken && o != i {
				return nil, false
			} else if !taken {
				owner[value] = i
				values = append(values, value)
			}
		}
		slices.Sort(values)
		const most = 4
		if n := len(values); n > most {
			values = append(values[:most], fmt.Sprintf("%d more", n-most))
		}
		names = append(names, strings.Join(values, " or "))
	}
	return names, true
}
