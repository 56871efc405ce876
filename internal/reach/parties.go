package reach

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/policy"
)

// Party is who takes part: the pods of a service account, or a class of addresses that are no pod's.
type Party struct {
	// Name is "namespace/account", "namespace/(no account)" for mirror pods, or says which addresses.
	Name string
	// Namespace and Account are empty for addresses outside of the cluster; Account also for mirror pods.
	Namespace, Account string
	// Outside says that the party is addresses that are no pod's.
	Outside bool
	// Sets are the network sets, of those that rules refer to, that contain these addresses: "GlobalNetworkSet x".
	Sets []string
	// Nets are the prefixes of these addresses, less longer ones that are other parties' or pods'.
	Nets []netip.Prefix
	// Pods is the number of pods.
	Pods int
	// Groups are those that are treated differently, by somebody's policies or their own.
	Groups []Group
}

// Group is the addresses of a party that nothing tells apart.
type Group struct {
	// Name says how the group differs from the party's others: "app=web", "IPv6". Empty for an only group.
	Name string
	// IPVersion is 4 or 6: two groups are a pair only if it is the same.
	IPVersion uint8
	// Pods are the names of the group's pods, sorted; empty outside of the cluster.
	Pods []string
}

// member is one address of a pod, or one prefix outside of the cluster, in all worlds.
type member struct {
	name  string // of the pod
	kinds []*kind
	facts map[string]string // what can tell it from others, by a key that sorts
}

// party is a Party on the way, with the kinds of its groups.
type party struct {
	Party
	members []*member
	groups  [][]*kind // as Groups; by world, nil where the group is not there
}

// unit names an address of a pod, whatever it is: number n of its version.
type unit struct {
	account policy.Ref
	pod     string
	family  uint8
	n       int
}

func (a *analysis) addAccounts() {
	found := map[policy.Ref]*party{}
	members := map[unit]*member{}
	for at, w := range a.worlds {
		read := readLabels(w)
		for _, pod := range w.snapshot.Workloads {
			// Mirror pods have no account, but a namespace.
			account := policy.Ref{Namespace: pod.Namespace, Name: pod.Account.Name()}
			p := found[account]
			if p == nil {
				p = &party{Party: Party{Name: account.Namespace + "/" + account.Name, Namespace: account.Namespace, Account: account.Name}}
				if account.Name == "" {
					p.Name += "(no account)"
				}
				found[account] = p
				a.parties = append(a.parties, p)
			}
			count := map[uint8]int{}
			var seen []netip.Addr
			for _, addr := range pod.Addresses {
				if slices.Contains(seen, addr) {
					continue
				}
				seen = append(seen, addr)
				family := familyOf(addr)
				key := unit{account, pod.Name, family, count[family]}
				count[family]++
				m := members[key]
				if m == nil {
					m = &member{name: pod.Name, kinds: make([]*kind, len(a.worlds)), facts: map[string]string{}}
					members[key] = m
					p.members = append(p.members, m)
				}
				m.kinds[at] = a.podKind(w, pod, addr)
				m.note(w, pod, addr, read)
			}
		}
	}
	slices.SortFunc(a.parties, func(x, y *party) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Account, y.Account))
	})
}

// group divides the members of a party by their kinds.
func (p *party) group() {
	index := map[string]int{}
	var members [][]*member
	for _, m := range p.members {
		var key []byte
		for _, k := range m.kinds {
			n := uint64(0)
			if k != nil {
				n = uint64(k.number) + 1
			}
			key = binary.BigEndian.AppendUint64(key, n)
		}
		i, ok := index[string(key)]
		if !ok {
			i = len(p.groups)
			index[string(key)] = i
			p.groups = append(p.groups, m.kinds)
			members = append(members, nil)
		}
		members[i] = append(members[i], m)
	}
	names := describe(members)
	all := map[string]bool{}
	for i, group := range members {
		g := Group{Name: names[i]}
		for _, k := range p.groups[i] {
			if k != nil {
				g.IPVersion = k.family
			}
		}
		for _, m := range group {
			if m.name != "" {
				g.Pods = append(g.Pods, m.name)
				all[m.name] = true
			}
		}
		slices.Sort(g.Pods)
		g.Pods = slices.Compact(g.Pods)
		p.Groups = append(p.Groups, g)
	}
	p.Pods = len(all)
}
