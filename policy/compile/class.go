package compile

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

type objectName struct{ namespace, name string }

func (n objectName) compare(o objectName) int {
	return cmp.Or(cmp.Compare(n.namespace, o.namespace), cmp.Compare(n.name, o.name))
}

// pod is one endpoint of the cluster.
type pod struct {
	name  objectName
	want  *policy.Workload // the latest object; nil if it is gone
	have  *policy.Workload // what class and claims were made of
	class *class
	local bool
	dirty bool
}

// class is the pods that no policy can tell apart, wherever they run.
type class struct {
	serial    uint64
	key       string
	namespace *namespace
	account   *account // nil for mirror pods
	own       []ruleset.Label
	ownLabels selector.Prepared
	ports     []policy.NamedPort // those whose names are read, sorted, each once

	pods, local int
	labels      *selector.Set
	match       bits // the sets whose selectors select the class
	identities  []*ident
	subjects    []*subject
	selected    []*policyState // if local, by serial

	place             int // in classList
	fresh, relabelled bool
	touched           bool
	selecting         bool // in Compiler.local
}

// address is an address that pods claim, or that is a net by itself.
type address struct {
	addr   netip.Addr
	owner  *pod
	ident  *ident
	named  *pod    // whose name was told
	shared *shared // nil if there is one claimant at most
	here   *endpoint
	dirty  bool
}

// shared is the further claimants of an address.
type shared struct{ others []*pod }

// endpoint is what is told of an address of the node.
type endpoint struct {
	subject *subject
	named   *pod
}

func (a *address) others() []*pod {
	if a.shared == nil {
		return nil
	}
	return a.shared.others
}

func (c *Compiler) setPod(name objectName, w *policy.Workload) {
	p := c.pods[name]
	if p == nil {
		if w == nil {
			return
		}
		p = &pod{name: name}
		c.pods[name] = p
	}
	p.want = w
	c.touchPod(p)
}

func (c *Compiler) touchPod(p *pod) {
	if !p.dirty {
		p.dirty = true
		c.dirty.pods = append(c.dirty.pods, p)
	}
}

func (c *Compiler) classifyPods() {
	for _, p := range c.dirty.pods {
		p.dirty = false
		c.classify(p)
	}
	c.dirty.pods = c.dirty.pods[:0]
}

func (c *Compiler) classify(p *pod) {
	before, left, local := p.have, p.class, p.local
	p.have, p.class, p.local = p.want, nil, false
	var old, now []netip.Addr
	if before != nil {
		old = before.Addresses
	}
	if p.have == nil {
		delete(c.pods, p.name)
	} else {
		now = p.have.Addresses
		p.class = c.classOf(p.have)
		p.local = p.have.Node == c.node
	}
	same := slices.Equal(old, now)
	if same && p.class == left && p.local == local {
		return
	}
	c.join(p.class, p.local, 1)
	c.join(left, local, -1)
	if !same {
		for _, a := range old {
			c.unclaim(a, p)
		}
	}
	for _, a := range now {
		c.claim(a, p)
	}
}

func (c *Compiler) join(cl *class, local bool, n int) {
	if cl == nil {
		return
	}
	cl.pods += n
	if local {
		cl.local += n
	}
	if !cl.touched {
		cl.touched = true
		c.dirty.classes = append(c.dirty.classes, cl)
	}
}

func (c *Compiler) address(a netip.Addr) *address {
	rec := c.addresses[a]
	if rec == nil {
		rec = &address{addr: a}
		c.addresses[a] = rec
	}
	return rec
}

func (c *Compiler) touchAddress(rec *address) {
	if !rec.dirty {
		rec.dirty = true
		c.dirty.addresses = append(c.dirty.addresses, rec)
	}
}

func (c *Compiler) claim(a netip.Addr, p *pod) {
	rec := c.address(a)
	switch {
	case rec.owner == nil:
		rec.owner = p
	case rec.owner != p && !slices.Contains(rec.others(), p):
		if rec.shared == nil {
			rec.shared = &shared{}
		}
		rec.shared.others = append(rec.shared.others, p)
	}
	c.touchAddress(rec)
}

func (c *Compiler) unclaim(a netip.Addr, p *pod) {
	rec := c.address(a)
	others := rec.others()
	if i := slices.Index(others, p); i >= 0 {
		rec.shared.others = slices.Delete(others, i, i+1)
	} else if rec.owner == p {
		rec.owner = nil
		if n := len(others); n > 0 {
			rec.owner, rec.shared.others = others[n-1], others[:n-1]
		}
	}
	if len(rec.others()) == 0 {
		rec.shared = nil
	}
	c.touchAddress(rec)
}

