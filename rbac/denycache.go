package rbac

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/saguard/saguard/internal/identity"
)

// denyCacheSize bounds the remembered denials: about half a megabyte. The oldest goes first.
const denyCacheSize = 4096

// denyKey is a SHA-256 of an injective encoding of subject and question: users choose much of what goes in, and a collision
// would deny somebody what they may do.
type denyKey [sha256.Size]byte

func newDenyKey(s identity.Subject, q Question) denyKey {
	buf := make([]byte, 0, 512)
	text := func(t string) {
		buf = binary.AppendUvarint(buf, uint64(len(t)))
		buf = append(buf, t...)
	}
	list := func(l []string) {
		buf = binary.AppendUvarint(buf, uint64(len(l)))
		for _, t := range l {
			text(t)
		}
	}
	text(s.User)
	text(s.UID)
	list(s.Groups)
	buf = binary.AppendUvarint(buf, uint64(len(s.Extra)))
	for _, k := range slices.Sorted(maps.Keys(s.Extra)) {
		text(k)
		list(s.Extra[k])
	}
	list([]string{q.Verb, q.Group, q.Resource, q.Subresource, q.Namespace})
	list(q.Name.Candidates())
	return sha256.Sum256(buf)
}

// denyCache remembers denials for a fixed time, so they expire in the order they came: a ring is enough to forget the oldest.
type denyCache struct {
	now func() time.Time
	ttl time.Duration

	mu    sync.Mutex
	since map[denyKey]time.Time
	ring  []denyKey
	next  int
}

func newDenyCache(now func() time.Time, ttl time.Duration) *denyCache {
	return &denyCache{now: now, ttl: ttl, since: map[denyKey]time.Time{}}
}

// has reports a denial younger than the TTL. One from the future (the clock was set back) does not count.
func (c *denyCache) has(key denyKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, ok := c.since[key]
	age := c.now().Sub(since)
	return ok && age >= 0 && age < c.ttl
}

func (c *denyCache) add(key denyKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.since[key]; !known {
		if len(c.ring) < denyCacheSize {
			c.ring = append(c.ring, key)
		} else {
			delete(c.since, c.ring[c.next])
			c.ring[c.next] = key
			c.next = (c.next + 1) % denyCacheSize
		}
	}
	c.since[key] = c.now()
}
