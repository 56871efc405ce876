package state

import (
	"fmt"
	"reflect"

	"github.com/saguard/saguard/policy"
)

// Parsed is one API object and what network policy makes of it.
type Parsed struct {
	// Namespace and Name are the API object's, which may differ from those of Resource.Ref.
	Namespace, Name string
	// Resource is nil for an object without effect on any verdict, such as a pod that is no endpoint.
	Resource policy.Resource
	Problems []policy.Problem
	// Unreadable, if not empty, says why nothing can be made of the object: the state that it had before stays in force.
	Unreadable string
}

type objectKey struct{ namespace, name string }

func (x *Parsed) key() objectKey { return objectKey{x.Namespace, x.Name} }

// Origin is one resource of the API, and the way for its watch to tell what it holds.
type Origin struct {
	p        *Policies
	resource string
	family   *family
	// known: it was read whole, or found not to be served (absent).
	known, absent bool
	objects       map[objectKey]policy.Resource
	problems      map[objectKey][]policy.Problem
	unreadable    map[objectKey]string
	// claims holds the objects by the reference that they are known by, where several can have the same.
	claims map[policy.Ref]map[objectKey]bool
}

// Origin adds a resource of the API that holds objects of kind. Of several origins of one kind only one is in force: the
// first that is served. shared says that two of its objects may come to have the same policy.Ref. All origins have to be
// added before any is used.
func (p *Policies) Origin(kind, resource string, shared bool) *Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := &Origin{p: p, resource: resource}
	o.clear()
	if shared {
		o.claims = map[policy.Ref]map[objectKey]bool{}
	}
	for _, f := range p.families {
		if f.kind == kind {
			f.origins, o.family = append(f.origins, o), f
			return o
		}
	}
	o.family = &family{kind: kind, origins: []*Origin{o}}
	p.families = append(p.families, o.family)
	return o
}

// Resource is the name given to it.
func (o *Origin) Resource() string { return o.resource }

// Semantics are those to parse with.
func (o *Origin) Semantics() policy.Semantics { return o.p.sem }

// Replace says that these are all the objects there are.
func (o *Origin) Replace(all []Parsed) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.known, o.absent = true, false
	here := make(map[objectKey]bool, len(all))
	for i := range all {
		here[all[i].key()] = true
	}
	for key := range o.objects {
		if !here[key] {
			o.remove(key)
		}
	}
	for key := range o.unreadable {
		if !here[key] {
			delete(o.unreadable, key)
		}
	}
	for i := range all {
		o.put(&all[i])
	}
	o.p.settle(o.family)
	o.p.commit()
	o.p.feed.notify() // it may be the last that was waited for
}

// Set says that an object is there now, in the place of an older state of it.
func (o *Origin) Set(x Parsed) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.put(&x)
	o.p.settle(o.family)
	o.p.commit()
}

// Delete says that an object is gone.
func (o *Origin) Delete(namespace, name string) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	key := objectKey{namespace, name}
	delete(o.unreadable, key)
	o.remove(key)
	o.p.settle(o.family)
	o.p.commit()
}

// Absent says that the API server, which answers, does not serve the resource. It must not be said of an API server that
// does not answer.
func (o *Origin) Absent() {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.known, o.absent = true, true
	if !o.inForce() {
		o.clear()
	}
	o.p.settle(o.family)
	o.p.commit()
	o.p.feed.notify()
}

// clear forgets all objects, of which none may be in force.
func (o *Origin) clear() {
	o.objects, o.problems, o.unreadable = map[objectKey]policy.Resource{}, map[objectKey][]policy.Problem{}, map[objectKey]string{}
	if o.claims != nil {
		o.claims = map[policy.Ref]map[objectKey]bool{}
	}
}

// put stores an object and notes what it changes, if the origin is in force.
func (o *Origin) put(x *Parsed) {
	key := x.key()
	if x.Unreadable != "" {
		o.unreadable[key] = fmt.Sprintf("%s %s/%s cannot be read, its last state is in force: %s", o.resource, x.Namespace, x.Name, x.Unreadable)
		return
	}
	delete(o.unreadable, key)
	delete(o.problems, key)
	if len(x.Problems) > 0 {
		o.problems[key] = x.Problems
	}
	old, had := o.objects[key]
	if had && reflect.DeepEqual(old, x.Resource) {
		return
	}
	if had && old != nil && (x.Resource == nil || old.Ref() != x.Resource.Ref()) {
		o.withdraw(key, old.Ref())
	}
	o.objects[key] = x.Resource
	if x.Resource != nil {
		o.claim(key, x.Resource.Ref())
	}
}

func (o *Origin) remove(key objectKey) {
	old, had := o.objects[key]
	delete(o.problems, key)
	if had && old != nil {
		o.withdraw(key, old.Ref())
	}
	delete(o.objects, key)
}

// claim notes that the object of key, already stored, is known by ref.
func (o *Origin) claim(key objectKey, ref policy.Ref) {
	if o.claims != nil {
		if o.claims[ref] == nil {
			o.claims[ref] = map[objectKey]bool{}
		}
		o.claims[ref][key] = true
	}
	if o.inForce() {
		o.p.note(ref, o.winner(key, ref))
	}
}

// withdraw notes that the object of key is not known by ref any more.
func (o *Origin) withdraw(key objectKey, ref policy.Ref) {
	if o.claims != nil {
		delete(o.claims[ref], key)
		if len(o.claims[ref]) == 0 {
			delete(o.claims, ref)
		}
	}
	if o.inForce() {
		o.p.note(ref, o.winner(objectKey{}, ref))
	}
}

// winner is the resource that is known by ref: that of key where it has ref for itself, else that of the claimant that
// comes first by name, whatever the order in which they came.
func (o *Origin) winner(key objectKey, ref policy.Ref) policy.Resource {
	if o.claims == nil {
		return o.objects[key]
	}
	var first *objectKey
	for k := range o.claims[ref] {
		if first == nil || k.namespace < first.namespace || k.namespace == first.namespace && k.name < first.name {
			first = &k
		}
	}
	if first == nil {
		return nil
	}
	return o.objects[*first]
}

func (o *Origin) inForce() bool { return o.family.force == o }

// each calls f with every resource that counts while the origin is in force.
func (o *Origin) each(f func(policy.Ref, policy.Resource)) {
	if o.claims == nil {
		for _, r := range o.objects {
			if r != nil {
				f(r.Ref(), r)
			}
		}
		return
	}
	for ref := range o.claims {
		f(ref, o.winner(objectKey{}, ref))
	}
}
