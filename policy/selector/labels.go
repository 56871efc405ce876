package selector

import "unique"

// Labels is what a selector is evaluated on.
type Labels interface {
	// Get returns the value of key and whether the label is present.
	Get(key string) (value string, ok bool)
}

// Map adapts a plain map; nil is the empty label set.
type Map map[string]string

// Get implements [Labels].
func (m Map) Get(key string) (string, bool) {
	v, ok := m[key]
	return v, ok
}

// Set is an immutable label set prepared once for many evaluations: its strings
// are interned, as are those of selectors, so that a test compares pointers
// and hashes nothing. The zero value is the empty set.
type Set struct {
	present uint64 // one bit per key, see keyBit
	// places is open addressing: a power of two, at most half of them taken.
	places []place
}

// place is free if its key is the zero handle.
type place struct{ key, value unique.Handle[string] }

// NewSet prepares a copy of labels.
func NewSet(labels map[string]string) *Set {
	s := &Set{}
	if len(labels) == 0 {
		return s
	}
	size := 2
	for size < 2*len(labels) {
		size *= 2
	}
	s.places = make([]place, size)
	for k, v := range labels {
		h := hashKey(k)
		s.present |= keyBit(h)
		i := int(h) & (size - 1)
		for s.places[i].key != (unique.Handle[string]{}) {
			i = (i + 1) & (size - 1)
		}
		s.places[i] = place{key: unique.Make(k), value: unique.Make(v)}
	}
	return s
}

// Get implements [Labels].
func (s *Set) Get(key string) (string, bool) {
	h := hashKey(key)
	if s.present&keyBit(h) == 0 {
		return "", false
	}
	if p := s.find(unique.Make(key), h); p != nil {
		return p.value.Value(), true
	}
	return "", false
}

// find terminates because at least half of the places are free. Keys chosen to
// collide cost at most one comparison per label of the set.
func (s *Set) find(key unique.Handle[string], hash uint32) *place {
	mask := len(s.places) - 1
	for i := int(hash) & mask; mask > 0; i = (i + 1) & mask {
		switch p := &s.places[i]; p.key {
		case key:
			return p
		case unique.Handle[string]{}:
			return nil
		}
	}
	return nil
}

// hashKey is 32-bit FNV-1a.
func hashKey(key string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// keyBit takes other bits of the hash than the place in the table.
func keyBit(hash uint32) uint64 { return 1 << (hash >> 26) }
