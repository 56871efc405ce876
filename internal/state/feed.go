package state

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/saguard/saguard/policy"
)

// Change is one object as it is now.
type Change struct {
	Ref      policy.Ref
	Resource policy.Resource // nil: gone
}

// Step is what one event changed: the world was one before it and is another after it. Its changes, taken apart, make worlds
// that never were.
type Step struct {
	Revision uint64
	// Received is when the event arrived; of events taken together, the first.
	Received time.Time
	Changes  []Change
	// PodCIDRs are the prefixes of all nodes, and PodCIDRsByNode those of each, by name, if PodCIDRsChanged. Neither is
	// changed in place.
	PodCIDRs        []netip.Prefix
	PodCIDRsByNode  map[string][]netip.Prefix
	PodCIDRsChanged bool
}

// maxSteps bounds what waits for a reader: beyond it steps are taken together, as one from the first world to the last, and
// what waits is at most every object once.
const maxSteps = 1024

// feed holds the steps that the reader has not taken.
type feed struct {
	steps []Step
	ready chan struct{}
}

func (f *feed) push(s Step) {
	if f.steps = append(f.steps, s); len(f.steps) > maxSteps {
		f.steps = []Step{Merge(f.steps)}
	}
	f.notify()
}

// notify wakes the reader.
func (f *feed) notify() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// Changed receives whenever there may be something for [Policies.Take]. There is one reader.
func (p *Policies) Changed() <-chan struct{} { return p.feed.ready }

// Take returns the steps since the last time, in order, and WhyUnread: while it is not "", the steps do not make up a world
// yet, and are kept back.
func (p *Policies) Take() ([]Step, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why := p.whyUnread(); why != "" {
		return nil, why
	}
	steps := p.feed.steps
	p.feed.steps = nil
	return steps, ""
}

// Merge returns all of steps, of which there is at least one, as one.
func Merge(steps []Step) Step {
	out := Step{Revision: steps[len(steps)-1].Revision, Received: steps[0].Received}
	at := map[policy.Ref]int{}
	for _, s := range steps {
		for _, c := range s.Changes {
			if i, ok := at[c.Ref]; ok {
				out.Changes[i] = c
				continue
			}
			at[c.Ref] = len(out.Changes)
			out.Changes = append(out.Changes, c)
		}
		if s.PodCIDRsChanged {
			out.PodCIDRsChanged, out.PodCIDRs, out.PodCIDRsByNode = true, s.PodCIDRs, s.PodCIDRsByNode
		}
	}
	return out
}

func sortProblems(all []policy.Problem) {
	slices.SortStableFunc(all, func(a, b policy.Problem) int { return a.Object.Compare(b.Object) })
}

// maxReasons bounds how many are spelled out.
const maxReasons = 5

// reasons collects what is wrong, without end.
type reasons struct {
	texts []string
	more  int
}

func (r *reasons) add(text string) {
	if len(r.texts) < maxReasons {
		r.texts = append(r.texts, text)
	} else {
		r.more++
	}
}

func (r *reasons) String() string {
	slices.Sort(r.texts)
	text := strings.Join(r.texts, "; ")
	if r.more > 0 {
		text += "; and more"
	}
	return text
}
