package compile

import (
	"cmp"
	"slices"

	"github.com/saguard/saguard/policy"
)

// tier is there while its object is, or a policy names it.
type tier struct {
	serial   uint64
	object   *policy.Tier
	tier     *policy.Tier // what holds, after defaulting
	policies int
}

func (c *Compiler) setTier(name string, object *policy.Tier) {
	t := c.tiers[name]
	if t == nil {
		if object == nil {
			return
		}
		t = c.newTier(name)
	}
	t.object = object
	c.dirty.tiers = true
}

func (c *Compiler) newTier(name string) *tier {
	t := &tier{serial: c.serial(), tier: policy.FindTier(name, nil)}
	c.tiers[name] = t
	return t
}

// arrangeTiers binds every subject again if a tier changed: tiers are few and change rarely.
func (c *Compiler) arrangeTiers() {
	if !c.dirty.tiers {
		return
	}
	c.dirty.tiers = false
	changed := false
	for name, t := range c.tiers {
		now := policy.FindTier(name, t.object)
		changed = changed || *now != *t.tier
		t.tier = now
		c.forgetTier(t)
	}
	if changed {
		for _, s := range c.subjects {
			c.touchSubject(s)
		}
	}
}

func (c *Compiler) forgetTier(t *tier) {
	if t.object == nil && t.policies == 0 {
		delete(c.tiers, t.tier.Name)
	}
}

// policyState is there while the policy's object is.
type policyState struct {
	serial   uint64
	want     *policy.Policy // the latest object; nil if it is gone
	have     *policy.Policy
	tier     *tier
	tieBreak string
	words    words
	place    int // in Compiler.enforced

	classes int   // of the node, that the policy selects
	code    *code // of have, while it selects a class
	dirty   bool
	touched bool
}

func (c *Compiler) setPolicy(ref policy.Ref, object *policy.Policy) {
	p := c.policies[ref]
	if p == nil {
		if object == nil {
			return
		}
		p = &policyState{serial: c.serial(), place: -1}
		c.policies[ref] = p
	}
	p.want = object
	if !p.dirty {
		p.dirty = true
		c.dirty.policies = append(c.dirty.policies, p)
	}
}

// arrangePolicies takes over new objects, and finds out what policies read. Policies that say the same as before are no
// longer dirty.
func (c *Compiler) arrangePolicies() {
	changed := c.dirty.policies[:0]
	for _, p := range c.dirty.policies {
		p.dirty = false
		if p.want != nil && p.have != nil && same(p.want, p.have) {
			continue
		}
		if p.want == nil && p.have == nil {
			c.forgetPolicy(p)
			continue
		}
		changed = append(changed, p)
		old, oldTier := p.words, p.tier
		p.words, p.tier = words{}, nil
		if p.want != nil {
			p.words = readWords(p.want)
			if p.tier = c.tiers[p.want.Tier]; p.tier == nil {
				p.tier = c.newTier(p.want.Tier)
			}
			p.tier.policies++
			p.tieBreak = p.want.TieBreak()
			if p.place < 0 {
				p.place = len(c.enforced)
				c.enforced = append(c.enforced, p)
			}
		}
		added := c.vocabulary.count(p.words, 1)
		removed := c.vocabulary.count(old, -1)
		c.dirty.vocabulary = c.dirty.vocabulary || added || removed
		if oldTier != nil {
			oldTier.policies--
			c.forgetTier(oldTier)
		}
		if p.want == nil {
			last := len(c.enforced) - 1
			c.enforced[p.place] = c.enforced[last]
			c.enforced[p.place].place = p.place
			c.enforced[last] = nil
			c.enforced = c.enforced[:last]
			delete(c.policies, p.have.ID)
		}
		p.have = p.want
	}
	c.dirty.policies = changed
	c.settleVocabulary()
}

// forgetPolicy is for one that came and went between two flushes.
func (c *Compiler) forgetPolicy(p *policyState) {
	for ref, q := range c.policies {
		if p == q {
			delete(c.policies, ref)
		}
	}
}

func (p *policyState) selects(cl *class) bool {
	return p.have != nil && (p.have.AppliesIngress || p.have.AppliesEgress) && p.have.Selector.Matches(cl.labels)
}

