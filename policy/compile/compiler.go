package compile

import (
	"maps"
	"net/netip"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// Compiler compiles for one node, incrementally. [Compiler.Set] and [Compiler.Delete] only note what changed;
// [Compiler.Flush] does the work and gives the difference. It is not safe for concurrent use.
type Compiler struct {
	node    string
	sem     policy.Semantics
	serials uint64 // the last serial number; serials are never used again

	namespaces  map[string]*namespace
	accounts    map[objectName]*account
	pods        map[objectName]*pod
	networkSets map[policy.Ref]*networkSet
	tiers       map[string]*tier
	policies    map[policy.Ref]*policyState
	enforced    []*policyState // those with an object

	vocabulary vocabulary
	classes    map[string]*class
	classList  []*class
	local      []*class // those with pods on the node
	addresses  map[netip.Addr]*address
	nets       netTable
	netClasses map[string]*netClass
	identities map[string]*ident
	identList  []*ident
	nobody     [2]*ident // of IPv4 and IPv6: an identity that is in no set

	atoms     map[atomKey]*atom
	slots     []*atom // by slot; nil where it is free
	freeSlots []int
	portAtoms map[portKey]*portAtom

	vacant     *atom         // the pods' addresses that no pod has; see SetPodCIDRs
	vacantRule [2]*ruleState // of ingress and egress
	strangers  strangers

	subjects     map[string]*subject
	programs     map[string]*program
	portPrograms map[*program]bool // those that ask for named ports of the peer
	rows         map[string]*row
	profile      [2]*ruleState // 0: no namespace, deny; 1: allow; of ingress
	profileOut   [2]*ruleState // of egress

	ids   handles
	dirty dirty
	delta *ruleset.Delta
}

// dirty is what one flush has to look at.
type dirty struct {
	tiers        bool
	vocabulary   bool
	nets         bool
	pods         []*pod
	namespaces   []*namespace
	accounts     []*account
	networkSets  []*networkSet
	policies     []*policyState // their object changed
	selected     []*policyState // who selects them, or what they say, changed
	relabelled   []*class
	classes      []*class // new, or the number of their pods changed
	addresses    []*address
	newAtoms     []*atom
	idleAtoms    []*atom
	changedAtoms map[*atom]bool // network sets came to them or went
	fresh        []*ident
	idle         []*ident
	gone         []*ident
	subjects     []*subject
	idleSubjects []*subject
	programs     []*program // to be filled
	idlePrograms []*program
	cells        []cell // to be looked at
	changes      []cellChange
	headers      []*program
	rows         []*row
	rules        []*ruleState
}

// New returns a compiler for the pods on node, that knows of nothing yet.
func New(node string, sem policy.Semantics) *Compiler {
	c := &Compiler{
		node: node, sem: sem,
		namespaces: map[string]*namespace{}, accounts: map[objectName]*account{}, pods: map[objectName]*pod{},
		networkSets: map[policy.Ref]*networkSet{}, tiers: map[string]*tier{}, policies: map[policy.Ref]*policyState{},
		vocabulary: vocabulary{keys: map[string]int{}, ports: map[string]int{}},
		classes:    map[string]*class{}, addresses: map[netip.Addr]*address{}, netClasses: map[string]*netClass{},
		identities: map[string]*ident{}, atoms: map[atomKey]*atom{}, portAtoms: map[portKey]*portAtom{},
		subjects: map[string]*subject{}, programs: map[string]*program{}, portPrograms: map[*program]bool{}, rows: map[string]*row{},
	}
	c.nobody = [2]*ident{{family: 4, net: &netClass{}}, {family: 6, net: &netClass{}}}
	for allow, index := range []int{ruleset.EndOfTier, 0} {
		c.profile[allow] = c.newRule(ruleset.Rule{Direction: ruleset.Ingress, Index: index})
		c.profileOut[allow] = c.newRule(ruleset.Rule{Direction: ruleset.Egress, Index: index})
	}
	c.addVacant()
	c.dirty.nets = true
	return c
}

func (c *Compiler) serial() uint64 {
	c.serials++
	return c.serials
}

// Set notes that r is there now, in the place of an older state of it if there is one. nil is ignored. A pod that is no
// endpoint any more, or any object that Parse gives no Resource for, has to be deleted.
func (c *Compiler) Set(r policy.Resource) {
	switch r := r.(type) {
	case *policy.Namespace:
		c.setNamespace(r.Name, r)
	case *policy.ServiceAccount:
		c.setAccount(objectName{r.Namespace, r.Name}, r)
	case *policy.Workload:
		c.setPod(objectName{r.Namespace, r.Name}, r)
	case *policy.NetworkSet:
		c.setNetworkSet(r.ID, r)
	case *policy.Tier:
		c.setTier(r.Name, r)
	case *policy.Policy:
		c.setPolicy(r.ID, r)
	}
}

// Delete notes that the object is gone. One that is not there is ignored.
func (c *Compiler) Delete(ref policy.Ref) {
	switch ref.Kind {
	case policy.KindNamespace:
		c.setNamespace(ref.Name, nil)
	case policy.KindServiceAccount:
		c.setAccount(objectName{ref.Namespace, ref.Name}, nil)
	case policy.KindPod:
		c.setPod(objectName{ref.Namespace, ref.Name}, nil)
	case policy.KindNetworkSet, policy.KindGlobalNetworkSet:
		c.setNetworkSet(ref, nil)
	case policy.KindTier:
		c.setTier(ref.Name, nil)
	case policy.KindNetworkPolicy, policy.KindGlobalNetworkPolicy, policy.KindKubernetesNetworkPolicy:
		c.setPolicy(ref, nil)
	}
}

// Flush does the work for all that was noted since the last time, and returns what it makes of the last ruleset. The
// first delta is to be applied to an empty ruleset.
func (c *Compiler) Flush(revision uint64) *ruleset.Delta {
	c.delta = &ruleset.Delta{Revision: revision}
	c.arrangeTiers()
	c.arrangePolicies()
	c.classifyPods()
	c.relabel()
	c.selectPolicies()
	c.activate()
	c.matchNetworkSets()
	c.arrangeNets()
	c.identify()
	c.evaluate()
	c.bind()
	c.fill()
	c.publish()
	delta := c.delta
	c.delta = nil
	return delta
}

// namespace is there while its object is, or somebody refers to it.
type namespace struct {
	name    string
	object  *policy.Namespace
	labels  selector.Prepared // as its endpoints inherit them
	classes map[*class]bool
	sets    map[*networkSet]bool
	dirty   bool
}

func (c *Compiler) namespace(name string) *namespace {
	n := c.namespaces[name]
	if n == nil {
		n = &namespace{name: name, classes: map[*class]bool{}}
		c.namespaces[name] = n
	}
	return n
}

func (c *Compiler) setNamespace(name string, object *policy.Namespace) {
	n := c.namespaces[name]
	if n == nil && object == nil {
		return
	}
	n = c.namespace(name)
	old := n.object
	n.object = object
	if old != nil && object != nil && maps.Equal(old.Labels, object.Labels) {
		return
	}
	n.labels = selector.Prepared{}
	if object != nil {
		n.labels = inherited(policy.PrefixNamespace, name, object.Labels)
	}
	if !n.dirty {
		n.dirty = true
		c.dirty.namespaces = append(c.dirty.namespaces, n)
	}
}

// inherited is what endpoints see of the labels of their namespace or account. Its name is always its name, whatever
// label of that key it has.
func inherited(prefix, name string, labels map[string]string) selector.Prepared {
	p := selector.Prepared{}.With(prefix+policy.LabelName, name)
	for k, v := range labels {
		if k != policy.LabelName {
			p = p.With(prefix+k, v)
		}
	}
	return p
}

// account is there while its object is, or a class refers to it.
type account struct {
	id      objectName
	object  *policy.ServiceAccount
	labels  selector.Prepared // as its endpoints inherit them
	classes map[*class]bool
	dirty   bool
}

func (c *Compiler) account(id objectName) *account {
	a := c.accounts[id]
	if a == nil {
		a = &account{id: id, classes: map[*class]bool{}}
		c.accounts[id] = a
	}
	return a
}

func (c *Compiler) setAccount(id objectName, object *policy.ServiceAccount) {
	a := c.accounts[id]
	if a == nil && object == nil {
		return
	}
	a = c.account(id)
	old := a.object
	a.object = object
	if old != nil && object != nil && maps.Equal(old.Labels, object.Labels) {
		return
	}
	a.labels = selector.Prepared{}
	if object != nil {
		a.labels = inherited(policy.PrefixServiceAccount, id.name, object.Labels)
	}
	if !a.dirty {
		a.dirty = true
		c.dirty.accounts = append(c.dirty.accounts, a)
	}
}

// relabel finds the classes and network sets that inherit labels that changed.
func (c *Compiler) relabel() {
	for _, n := range c.dirty.namespaces {
		n.dirty = false
		for cl := range n.classes {
			c.relabelClass(cl)
		}
		for s := range n.sets {
			c.touchNetworkSet(s)
		}
		c.forgetNamespace(n)
	}
	for _, a := range c.dirty.accounts {
		a.dirty = false
		for cl := range a.classes {
			c.relabelClass(cl)
		}
		c.forgetAccount(a)
	}
	c.dirty.namespaces, c.dirty.accounts = c.dirty.namespaces[:0], c.dirty.accounts[:0]
}

func (c *Compiler) forgetNamespace(n *namespace) {
	if n.object == nil && !n.dirty && len(n.classes)+len(n.sets) == 0 {
		delete(c.namespaces, n.name)
	}
}

func (c *Compiler) forgetAccount(a *account) {
	if a.object == nil && !a.dirty && len(a.classes) == 0 {
		delete(c.accounts, a.id)
	}
}
