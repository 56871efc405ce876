package state

import (
	"fmt"
	"strings"

	"github.com/saguard/saguard/policy"
)

// family is the origins of one kind, in order of preference, of which one is in force. Calico's objects are served as
// projectcalico.org/v3, as crd.projectcalico.org/v1, or as both, and then they are the same objects seen twice.
type family struct {
	kind    string
	origins []*Origin
	force   *Origin // nil until it is known which one
	// lacking says why a preferred origin that is served is not gone over to; "" if there is none.
	lacking string
}

// settle decides which origin of the family is in force, after something about one of them changed. What is in force changes
// in one step, from all objects of one origin to all of another, and never by way of none:
//
//   - until the preferred origin was read, or found not to be served, nothing is in force;
//   - a preferred origin that comes to be served is gone over to once it holds every object that is in force: CRDs are
//     installed before the objects are;
//   - an origin that is not served any more stays in force until it is known what the next one holds;
//   - an origin that is merely out of reach changes nothing.
func (p *Policies) settle(f *family) {
	f.lacking = ""
	if f.force == nil {
		for _, o := range f.origins {
			switch {
			case !o.known:
				return
			case !o.absent:
				p.enforce(f, o)
				return
			}
		}
		p.enforce(f, f.origins[len(f.origins)-1])
		return
	}
	for _, o := range f.origins {
		switch {
		case o == f.force && !o.absent:
			return
		case o == f.force, !o.known, o.absent:
			continue
		case f.force.absent:
			p.enforce(f, o)
			return
		}
		if missing := o.lacks(f.force); missing != "" {
			f.lacking = fmt.Sprintf("%s is served but lacks %s: %s stays in force", o.resource, missing, f.force.resource)
			continue
		}
		p.enforce(f, o)
		return
	}
	if f.force.absent && !f.unread() {
		p.enforce(f, nil)
	}
}

// unread reports whether any origin is not known.
func (f *family) unread() bool {
	for _, o := range f.origins {
		if !o.known {
			return true
		}
	}
	return false
}

// enforce puts the objects of o in the place of those in force; nil stands for none, without naming another origin.
func (p *Policies) enforce(f *family, o *Origin) {
	old := map[policy.Ref]policy.Resource{}
	if f.force != nil {
		f.force.each(func(ref policy.Ref, r policy.Resource) { old[ref] = r })
	}
	if o != nil {
		o.each(func(ref policy.Ref, r policy.Resource) {
			delete(old, ref)
			p.note(ref, r)
		})
	}
	for ref := range old {
		p.note(ref, nil)
	}
	if f.force != nil && f.force.absent {
		f.force.clear()
	}
	if o != nil {
		f.force = o
	}
}

// lacks returns the name of an object in force that o does not have, "" if it has all.
func (o *Origin) lacks(force *Origin) string {
	have := map[string]bool{}
	o.each(func(ref policy.Ref, r policy.Resource) { have[plainName(ref, r)] = true })
	missing := ""
	force.each(func(ref policy.Ref, r policy.Resource) {
		if name := plainName(ref, r); !have[name] && (missing == "" || name < missing) {
			missing = name
		}
	})
	return missing
}

// plainName is the same in both API groups: the stored name of a policy has its tier's before it.
func plainName(ref policy.Ref, r policy.Resource) string {
	if p, ok := r.(*policy.Policy); ok {
		ref.Name = strings.TrimPrefix(ref.Name, p.Tier+".")
	}
	return ref.Path()
}
