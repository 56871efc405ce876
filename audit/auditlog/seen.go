package auditlog

// generation is how many keys are remembered for sure; up to twice as many are.
const generation = 1 << 19

// seen remembers the latest keys in bounded memory.
type seen struct {
	young, old map[[17]byte]struct{}
}

// add reports whether the key is new.
func (s *seen) add(key [17]byte) bool {
	if _, known := s.young[key]; known {
		return false
	}
	if _, known := s.old[key]; known {
		return false
	}
	if s.young == nil || len(s.young) >= generation {
		s.old, s.young = s.young, map[[17]byte]struct{}{}
	}
	s.young[key] = struct{}{}
	return true
}
