//go:build linux

package bpf

import "errors"

// errFull says that a map has no room left. Sync makes larger ones.
var errFull = errors.New("a map is full, a sync makes a larger one")

// slots hands out ranges of the indices of an array map. Index 0 is never handed out: it means none.
type slots struct {
	next, limit uint32
	free        map[uint32][]uint32 // by length
}

func newSlots(limit uint32) slots { return slots{next: 1, limit: limit, free: map[uint32][]uint32{}} }

func (s *slots) take(n uint32) (first uint32, err error) {
	if free := s.free[n]; len(free) > 0 {
		s.free[n] = free[:len(free)-1]
		return free[len(free)-1], nil
	}
	if n > s.limit-s.next {
		return 0, errFull
	}
	s.next += n
	return s.next - n, nil
}

// give takes a range back. The caller has made sure that no packet is judged by it any more.
func (s *slots) give(first, n uint32) { s.free[n] = append(s.free[n], first) }
