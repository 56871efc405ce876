package extauthz

import (
	"sync"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/identity"
)

// Bounds of what refusals leave in the log; see throttle.
const (
	// throttleWindow is how long refusals of a kind are counted before they are summed up.
	throttleWindow = time.Minute
	// maxKinds bounds the kinds that are counted at once. One more ends the count of the oldest, which is summed up early.
	maxKinds = 1 << 12
)

// kind is what refusals have in common that one record can stand for. A client cannot hide what it does to one server
// behind what it does to another. Nothing in it can be chosen in a request: sources and servers are accounts that pods run
// as, and reasons a closed set.
type kind struct {
	outcome        audit.Outcome
	reason         authz.Reason
	source, server identity.ServiceAccount // zero where not known
}

func kindOf(a *answer) kind {
	k := kind{outcome: a.outcome, reason: a.Reason}
	if a.Client != nil {
		k.source = a.Client.Account
	}
	if a.Server != nil {
		k.server = a.Server.Account
	}
	return k
}

// throttle decides which refusals are recorded one by one, so that whoever can provoke them cannot fill a disk nor drown
// what others do. In each minute the first of a kind always is, and further ones as long as their source account has not
// had perMinute of them. All others are counted, and summed up in one record of their kind: the first that was held back,
// with the number of the others. So the records and their counts together are exactly the refusals.
type throttle struct {
	perMinute int

	mu      sync.Mutex
	kinds   map[kind]*tally
	order   []kind // by the end of their windows
	budgets map[identity.ServiceAccount]*budget
}

type tally struct {
	ends time.Time
	held *audit.Record // nil while none was held back
}

type budget struct {
	ends time.Time
	left int
}

func newThrottle(perMinute int) *throttle {
	return &throttle{perMinute: perMinute, kinds: map[kind]*tally{}, budgets: map[identity.ServiceAccount]*budget{}}
}

// refusal returns what is to be written now that one more refusal of kind k happened; make is asked for its record only if
// that is needed. alone says that the refusal has a record of its own.
func (t *throttle) refusal(k kind, now time.Time, make func() *audit.Record) (write []*audit.Record, alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	write = t.due(now)
	of, ok := t.kinds[k]
	switch {
	case !ok:
		if len(t.kinds) >= maxKinds {
			write = append(write, t.end()...)
		}
		t.kinds[k] = &tally{ends: now.Add(throttleWindow)}
		t.order = append(t.order, k)
	case t.spend(k.source, now):
	case of.held == nil:
		of.held = make()
		return write, false
	default:
		of.held.More++
		return write, false
	}
	return append(write, make()), true
}

// spend takes one record of the source's budget, if there is one left.
func (t *throttle) spend(source identity.ServiceAccount, now time.Time) bool {
	b := t.budgets[source]
	if b == nil || !now.Before(b.ends) {
		b = &budget{ends: now.Add(throttleWindow), left: t.perMinute}
		t.budgets[source] = b
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}

// sweep returns the sums that are due, and forgets what is over.
func (t *throttle) sweep(now time.Time) []*audit.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	for source, b := range t.budgets {
		if !now.Before(b.ends) {
			delete(t.budgets, source)
		}
	}
	return t.due(now)
}

// drain returns all sums.
func (t *throttle) drain() []*audit.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*audit.Record
	for len(t.order) > 0 {
		out = append(out, t.end()...)
	}
	return out
}

// due ends the windows that are over. It is called with the lock held.
func (t *throttle) due(now time.Time) []*audit.Record {
	var out []*audit.Record
	for len(t.order) > 0 && !now.Before(t.kinds[t.order[0]].ends) {
		out = append(out, t.end()...)
	}
	return out
}

// end ends the oldest window. It is called with the lock held.
func (t *throttle) end() []*audit.Record {
	k := t.order[0]
	t.order = t.order[1:]
	held := t.kinds[k].held
	delete(t.kinds, k)
	if held == nil {
		return nil
	}
	return []*audit.Record{held}
}