// selectPolicies finds out which policies apply to which classes of the node.
func (c *Compiler) selectPolicies() {
	for _, cl := range c.dirty.classes {
		switch {
		case cl.local > 0 && !cl.selecting:
			cl.selecting = true
			c.local = append(c.local, cl)
			c.reselect(cl)
		case cl.local == 0 && cl.selecting:
			cl.selecting = false
			c.local = slices.DeleteFunc(c.local, func(l *class) bool { return l == cl })
			c.settle(cl, nil)
		}
	}
	for _, cl := range c.dirty.relabelled {
		if cl.selecting {
			c.reselect(cl)
		}
	}
	for _, p := range c.dirty.policies {
		c.touchPolicy(p)
		for _, cl := range c.local {
			c.reselectPolicy(cl, p)
		}
	}
	clear(c.dirty.policies)
	c.dirty.policies = c.dirty.policies[:0]
}

func (c *Compiler) reselect(cl *class) {
	var now []*policyState
	for _, p := range c.enforced {
		if p.selects(cl) {
			now = append(now, p)
		}
	}
	slices.SortFunc(now, bySerial)
	c.settle(cl, now)
}

func bySerial(a, b *policyState) int { return cmp.Compare(a.serial, b.serial) }

// settle replaces the policies that select the class.
func (c *Compiler) settle(cl *class, now []*policyState) {
	if slices.Equal(cl.selected, now) {
		return
	}
	for _, p := range now {
		p.classes++
		c.touchPolicy(p)
	}
	for _, p := range cl.selected {
		p.classes--
		c.touchPolicy(p)
	}
	cl.selected = now
	for _, s := range cl.subjects {
		c.touchSubject(s)
	}
}

// reselectPolicy looks at one policy that has changed.
func (c *Compiler) reselectPolicy(cl *class, p *policyState) {
	at, had := slices.BinarySearchFunc(cl.selected, p, bySerial)
	switch has := p.selects(cl); {
	case has && !had:
		cl.selected = slices.Insert(slices.Clone(cl.selected), at, p)
		p.classes++
	case had && !has:
		cl.selected = slices.Delete(slices.Clone(cl.selected), at, at+1)
		p.classes--
	case !has:
		return
	}
	for _, s := range cl.subjects {
		c.touchSubject(s)
	}
}

func (c *Compiler) touchPolicy(p *policyState) {
	if !p.touched {
		p.touched = true
		c.dirty.selected = append(c.dirty.selected, p)
	}
}

// before is the order of evaluation.
func (p *policyState) before(o *policyState) int {
	switch {
	case p.tier != o.tier:
		if p.tier.tier.Before(o.tier.tier) {
			return -1
		}
		return 1
	default:
		return cmp.Or(cmp.Compare(p.have.Order, o.have.Order), cmp.Compare(p.tieBreak, o.tieBreak))
	}
}

// same reports whether two objects of a policy judge packets alike: an object that is only sent again changes nothing.
func same(a, b *policy.Policy) bool {
	return a == b || a.ID == b.ID && a.Tier == b.Tier && a.Order == b.Order && a.Unscoped == b.Unscoped &&
		a.AppliesIngress == b.AppliesIngress && a.AppliesEgress == b.AppliesEgress && a.Selector.Equal(b.Selector) &&
		slices.EqualFunc(a.Ingress, b.Ingress, sameRule) && slices.EqualFunc(a.Egress, b.Egress, sameRule)
}

func sameRule(a, b policy.Rule) bool {
	return a.Index == b.Index && a.Action == b.Action && a.Unparsed == b.Unparsed && a.Never == b.Never &&
		a.IPVersion == b.IPVersion && a.Protocol == b.Protocol && a.NotProtocol == b.NotProtocol &&
		sameICMP(a.ICMP, b.ICMP) && sameICMP(a.NotICMP, b.NotICMP) &&
		sameEntity(&a.Source, &b.Source) && sameEntity(&a.Destination, &b.Destination)
}

func sameICMP(a, b *policy.ICMP) bool { return a == b || a != nil && b != nil && *a == *b }

func sameEntity(a, b *policy.Entity) bool {
	return sameSet(a.Set, b.Set) && sameSet(a.NotSet, b.NotSet) && slices.Equal(a.Nets, b.Nets) && slices.Equal(a.NotNets, b.NotNets) &&
		slices.Equal(a.Ports, b.Ports) && slices.Equal(a.NotPorts, b.NotPorts)
}

func sameSet(a, b *policy.Set) bool { return a == b || a != nil && b != nil && a.Key() == b.Key() }
