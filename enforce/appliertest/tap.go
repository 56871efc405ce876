package appliertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tap is a packet socket on an interface of a namespace: it sends packets as they are made and records every marked packet
// that comes in. A packet of a stream (see flood) is only counted.
type tap struct {
	name    string
	file    *os.File
	raw     func(func(fd int)) error
	ifindex int
	gateway [6]byte

	mu      sync.Mutex
	changed chan struct{} // closed and made anew with every packet
	seen    map[uint64][]capture
	streams map[uint32]*stream
}

// stream counts the packets of one flood by their number.
type stream struct {
	arrived map[uint32]bool
}

// A packet's id: the number of its stream in the upper half, 0 for none.
func streamID(stream uint32, number uint32) uint64 { return uint64(stream)<<32 | uint64(number) }

// newTap opens a tap on the named interface; frames go to the gateway's hardware address.
func newTap(t testing.TB, n *namespace, link string, index int, gateway net.HardwareAddr) *tap {
	t.Helper()
	p := &tap{
		name: n.name, ifindex: index, gateway: [6]byte(gateway), changed: make(chan struct{}),
		seen: map[uint64][]capture{}, streams: map[uint32]*stream{},
	}
	n.must(t, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		p.file = os.NewFile(uintptr(fd), "tap "+n.name)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return fmt.Errorf("set receive buffer: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("ignore outgoing packets: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire(unix.ETH_P_ALL), Ifindex: index}); err != nil {
			return fmt.Errorf("bind to %s: %w", link, err)
		}
		conn, err := p.file.SyscallConn()
		if err != nil {
			return fmt.Errorf("take socket: %w", err)
		}
		p.raw = func(f func(int)) error { return conn.Control(func(fd uintptr) { f(int(fd)) }) }
		return nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.listen()
	}()
	t.Cleanup(func() {
		if err := p.file.Close(); err != nil {
			t.Errorf("close tap of %s: %v", n.name, err)
		}
		<-done
	})
	return p
}

// wire swaps to network byte order, which packet sockets want on this machine's.
func wire(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

func (p *tap) listen() {
	buffer := make([]byte, 65536)
	for {
		n, err := p.file.Read(buffer)
		if err != nil {
			return // closed
		}
		p.record(buffer[:n])
	}
}

func (p *tap) record(b []byte) {
	c, ok := dissect(b)
	at := bytes.Index(b, []byte("SAGUARD:"))
	if !ok || at < 0 || len(b) < at+markerLength {
		return
	}
	c.ids = binary.BigEndian.Uint64(b[at+8:])
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.streams[uint32(c.ids>>32)]; s != nil {
		s.arrived[uint32(c.ids)] = true
	} else {
		p.seen[c.ids] = append(p.seen[c.ids], c)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// send sends a packet in all its fragments.
func (p *tap) send(what packet) error {
	for _, b := range what.build() {
		if err := p.sendRaw(b); err != nil {
			return err
		}
	}
	return nil
}

func (p *tap) sendRaw(b []byte) error {
	protocol := uint16(unix.ETH_P_IP)
	if b[0]>>4 == 6 {
		protocol = unix.ETH_P_IPV6
	}
	to := &unix.SockaddrLinklayer{Protocol: wire(protocol), Ifindex: p.ifindex, Halen: 6}
	copy(to.Addr[:], p.gateway[:])
	deadline := time.Now().Add(patience)
	for {
		var sent error
		if err := p.raw(func(fd int) { sent = unix.Sendto(fd, b, 0, to) }); err != nil {
			return fmt.Errorf("send from %s: %w", p.name, err)
		}
		if sent == nil {
			return nil
		}
		if (sent != unix.ENOBUFS && sent != unix.EAGAIN) || time.Now().After(deadline) {
			return fmt.Errorf("send from %s: %w", p.name, sent)
		}
	}
}

// arrivals returns what came in with that id, from and to those addresses where they are valid.
func (p *tap) arrivals(id uint64, from, to netip.Addr) []capture {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []capture
	for _, c := range p.seen[id] {
		if (!from.IsValid() || c.source == from) && (!to.IsValid() || c.destination == to) {
			out = append(out, c)
		}
	}
	return out
}

// wait ends when met says so, which is asked again after every packet, or with an error after d.
func (p *tap) wait(ctx context.Context, d time.Duration, met func() bool) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if met() {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			if met() {
				return nil
			}
			return fmt.Errorf("wait at %s: nothing for %v", p.name, d)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open starts counting a stream.
func (p *tap) open(stream32 uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams[stream32] = &stream{arrived: map[uint32]bool{}}
}

func (p *tap) got(stream uint32, number uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams[stream].arrived[number]
}

func (p *tap) count(stream uint32) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams[stream].arrived)
}
