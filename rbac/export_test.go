package rbac

import "github.com/benbjohnson/immutable"

// DenyCacheSize is how many denials are remembered.
const DenyCacheSize = denyCacheSize

// NewCollidingStore returns a Store whose keys all have one of few hashes: what a flood of chosen names would look like.
func NewCollidingStore(hashes uint32) *Store { return newStore(collidingHasher(hashes)) }

type collidingHasher uint32

var _ immutable.Hasher[subjectKey] = collidingHasher(0)

func (h collidingHasher) Hash(k subjectKey) uint32 {
	return uint32(len(k.name)+len(k.namespace)) % uint32(h)
}

func (h collidingHasher) Equal(a, b subjectKey) bool { return a == b }

// Held returns how many roles' places, bindings and subjects a Store holds on to.
func (s *Store) Held() (slots, bindings, subjects int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots), len(s.bindings), s.current.Load().subjects.Len()
}

// DenialsHeld returns how many denials an Authorizer remembers.
func (a *Authorizer) DenialsHeld() int {
	a.denials.mu.Lock()
	defer a.denials.mu.Unlock()
	return len(a.denials.since)
}

// ShellQuote is shellQuote.
func ShellQuote(word string) string { return shellQuote(word) }
