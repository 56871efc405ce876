package reference

import (
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

func (c *collector) whole(p *Policy) {
	c.subject(p)
	spec := field.NewPath("spec")
	c.rules(p, spec.Child("ingress"), p.ingress)
	c.rules(p, spec.Child("egress"), p.egress)
}

func (c *collector) subject(p *Policy) {
	spec := field.NewPath("spec")
	if p.Unreadable {
		c.add(Subject, spec, nil, everything())
	}
	e := entity{at: spec}
	e.plain("selector", p.subject.plain, false)
	if p.subject.accounts != "" {
		e.accounts(spec.Child("serviceAccountSelector"), p.subject.accounts)
	}
	c.entity(Subject, &e, scope(p.Namespace, p.subject.namespaces))
}

func (c *collector) rules(p *Policy, list *field.Path, rules []v3.Rule) {
	for i := range rules {
		if c.full() {
			return
		}
		r := &rules[i]
		if c.mentions == 0 && !mayAllow(r.Action) {
			continue
		}
		if refers(&r.Source) {
			c.end(p, Source, list.Index(i).Child("source"), &r.Source)
		}
		if refers(&r.Destination) {
			c.end(p, Destination, list.Index(i).Child("destination"), &r.Destination)
		}
	}
}

// refers is a quick look: most rules say nothing of accounts.
func refers(e *v3.EntityRule) bool {
	return e.ServiceAccounts != nil || mentionsAccounts(e.Selector) || mentionsAccounts(e.NotSelector)
}

func (c *collector) end(p *Policy, part Part, at *field.Path, in *v3.EntityRule) {
	namespaces := scope(p.Namespace, in.NamespaceSelector)
	e := entity{at: at}
	if sa := in.ServiceAccounts; sa != nil {
		path := at.Child("serviceAccounts")
		if len(sa.Names) > 0 {
			e.names(path.Child("names"), sa.Names)
		}
		switch {
		case len(sa.Names) == 0 && sa.Selector == "":
			// Hole F3: no condition at all, not even that of the policy's own namespace.
			namespaces = nil
			e.accounts(path, "")
		case sa.Selector != "":
			e.accounts(path.Child("selector"), sa.Selector)
		}
	}
	e.plain("selector", in.Selector, false)
	if c.mentions == 0 {
		e.plain("notSelector", in.NotSelector, true)
	}
	c.entity(part, &e, namespaces)
}

// scope returns the namespaces of the accounts that are meant: those a namespaceSelector names, the policy's own where there
// is none, and nil = any for what is left. Calico confines a namespaced policy's rule with account conditions to its own
// namespace (updateprocessors/rules.go).
func scope(own, namespaceSelector string) []string {
	switch {
	case namespaceSelector != "":
		return namespacesOf(namespaceSelector)
	case own != "":
		return []string{own}
	default:
		return nil
	}
}

// entity is the conditions on one end of a rule, or on the subject, of which all must hold.
type entity struct {
	at    *field.Path
	terms []selector.Formula
	paths []*field.Path // of the terms about accounts, where only one field is
	// named are the accounts of serviceAccounts.names.
	named []string
	// unreadable says that a part about accounts does not parse: Calico then leaves it out, or worse (holes F1 to F3).
	unreadable bool
}

// plain adds a selector over endpoints, if it may read accounts. One that does not cannot cover anything, but neither can it
// select more than the other terms do.
func (e *entity) plain(name, text string, negate bool) {
	if !mentionsAccounts(text) {
		return
	}
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		e.unreadable = true
		return
	}
	if negate {
		s = selector.Not(s)
	}
	f := selector.Refs(s)
	if _, ok := f.Only(accountKey); !ok {
		return // the text is in a value
	}
	e.terms = append(e.terms, f)
	e.paths = append(e.paths, e.at.Child(name))
}

// accounts adds a selector over accounts.
func (e *entity) accounts(at *field.Path, text string) {
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		e.unreadable = true
		return
	}
	e.terms = append(e.terms, ofAccounts(selector.Refs(s)))
	e.paths = append(e.paths, at)
}

// names adds a list of names. Calico pastes them between single quotes into a selector, so one with such a quote can become
// anything (holes F1, F2).
func (e *entity) names(at *field.Path, names []string) {
	f := selector.Formula{Op: selector.OpAll}
	for _, n := range names {
		if strings.Contains(n, "'") {
			e.unreadable = true
			return
		}
		f.Terms = append(f.Terms, selector.Formula{Grant: selector.Grant{Kind: selector.GrantValue, Key: keyAccount, Value: n}})
	}
	e.named = names
	e.terms = append(e.terms, f)
	e.paths = append(e.paths, at)
}

// entity adds the references of e. What it selects lies inside of what each of its terms selects, so the grants for one will
// do: that is the formula of their conjunction.
func (c *collector) entity(part Part, e *entity, namespaces []string) {
	switch {
	case e.unreadable:
		c.add(part, e.at, nil, everything())
	case len(e.terms) == 0:
	case len(e.terms) == 1 && e.named != nil:
		for i, term := range e.terms[0].Terms {
			c.add(part, e.paths[0].Index(i), namespaces, term)
		}
	default:
		f, ok := selector.Formula{Op: selector.OpAny, Terms: e.terms}.Only(accountKey)
		if !ok {
			return
		}
		at := e.at
		if len(e.paths) == 1 {
			at = e.paths[0]
		}
		c.add(part, at, namespaces, f)
	}
}
