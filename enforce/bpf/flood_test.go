//go:build linux

package bpf

import (
	"net"
	"net/netip"
	"time"
)

// flood sends datagrams to port 5000 of b, of a, to which each is answered, and of c, to which none is. The function that it
// returns ends it, and reports what was wrong.
func (r *rig) flood() (stop func()) {
	r.t.Helper()
	to := netip.AddrPortFrom(r.pods["b"].v4, 5000)
	done, wrong := make(chan struct{}), make(chan [2]int)
	senders := []struct {
		name string
		want bool
		wait time.Duration
	}{{name: "a", want: true, wait: 5 * patience}, {name: "c", wait: 10 * time.Microsecond}}
	for _, s := range senders {
		c, err := r.dial(s.name, "udp", to)
		r.must(err)
		go func() {
			defer c.Close()
			var n [2]int
			for {
				select {
				case <-done:
					wrong <- n
					return
				default:
				}
				n[0]++
				if answered(c, s.wait) != s.want {
					n[1]++
				}
			}
		}()
	}
	return func() {
		r.t.Helper()
		close(done)
		for range senders {
			n := <-wrong
			r.t.Logf("%d datagrams", n[0])
			if n[1] > 0 {
				r.t.Errorf("of %d datagrams, %d were dropped or let through wrongly", n[0], n[1])
			}
		}
	}
}

func answered(c net.Conn, wait time.Duration) bool {
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 16))
	return err == nil
}
