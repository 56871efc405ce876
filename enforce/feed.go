package enforce

import (
	"context"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
)

// Feed says what the kernel should hold.
type Feed interface {
	// Changed receives whenever there may be something for Take.
	Changed() <-chan struct{}
	// Take returns what changed since the last time, in order: the first change is to an empty ruleset. whyUnread is "" once
	// everything has been read that rules are made of; until then there are no changes, and nothing may be programmed.
	Take() (changes []Change, whyUnread string)
	// Revision is that of the last event, taken or not.
	Revision() uint64
}

// Change is what one event, or several taken together, made of the ruleset.
type Change struct {
	Delta *ruleset.Delta
	// Received is when the (first) event arrived from the API server.
	Received time.Time
}

// Backend is an [Applier] and what is needed to choose one.
type Backend interface {
	Applier
	// Probe says why the backend does not work here, nil if it does; it tries, and leaves nothing behind.
	Probe(ctx context.Context) error
	// Remove takes away everything that any process of this backend has put into the kernel.
	Remove(ctx context.Context) error
}

// Candidate is a backend that may be chosen.
type Candidate struct {
	// Name is that of the backend, "bpf" or "nft".
	Name string
	// Open makes it, and changes nothing in the kernel that matters.
	Open func() (Backend, error)
	// Left reports whether there may be something that it left here; nil = there may.
	Left func() bool
}

func (c *Candidate) left() bool { return c.Left == nil || c.Left() }
