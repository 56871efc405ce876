package selector

import "unique"

// Prepared is labels whose strings are interned already, so that [Merge] can put label sets together from parts that
// change at different times: an endpoint's own labels, its namespace's, its account's. The zero value has none;
// the others are made with [Prepared.With].
type Prepared struct{ labels []preparedLabel }

type preparedLabel struct {
	hash       uint32
	key, value unique.Handle[string]
}

// With returns p and one more label, which p must not have. p itself is not to be used any more.
func (p Prepared) With(key, value string) Prepared {
	p.labels = append(p.labels, preparedLabel{hash: hashKey(key), key: unique.Make(key), value: unique.Make(value)})
	return p
}

// Merge returns the labels of all parts as one set; of a key that several have, the first part counts.
func Merge(parts ...Prepared) *Set {
	n := 0
	for _, p := range parts {
		n += len(p.labels)
	}
	s := &Set{}
	if n == 0 {
		return s
	}
	size := 2
	for size < 2*n {
		size *= 2
	}
	s.places = make([]place, size)
	for _, p := range parts {
		for _, l := range p.labels {
			i := int(l.hash) & (size - 1)
			for s.places[i].key != (unique.Handle[string]{}) && s.places[i].key != l.key {
				i = (i + 1) & (size - 1)
			}
			if s.places[i].key == l.key {
				continue
			}
			s.present |= keyBit(l.hash)
			s.places[i] = place{key: l.key, value: l.value}
		}
	}
	return s
}
