package appliertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/saguard/saguard/internal/ruleset"
)

// flood sends packets of some flows without pause, in rounds: of each flow one packet of a connection that lasts and one of a
// new connection. A round ends when all that have to arrive have, so nothing is lost for want of room.
type flood struct {
	rig    *rig
	good   []*torrent
	bad    []*torrent
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	rounds int
	lost   int
	missed string // the first that was lost
	err    error
}

type torrent struct {
	flow     ruleset.Flow
	from, to *place
	stream   uint32
	steady   uint16 // source port of the connection that lasts
}

// lostAfter is when a packet that has not arrived counts as lost.
const lostAfter = time.Second

// flood starts sending: good flows have to arrive, bad ones must not.
func (r *rig) flood(good, bad []ruleset.Flow) *flood {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	f := &flood{rig: r, cancel: cancel, done: make(chan struct{})}
	for _, list := range []struct {
		flows []ruleset.Flow
		into  *[]*torrent
	}{{good, &f.good}, {bad, &f.bad}} {
		for _, flow := range list.flows {
			t := &torrent{flow: flow, from: r.at(flow.Source), to: r.at(flow.Destination), stream: r.ids.Add(1), steady: 19999}
			t.to.tap.open(t.stream)
			*list.into = append(*list.into, t)
		}
	}
	go func() {
		defer close(f.done)
		for n := uint32(0); ctx.Err() == nil; n += 2 {
			if err := f.round(ctx, n); err != nil {
				f.mu.Lock()
				f.err = err
				f.mu.Unlock()
				return
			}
		}
	}()
	r.t.Cleanup(func() { f.end() })
	return f
}

func (f *flood) round(ctx context.Context, n uint32) error {
	for _, list := range [][]*torrent{f.bad, f.good, f.bad} {
		for _, t := range list {
			for i, port := range []uint16{t.steady, f.rig.port()} {
				p := packet{Flow: t.flow, id: streamID(t.stream, n+uint32(i))}
				p.SourcePort = port
				if err := t.from.tap.send(p); err != nil {
					return err
				}
			}
		}
	}
	for _, t := range f.good {
		err := t.to.tap.wait(ctx, lostAfter, func() bool { return t.to.tap.got(t.stream, n) && t.to.tap.got(t.stream, n+1) })
		if err != nil && ctx.Err() == nil { // at the end, what is under way is not waited for
			f.mu.Lock()
			for i := range uint32(2) {
				if !t.to.tap.got(t.stream, n+i) {
					f.lost++
					f.missed = fmt.Sprintf("%+v, packet %d", t.flow, n+i)
				}
			}
			f.mu.Unlock()
		}
	}
	f.mu.Lock()
	f.rounds++
	f.mu.Unlock()
	return nil
}

func (f *flood) progress() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rounds
}

// more waits until n more rounds are over.
func (f *flood) more(n int) error {
	until := f.progress() + n
	deadline := time.Now().Add(patience)
	for f.progress() < until {
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for %d rounds of packets: %d are missing after %v", n, until-f.progress(), patience)
		}
		pause(f.rig.t.Context(), time.Millisecond)
	}
	return nil
}

func (f *flood) end() {
	f.cancel()
	<-f.done
}

// outcome is what became of a flood.
type outcome struct {
	good, lost  int
	bad, leaked int
	missed      string
}

func (o outcome) String() string {
	return fmt.Sprintf("%d of %d allowed packets lost, %d of %d denied packets leaked", o.lost, o.good, o.leaked, o.bad)
}

// stop ends the flood and counts.
func (f *flood) stop() (outcome, error) {
	f.end()
	for _, t := range append(f.good, f.bad...) {
		f.rig.sentinel(f.rig.t.Context(), t.from, t.to, packet{Flow: t.flow}.family())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := outcome{good: 2 * f.rounds * len(f.good), bad: 4 * f.rounds * len(f.bad), lost: f.lost, missed: f.missed}
	for _, t := range f.bad {
		out.leaked += t.to.tap.count(t.stream)
	}
	return out, f.err
}

// clean ends the flood and fails the test if anything leaked or was lost, or next to nothing was sent.
func (w *world) clean(f *flood) {
	w.t.Helper()
	o, err := f.stop()
	if err != nil {
		w.t.Errorf("send packets: %v", err)
	}
	w.t.Log(o)
	if o.leaked > 0 {
		w.t.Errorf("%d denied packets leaked", o.leaked)
	}
	if o.lost > 0 {
		w.t.Errorf("%d allowed packets were lost, one of them %s; %s", o.lost, o.missed, w.rig.drops())
	}
	if f.progress() < 20 {
		w.t.Errorf("only %d rounds of packets", f.progress())
	}
}
