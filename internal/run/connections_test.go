package run

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// wire is a connection that remembers whether it was closed.
type wire struct {
	net.Conn
	closed bool
}

func (w *wire) Close() error {
	w.closed = true
	return nil
}

func TestConnectionsOfEachKindAreBoundedApart(t *testing.T) {
	const most = 2
	answer := []http.ConnState{http.StateNew, http.StateActive, http.StateIdle}
	type step struct {
		conn   int
		states []http.ConnState
	}
	cases := map[string]struct {
		steps []step
		// closed are the connections that had to go; open is how many are left.
		closed []int
		open   int
	}{
		"as many as there is room for": {
			steps: []step{{0, answer}, {1, answer}, {2, []http.ConnState{http.StateNew}}, {3, []http.ConnState{http.StateNew}}}, open: 4,
		},
		"of those that say nothing the first goes": {
			steps: []step{{0, []http.ConnState{http.StateNew}}, {1, []http.ConnState{http.StateNew}}, {2, []http.ConnState{http.StateNew}}}, closed: []int{0}, open: 2,
		},
		"one whose first request never ends goes like one that says nothing": {
			steps: []step{{0, answer[:2]}, {1, []http.ConnState{http.StateNew}}, {2, []http.ConnState{http.StateNew}}}, closed: []int{0}, open: 2,
		},
		"those that say nothing never push out one that was answered": {
			steps:  []step{{0, answer}, {1, []http.ConnState{http.StateNew}}, {2, []http.ConnState{http.StateNew}}, {3, []http.ConnState{http.StateNew}}, {4, []http.ConnState{http.StateNew}}},
			closed: []int{1, 2}, open: 3,
		},
		"of those that were answered the one whose answer is oldest goes": {
			steps:  []step{{0, answer}, {1, answer}, {0, answer[1:]}, {2, answer}},
			closed: []int{1}, open: 2,
		},
		"what ends makes room": {
			steps: []step{{0, []http.ConnState{http.StateNew}}, {1, []http.ConnState{http.StateNew}}, {0, []http.ConnState{http.StateClosed}}, {2, []http.ConnState{http.StateNew}}},
			open:  2,
		},
		"the end of what had to go changes nothing": {
			steps: []step{
				{0, []http.ConnState{http.StateNew}}, {1, []http.ConnState{http.StateNew}}, {2, []http.ConnState{http.StateNew}},
				{0, []http.ConnState{http.StateActive, http.StateIdle, http.StateClosed}},
			},
			closed: []int{0}, open: 2,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newConnections(most, time.Now)
			wires := make([]wire, 8)
			for _, s := range tc.steps {
				for _, state := range s.states {
					c.changed(&wires[s.conn], state)
				}
			}
			want := map[int]bool{}
			for _, n := range tc.closed {
				want[n] = true
			}
			for n := range wires {
				if wires[n].closed != want[n] {
					t.Errorf("connection %d: closed %t", n, wires[n].closed)
				}
			}
			if open, evicted := c.counts(); open != tc.open || evicted != len(tc.closed) {
				t.Errorf("%d open, %d evicted, want %d, %d", open, evicted, tc.open, len(tc.closed))
			}
		})
	}
}

func TestQuietMeansThatNothingWasAskedForAWhile(t *testing.T) {
	now := time.Unix(0, 0)
	c := newConnections(2, func() time.Time { return now })
	if !c.quiet(time.Second) {
		t.Error("without connections it is not quiet")
	}
	var w wire
	for _, step := range []struct {
		state http.ConnState
		after time.Duration
		quiet bool
	}{
		{http.StateNew, 0, false},
		{http.StateActive, 10 * time.Second, false},
		{http.StateIdle, 999 * time.Millisecond, false},
		{http.StateActive, 10 * time.Second, false},
		{http.StateIdle, time.Second, true},
		{http.StateClosed, 0, true},
	} {
		c.changed(&w, step.state)
		now = now.Add(step.after)
		if got := c.quiet(time.Second); got != step.quiet {
			t.Errorf("%s after %s: quiet %t", step.state, step.after, got)
		}
	}
}
