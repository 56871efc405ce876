package reference

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

// Mention is an account, a label or a label key that a policy selects by. Unlike a [Reference] it asks for no permission: it is
// for telling what a policy names in vain.
type Mention struct {
	// Field is where the policy says it first.
	Field *field.Path
	// Namespaces are the namespaces of the accounts, sorted; nil = any namespace.
	Namespaces []string
	// Grant is of kind [Account], [Label] or [AnyValue].
	Grant Grant
}

// Mentions returns what a policy's subject and its rules, whatever their action, select by; each once, in the order of the
// fields, and of a long policy the first limit or so. What a policy excludes (!=, not in, notSelector) is no mention. Of one that
// cannot be read there is none.
func Mentions(p *Policy, limit int) []Mention {
	if p == nil || p.Unreadable {
		return nil
	}
	c := collector{mentions: limit}
	c.whole(p)
	var out []Mention
	for i := range c.refs {
		r := &c.refs[i]
		each(r.Formula, func(g Grant) {
			if g.Kind == Account || g.Kind == Label || g.Kind == AnyValue {
				out = append(out, Mention{Field: r.Field, Namespaces: r.Namespaces, Grant: g})
			}
		})
	}
	return out
}

func each(f selector.Formula, visit func(Grant)) {
	if f.Op == selector.OpGrant {
		visit(GrantOf(f.Grant))
	}
	for _, t := range f.Terms {
		each(t, visit)
	}
}