// classOf finds the class of a pod, or makes it. The key does not depend on the vocabulary but for what the pod has of it.
func (c *Compiler) classOf(w *policy.Workload) *class {
	var room [256]byte
	key := appendText(room[:0], w.Namespace)
	key = appendText(key, w.Account.Namespace())
	key = appendText(key, w.Account.Name())
	for _, k := range c.vocabulary.read {
		if derived(w, k) {
			continue
		}
		if v, ok := w.Labels[k]; ok {
			key = appendText(appendText(key, k), v)
		}
	}
	var ports []policy.NamedPort
	if len(c.vocabulary.ports) > 0 {
		ports = c.readPorts(w)
	}
	if len(ports) > 0 {
		key = append(key, 0xff, 0xff, 0xff, 0xff) // no text is that long
		for _, p := range ports {
			key = binary.BigEndian.AppendUint16(append(appendText(key, p.Name), p.Protocol), p.Port)
		}
	}
	if cl := c.classes[string(key)]; cl != nil {
		return cl
	}
	cl := &class{serial: c.serial(), key: string(key), namespace: c.namespace(w.Namespace), ports: ports, fresh: true, place: len(c.classList)}
	cl.namespace.classes[cl] = true
	if !w.Account.IsZero() {
		cl.account = c.account(objectName{w.Account.Namespace(), w.Account.Name()})
		cl.account.classes[cl] = true
	}
	for _, k := range c.vocabulary.read {
		if v, ok := w.Labels[k]; ok && !derived(w, k) {
			cl.own = append(cl.own, ruleset.Label{Key: k, Value: v})
			cl.ownLabels = cl.ownLabels.With(k, v)
		}
	}
	for _, k := range []string{policy.LabelNamespace, policy.LabelOrchestrator, policy.LabelServiceAccount} {
		if v, ok := w.Labels[k]; ok && derived(w, k) {
			cl.ownLabels = cl.ownLabels.With(k, v)
		}
	}
	cl.setLabels()
	c.classes[cl.key] = cl
	c.classList = append(c.classList, cl)
	return cl
}

// derived reports whether the label is one that [policy.Workload] derives from namespace and account. A class always has
// it, read or not: it is no part of the key, and not worth to be listed.
func derived(w *policy.Workload, key string) bool {
	switch key {
	case policy.LabelNamespace, policy.LabelOrchestrator:
		return true
	case policy.LabelServiceAccount:
		return !w.Account.IsZero()
	}
	return false
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func (c *Compiler) readPorts(w *policy.Workload) []policy.NamedPort {
	var ports []policy.NamedPort
	for _, p := range w.Ports {
		if c.vocabulary.ports[p.Name] > 0 {
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b policy.NamedPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(ports)
}

// setLabels is [policy.EndpointLabels] of the labels that are read: a label of its own comes before an inherited one.
func (cl *class) setLabels() {
	inherited := selector.Prepared{}
	if cl.account != nil {
		inherited = cl.account.labels
	}
	cl.labels = selector.Merge(cl.ownLabels, cl.namespace.labels, inherited)
}

func (c *Compiler) relabelClass(cl *class) {
	if cl.relabelled {
		return
	}
	cl.setLabels()
	cl.relabelled = true
	c.dirty.relabelled = append(c.dirty.relabelled, cl)
}

// dropClasses forgets classes without pods, after the identities have left them.
func (c *Compiler) dropClasses() {
	for _, cl := range c.dirty.classes {
		cl.touched = false
		if cl.pods > 0 {
			continue
		}
		delete(c.classes, cl.key)
		last := len(c.classList) - 1
		c.classList[cl.place] = c.classList[last]
		c.classList[cl.place].place = cl.place
		c.classList[last] = nil
		c.classList = c.classList[:last]
		delete(cl.namespace.classes, cl)
		c.forgetNamespace(cl.namespace)
		if cl.account != nil {
			delete(cl.account.classes, cl)
			c.forgetAccount(cl.account)
		}
	}
	c.dirty.classes = c.dirty.classes[:0]
}

// describe is the class in the ruleset's terms.
func (cl *class) describe() ruleset.PodClass {
	out := ruleset.PodClass{Namespace: cl.namespace.name, Labels: cl.own}
	if cl.account != nil {
		out.Account = cl.account.id.name
	}
	for _, p := range cl.ports {
		out.Ports = append(out.Ports, ruleset.NamedPort{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
	}
	return out
}

// describe is the pod in the ruleset's terms; nil is none.
func (p *pod) describe() ruleset.Pod {
	if p == nil {
		return ruleset.Pod{}
	}
	return ruleset.Pod{Namespace: p.name.namespace, Name: p.name.name}
}
