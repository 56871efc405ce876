package run

import (
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// wire is a connection that remembers whether it was closed.
type wire struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (w *wire) RemoteAddr() net.Addr { return w.from }

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
			for n := range wires {
				wires[n].from = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: n}
			}
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

// Each step is what one connection does: it comes, asks for the first time or again, is answered, or ends.
func TestTheClientWithMostConnectionsLosesOne(t *testing.T) {
	const most = 4
	comes, asks, answered, ends := http.StateNew, http.StateActive, http.StateIdle, http.StateClosed
	type step struct {
		conn  int
		state http.ConnState
	}
	// all is what several connections do, one after the other.
	all := func(states []http.ConnState, conns ...int) []step {
		var out []step
		for _, n := range conns {
			for _, s := range states {
				out = append(out, step{n, s})
			}
		}
		return out
	}
	silent, known := []http.ConnState{comes}, []http.ConnState{comes, asks, answered}
	const apiServer, other, third = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	cases := map[string]struct {
		// from is where each connection comes from; none is an address that is not of TCP.
		from   []string
		steps  []step
		closed []int
	}{
		"a flood of silent ones from one address loses its own, not the older one of another": {
			from:  []string{apiServer, other, other, other, other, other, other},
			steps: all(silent, 0, 1, 2, 3, 4, 5, 6), closed: []int{1, 2, 3},
		},
		"a flood of answered ones from one address loses its own, not the older one of another": {
			from:  []string{apiServer, other, other, other, other, other, other},
			steps: all(known, 0, 1, 2, 3, 4, 5, 6), closed: []int{1, 2, 3},
		},
		"a flood loses its own when another comes late": {
			from:  []string{other, other, other, other, apiServer, apiServer},
			steps: all(silent, 0, 1, 2, 3, 4, 5), closed: []int{0, 1},
		},
		"an API server that has most loses its own, and only that": {
			from:  []string{other, apiServer, apiServer, apiServer, apiServer, apiServer},
			steps: all(known, 0, 1, 2, 3, 4, 5), closed: []int{1, 2},
		},
		"of clients that have equally many the oldest goes": {
			from:  []string{other, apiServer, apiServer, other, third},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{0},
		},
		"of clients that have equally many the oldest goes, whoever that is": {
			from:  []string{apiServer, other, other, apiServer, third},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{0},
		},
		"clients with one each lose the oldest": {
			from:  []string{apiServer, "192.0.2.9", "192.0.2.8", "192.0.2.7", "192.0.2.6"},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{0},
		},
		"the addresses of an IPv6 /64 are one client": {
			from:  []string{"2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:1::4"},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{1},
		},
		"IPv6 addresses of several /64 are several clients": {
			from:  []string{"2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::2", "2001:db8:0:3::3", "2001:db8:0:4::4"},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{0},
		},
		"an IPv4 address in the form of IPv6 is the same client": {
			from:  []string{apiServer, "::ffff:192.0.2.2", other, "::ffff:192.0.2.3", "192.0.2.4"},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{1},
		},
		"IPv4 addresses that are close are several clients": {
			from:  []string{apiServer, other, third, "::ffff:192.0.2.4", "::ffff:192.0.2.5"},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{0},
		},
		"addresses that are not of TCP are one client": {
			from:  []string{apiServer, "", "", other, third},
			steps: all(silent, 0, 1, 2, 3, 4), closed: []int{1},
		},
		"an answered one that is asked again goes after those that are idle": {
			from:  []string{apiServer, apiServer, apiServer, apiServer, apiServer},
			steps: slices.Concat(all(known, 0, 1, 2, 3), []step{{0, asks}}, all(known, 4)), closed: []int{1},
		},
		"one that is asked for the first time keeps its turn": {
			from:  []string{other, other, other, other, other},
			steps: slices.Concat(all(silent, 0, 1, 2, 3), []step{{0, asks}}, all(silent, 4)), closed: []int{0},
		},
		"what a client has of the other kind does not count": {
			from:  []string{apiServer, apiServer, apiServer, other, other, apiServer, third, third},
			steps: slices.Concat(all(known, 0, 1, 2), all(silent, 3, 4, 5, 6, 7)), closed: []int{3},
		},
		"what has ended does not count": {
			from:  []string{other, other, other, apiServer, apiServer, third, third},
			steps: slices.Concat(all(silent, 0, 1, 2), all([]http.ConnState{ends}, 0, 1), all(silent, 3, 4, 5, 6)), closed: []int{3},
		},
		"what had to go does not count": {
			from: []string{other, other, other, apiServer, apiServer, third, third},
			// After the fifth, two each: 3 is younger than 1, which goes next.
			steps: all(silent, 0, 1, 2, 3, 4, 5, 6), closed: []int{0, 1, 3},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newConnections(most, time.Now)
			wires := make([]wire, len(tc.from))
			for n, from := range tc.from {
				wires[n].from = &net.UnixAddr{}
				if from != "" {
					wires[n].from = &net.TCPAddr{IP: net.ParseIP(from), Port: n}
				}
			}
			for _, s := range tc.steps {
				c.changed(&wires[s.conn], s.state)
			}
			var closed []int
			for n := range wires {
				if wires[n].closed {
					closed = append(closed, n)
				}
			}
			if !slices.Equal(closed, tc.closed) {
				t.Errorf("closed %v, want %v", closed, tc.closed)
			}
		})
	}
}

// Whatever connections do, the books agree with what there is, and nothing is held for clients that have none.
func TestBooksOfConnectionsAgreeWithWhatThereIs(t *testing.T) {
	const most, steps = 5, 20000
	random := rand.New(rand.NewPCG(1, 2))
	c := newConnections(most, time.Now)
	wires := make([]wire, 24)
	for n := range wires {
		wires[n].from = &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(n*n%7)), Port: n}
	}
	for range steps {
		w := &wires[random.IntN(len(wires))]
		state := http.StateNew
		if c.all[w] != nil {
			state = []http.ConnState{http.StateActive, http.StateIdle, http.StateClosed}[random.IntN(3)]
		}
		c.changed(w, state)
		open := 0
		for _, k := range []*kind{&c.strangers, &c.known} {
			each := map[netip.Prefix]int{}
			for _, entry := range c.all {
				if entry.in == k {
					each[entry.client]++
					open++
				}
			}
			if !maps.Equal(k.each, each) || k.order.Len() > most {
				t.Fatalf("after %s: %d in order, %v by client, want %v", state, k.order.Len(), k.each, each)
			}
		}
		if open != c.strangers.order.Len()+c.known.order.Len() {
			t.Fatalf("after %s: %d and %d in order of %d", state, c.strangers.order.Len(), c.known.order.Len(), open)
		}
	}
	if c.evicted < steps/100 {
		t.Errorf("only %d had to go", c.evicted)
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
