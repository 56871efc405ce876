package review

import "strings"

// interned keeps one copy of texts that occur in many rows. It is bounded: a log can hold any number of different ones.
type interned struct {
	texts map[string]string
	lists map[string][]string
}

const maxInterned = 1 << 16

func (n *interned) text(s string) string {
	if have, ok := n.texts[s]; ok {
		return have
	}
	if n.texts == nil || len(n.texts) >= maxInterned {
		n.texts = map[string]string{}
	}
	s = strings.Clone(s)
	n.texts[s] = s
	return s
}

func (n *interned) list(l []string) []string {
	key := strings.Join(l, "\x00")
	if have, ok := n.lists[key]; ok {
		return have
	}
	if n.lists == nil || len(n.lists) >= maxInterned {
		n.lists = map[string][]string{}
	}
	out := make([]string, len(l))
	for i := range l {
		out[i] = n.text(l[i])
	}
	n.lists[key] = out
	return out
}

func (n *interned) request(r *Request) {
	for _, s := range []*string{
		&r.File, &r.User, &r.Impersonator, &r.SourceIP, &r.Verb,
		&r.Object.Group, &r.Object.Resource, &r.Object.Subresource, &r.Object.Namespace, &r.Object.Name,
	} {
		*s = n.text(*s)
	}
	r.Groups = n.list(r.Groups)
	r.AuditID = strings.Clone(r.AuditID)
}

// decided does the same for what was decided; tuples and checks are alike in nearly every row.
func (n *interned) decided(d *decided) {
	n.request(&d.Request)
	for i := range d.tuples {
		t := &d.tuples[i]
		for _, s := range []*string{&t.Verb, &t.Group, &t.Resource, &t.Name, &t.Namespace, &t.GrantedBy} {
			*s = n.text(*s)
		}
	}
	for i := range d.checks {
		c := &d.checks[i]
		for _, s := range []*string{&c.ID, &c.Reason, &c.Mode, &c.Field} {
			*s = n.text(*s)
		}
	}
	for k, c := range d.diff {
		for _, v := range []*string{c.Old, c.New} {
			if v != nil {
				*v = n.text(*v)
			}
		}
		d.diff[k] = c
	}
}
