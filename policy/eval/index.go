package eval

import (
	"slices"
	"strings"
	"sync"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// Index answers as [Selecting] and [Between] do for one direction, much faster: of each policy it remembers once and for
// all which sets its rules ask for, equal sets of all policies being one. Policies do not change, so that the next snapshot
// finds again what the last one had in common with it. It is safe for concurrent use.
type Index struct {
	d policy.Direction

	mu       sync.Mutex
	policies map[*policy.Policy]*indexed
	numbers  map[policy.SetKey]int32
	sets     []*policy.Set // by number; appended to
	// accountLabels says which sets ask for labels of accounts.
	accountLabels []bool
}

// NewIndex returns an empty index for the policies of direction d.
func NewIndex(d policy.Direction) *Index {
	x := &Index{d: d}
	x.reset()
	return x
}

func (x *Index) reset() {
	x.policies, x.numbers, x.sets, x.accountLabels = map[*policy.Policy]*indexed{}, map[policy.SetKey]int32{}, nil, nil
}

// indexed is one policy.
type indexed struct {
	policy *policy.Policy
	lines  []line
	// accountLabels: a rule asks for labels of the account at the other end.
	accountLabels bool
}

// line is what most rules are passed over by, beside each other in memory. Numbers of sets are 1 and up, 0 is no set.
type line struct {
	source, notSource, destination, notDestination int32
	protocol                                       uint8 // 0 for all
	unparsed                                       bool
}

// slack is by how many policies an index may be larger than twice what the last snapshot has: then it starts anew, so that
// it never holds much of what is gone.
const slack = 64

// Selection is what of a snapshot applies to one pod, as [Selecting] returns it. It is immutable.
type Selection struct {
	s     *policy.Snapshot
	w     *policy.Workload
	d     policy.Direction
	sets  []*policy.Set
	tiers []selectedTier
	// ReadsAccountLabels says that a rule asks for labels of the account at the other end.
	ReadsAccountLabels bool
}

type selectedTier struct {
	tier     *policy.Tier
	policies []*indexed
}

// Selecting returns what applies to pod w.
func (x *Index) Selecting(s *policy.Snapshot, w *policy.Workload) *Selection {
	out := &Selection{s: s, w: w, d: x.d}
	labels := selector.NewSet(s.Labels(w).Map())
	x.mu.Lock()
	defer x.mu.Unlock()
	total := 0
	for _, tier := range s.Tiers {
		total += len(tier.Policies)
	}
	if len(x.policies) > 2*total+slack {
		x.reset()
	}
	for _, tier := range s.Tiers {
		var kept []*indexed
		for _, p := range tier.Policies {
			if p.Applies(x.d) && p.Selector.Matches(labels) {
				i := x.of(p)
				kept = append(kept, i)
				out.ReadsAccountLabels = out.ReadsAccountLabels || i.accountLabels
			}
		}
		if len(kept) > 0 {
			out.tiers = append(out.tiers, selectedTier{tier: tier.Tier, policies: kept})
		}
	}
	out.sets = x.sets
	return out
}

// of is called with the lock held.
func (x *Index) of(p *policy.Policy) *indexed {
	if have, ok := x.policies[p]; ok {
		return have
	}
	rules := p.Rules(x.d)
	out := &indexed{policy: p, lines: make([]line, len(rules))}
	for i := range rules {
		r := &rules[i]
		l := line{
			source: x.number(r.Source.Set), notSource: x.number(r.Source.NotSet),
			destination: x.number(r.Destination.Set), notDestination: x.number(r.Destination.NotSet),
			protocol: r.Protocol, unparsed: r.Unparsed,
		}
		other, notOther := l.source, l.notSource
		if x.d == policy.Egress {
			other, notOther = l.destination, l.notDestination
		}
		out.accountLabels = out.accountLabels || other != 0 && x.accountLabels[other-1] || notOther != 0 && x.accountLabels[notOther-1]
		out.lines[i] = l
	}
	x.policies[p] = out
	return out
}

func (x *Index) number(set *policy.Set) int32 {
	if set == nil {
		return 0
	}
	key := set.Key()
	n, ok := x.numbers[key]
	if !ok {
		x.sets = append(x.sets, set)
		x.accountLabels = append(x.accountLabels, slices.ContainsFunc(set.Selector.Keys(), func(key string) bool {
			return strings.HasPrefix(key, policy.PrefixServiceAccount)
		}))
		n = int32(len(x.sets))
		x.numbers[key] = n
	}
	return n
}

// Between is [Between] for a flow whose end is the selected pod.
func (l *Selection) Between(f Flow, keep func(*policy.Policy, *policy.Rule) bool) *policy.Snapshot {
	out := *l.s
	out.Tiers, out.NetworkSets = make([]policy.OrderedTier, 0, len(l.tiers)), covering(l.s, f)
	n := scan{
		f: &f, d: l.d, keep: keep, sets: l.sets,
		source: member{m: l.s.Membership(f.Source.Addr), known: make([]answer, len(l.sets)+1)},
		target: member{m: l.s.Membership(f.Destination.Addr), known: make([]answer, len(l.sets)+1)},
	}
	for i := range l.tiers {
		last := len(l.tiers[i].policies) - 1
		for j, p := range l.tiers[i].policies {
			// Only the last policy of a tier has a meaning beyond its rules: it is named at the end of the tier.
			n.remaining(p, j == last)
		}
		n.ends = append(n.ends, len(n.kept))
	}
	// One piece of memory for all policies and one for all rules, of which there may be many. They never grow.
	policies, pointers, rules, all := make([]policy.Policy, len(n.kept)), make([]*policy.Policy, len(n.kept)), make([]policy.Rule, len(n.rules)), selector.All()
	for i, k := range n.kept {
		var own []policy.Rule
		if k.from < k.to {
			own = rules[k.from:k.to:k.to]
		}
		for j := range own {
			own[j] = narrowed(&k.policy.Rules(l.d)[n.rules[k.from+j]])
		}
		policies[i] = withRules(k.policy, l.d, own, all)
		pointers[i] = &policies[i]
	}
	from := 0
	for i, to := range n.ends {
		out.Tiers = append(out.Tiers, policy.OrderedTier{Tier: l.tiers[i].tier, Policies: pointers[from:to:to]})
		from = to
	}
	return &out
}

// answer is whether an address is in a set.
type answer uint8

const (
	unasked answer = iota
	inside
	outside
)

// member remembers which sets an address is in, by their numbers.
type member struct {
	m     *policy.Membership
	known []answer
}

func (m *member) in(number int32, sets []*policy.Set) bool {
	a := m.known[number]
	if a == unasked {
		a = outside
		if m.m.In(sets[number-1]) {
			a = inside
		}
		m.known[number] = a
	}
	return a == inside
}

type scan struct {
	f              *Flow
	d              policy.Direction
	keep           func(*policy.Policy, *policy.Rule) bool
	sets           []*policy.Set
	source, target member

	kept  []kept
	ends  []int   // of the tiers, in kept
	rules []int32 // of the kept policies, by their places there
}

// kept is a policy and the range of its rules in scan.rules.
type kept struct {
	policy   *policy.Policy
	from, to int
}

// remaining keeps the rules of a policy that the flow can still match, and the policy if there are any or it is the last.
func (n *scan) remaining(p *indexed, last bool) {
	from, rules := len(n.rules), p.policy.Rules(n.d)
	for i := range p.lines {
		l := &p.lines[i]
		if !l.unparsed {
			if r := &rules[i]; !n.possible(l) || !apartFromSets(n.f, r) || n.keep != nil && !n.keep(p.policy, r) {
				continue
			}
		}
		n.rules = append(n.rules, int32(i))
	}
	if len(n.rules) > from || last {
		n.kept = append(n.kept, kept{policy: p.policy, from: from, to: len(n.rules)})
	}
}

// possible asks for the protocol and the sets of the two ends.
func (n *scan) possible(l *line) bool {
	return (l.protocol == 0 || l.protocol == n.f.Protocol) &&
		(l.source == 0 || n.source.in(l.source, n.sets)) && (l.notSource == 0 || !n.source.in(l.notSource, n.sets)) &&
		(l.destination == 0 || n.target.in(l.destination, n.sets)) && (l.notDestination == 0 || !n.target.in(l.notDestination, n.sets))
}
