package reference

import (
	"encoding/binary"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

// MaxGrants is how many grants the references of one request may mention, each namespace counted: four times what 1,024
// rules with one account each need. Beyond that only [Everything] is asked for, so that a hostile policy cannot make
// admission ask questions without end; whoever may bind everything is not in the way of that.
const MaxGrants = 4096

// MaxAlternatives is how many grants one reference may mention, which are alternatives for the most part: room for a list of
// 256 names beside a selector. One with more is to everything in its namespaces.
const MaxAlternatives = 300

// Part says which part of a policy refers to accounts. The zero Part is the subject.
type Part uint8

const (
	// Subject is what the policy applies to.
	Subject Part = iota
	// Source is whom an Allow rule lets connect.
	Source
	// Destination is to whom an Allow rule lets connect.
	Destination
)

// Reference is one thing that a policy says about service accounts. The zero Reference is to everything, cluster-wide.
type Reference struct {
	Part Part
	// Before says that it stands in the object as it was before the request.
	Before bool
	// Field is where the object says it first; Places is how often it says the same.
	Field  *field.Path
	Places int
	// Namespaces are the namespaces of the accounts, sorted; nil = any namespace.
	Namespaces []string
	// Formula says what must be granted in each of them; [GrantOf] says what its leaves are.
	Formula selector.Formula
}

// String says in words which accounts are meant: "service account web".
func (r Reference) String() string { return wordsOf(r.Formula) }

// Created returns the references of a policy that is created.
func Created(p *Policy) []Reference {
	c := collector{}
	c.whole(p)
	return c.references()
}

// Updated returns those of a policy that takes another's place: of both, whole. Whoever changes a policy could have
// loosened any part of it.
func Updated(now, was *Policy) []Reference {
	c := collector{}
	c.whole(now)
	c.before = true
	c.whole(was)
	return c.references()
}

// Deleted returns those of a policy that is deleted: of its subject, which loses what the policy did for it.
func Deleted(was *Policy) []Reference {
	c := collector{before: true}
	c.subject(was)
	return c.references()
}

// collector keeps each distinct reference once.
type collector struct {
	before bool
	// mentions, if it is not 0, has rules of every action and no exclusions collected, until there are that many references.
	mentions int
	refs     []Reference
	at       map[string]int // by meaning, into refs
	grants   int
}

// references returns what was collected, or that everything is meant if that is too much.
func (c *collector) references() []Reference {
	if c.grants <= MaxGrants {
		return c.refs
	}
	return []Reference{{Before: c.before, Field: field.NewPath("spec"), Places: len(c.refs), Formula: everything()}}
}

// full says that more would not change the outcome.
func (c *collector) full() bool {
	return c.grants > MaxGrants || c.mentions > 0 && len(c.refs) >= c.mentions
}

// add splits what has to hold together, so that each account that is missing is told on its own.
func (c *collector) add(part Part, at *field.Path, namespaces []string, f selector.Formula) {
	if f.Op == selector.OpAll {
		for _, t := range f.Terms {
			c.add(part, at, namespaces, t)
		}
		return
	}
	if c.full() {
		return
	}
	size := leaves(f)
	if size > MaxAlternatives {
		f, size = everything(), 1
	}
	key := meaning(namespaces, f)
	if i, ok := c.at[key]; ok {
		c.refs[i].Places++
		return
	}
	if c.at == nil {
		c.at = map[string]int{}
	}
	c.at[key] = len(c.refs)
	c.grants += size * max(1, len(namespaces))
	c.refs = append(c.refs, Reference{Part: part, Before: c.before, Field: at, Places: 1, Namespaces: namespaces, Formula: f})
}

func leaves(f selector.Formula) int {
	if f.Op == selector.OpGrant {
		return 1
	}
	n := 0
	for _, t := range f.Terms {
		n += leaves(t)
	}
	return n
}

// meaning is equal for references that ask for the same; nothing else of it is of use.
func meaning(namespaces []string, f selector.Formula) string {
	b := binary.AppendUvarint(nil, uint64(len(namespaces)))
	for _, ns := range namespaces {
		b = appendText(b, ns)
	}
	return string(appendFormula(b, f))
}

func appendFormula(b []byte, f selector.Formula) []byte {
	b = append(b, byte(f.Op))
	if f.Op == selector.OpGrant {
		return appendText(appendText(append(b, byte(f.Grant.Kind)), f.Grant.Key), f.Grant.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(f.Terms)))
	for _, t := range f.Terms {
		b = appendFormula(b, t)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// mentionsAccounts is a quick look at a plain selector: a key stands in its text as it is, so one without these texts
// cannot read accounts, whether it parses or not.
func mentionsAccounts(text string) bool {
	return strings.Contains(text, prefixLabel) || strings.Contains(text, keyAccount)
}
