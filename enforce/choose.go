package enforce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
)

// errEnded says that a part ended that goes on for as long as the process.
var errEnded = errors.New("ended before its time")

// choose opens the first candidate that works here.
func (l *Loop) choose(ctx context.Context) bool {
	var errs []error
	var notes []string
	for _, c := range l.o.Candidates {
		b, err := open(ctx, c)
		if err != nil {
			errs = append(errs, err)
			notes = append(notes, err.Error())
			continue
		}
		l.backend, l.view.Backend, l.view.Notes = b, c.Name, notes
		l.leftover = append(l.leftover, l.o.Others...)
		for _, other := range l.o.Candidates {
			if other.Name != c.Name {
				l.leftover = append(l.leftover, other)
			}
		}
		l.o.Log.Info("backend chosen", "backend", c.Name, "notChosen", strings.Join(notes, "; "))
		go l.watch(ctx, b)
		return true
	}
	l.failed("open", errors.Join(errs...))
	return false
}

func open(ctx context.Context, c Candidate) (Backend, error) {
	b, err := c.Open()
	if err != nil {
		return nil, fmt.Errorf("open backend %s: %w", c.Name, err)
	}
	if err := b.Probe(ctx); err != nil {
		return nil, fmt.Errorf("backend %s: %w", c.Name, errors.Join(err, b.Close()))
	}
	return b, nil
}

// Remove takes away everything that any process of the backend has put into this node's kernel.
func Remove(ctx context.Context, c Candidate) error {
	if !c.left() {
		return nil
	}
	b, err := c.Open()
	if err != nil {
		return fmt.Errorf("open backend %s: %w", c.Name, err)
	}
	if err := errors.Join(b.Remove(ctx), b.Close()); err != nil {
		return fmt.Errorf("remove rules of backend %s: %w", c.Name, err)
	}
	return nil
}

// removeOthers takes away what other backends left in the kernel, once this one enforces: in between both do, and a packet
// passes only if both let it.
func (l *Loop) removeOthers(ctx context.Context) {
	var again []Candidate
	for _, c := range l.leftover {
		if !c.left() {
			continue
		}
		b, err := c.Open()
		if err != nil {
			// Whoever cannot open it cannot have made it in this place; what another place left is for cleanup.
			l.view.Notes = append(l.view.Notes, fmt.Sprintf("backend %s cannot be opened; if it was in use here before, run cleanup with its permissions: %v", c.Name, err))
			continue
		}
		err = l.call(ctx, "remove", func(ctx context.Context) error { return errors.Join(b.Remove(ctx), b.Close()) })
		if err != nil {
			l.o.Metrics.errors.WithLabelValues("remove").Inc()
			l.o.Log.Info("rules of another backend not removed, to be tried again", "backend", c.Name, "error", err.Error())
			again = append(again, c)
		}
	}
	l.leftover = again
	l.view.Leftover = nil
	for _, c := range again {
		l.view.Leftover = append(l.view.Leftover, c.Name)
	}
}

// watch hands the backend's packets to the loop. One that finds no room is counted and dropped: records must never hold up
// enforcement.
func (l *Loop) watch(ctx context.Context, b Backend) {
	defer close(l.watched)
	err := b.Watch(ctx, func(e Event) {
		l.o.Metrics.lost.Add(float64(e.Lost))
		e.Lost += l.lost.Swap(0)
		select {
		case l.events <- e:
		default:
			l.lose(e.Lost)
		}
	})
	if ctx.Err() == nil {
		l.watching <- fmt.Errorf("watch packets: %w", cmp.Or(err, errEnded))
	}
}

// lose drops an event that knew of some that were lost before it.
func (l *Loop) lose(before uint64) {
	l.lost.Add(before + 1)
	l.o.Metrics.lost.Inc()
}
