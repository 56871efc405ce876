//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls here are raw: a thread that waits for a packet does so in the kernel, as a program in C would, and Go's scheduler knows
// nothing of it. So nothing here may wait for longer than wait, and the collector has to be off meanwhile.
const wait = 3 * time.Second

var errTimeout = errors.New("no packet came")

func raw(trap, a, b, c uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(trap, a, b, c)
		switch {
		case errno == 0:
			return int(n), nil
		case errno == unix.EAGAIN:
			return 0, errTimeout
		case errno != unix.EINTR:
			return 0, errno
		}
	}
}

func receive(fd int, into []byte) error {
	n, err := raw(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)))
	if err == nil && n == 0 {
		return unix.ECONNRESET
	}
	return err
}

func send(fd int, what []byte) error {
	_, err := raw(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&what[0])), uintptr(len(what)))
	return err
}

func closeSocket(fd int) error {
	_, err := raw(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return err
}

func socket(kind, protocol int) (int, error) {
	return raw(unix.SYS_SOCKET, unix.AF_INET, uintptr(kind), uintptr(protocol))
}

// sockaddr is struct sockaddr_in.
func sockaddr(ip string, port uint16) *[16]byte {
	var s [16]byte
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
	binary.BigEndian.PutUint16(s[2:], port)
	a := netip.MustParseAddr(ip).As4()
	copy(s[4:], a[:])
	return &s
}

func connect(fd int, to *[16]byte) error {
	_, err := raw(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), 16)
	if errors.Is(err, unix.EINPROGRESS) {
		return errTimeout
	}
	return err
}

func accept(fd int) (int, error) { return raw(unix.SYS_ACCEPT, uintptr(fd), 0, 0) }

// bound makes a socket with an address. New connections of a listener inherit its times and options.
func bound(kind int, ip string, port uint16) (int, error) {
	fd, err := socket(kind, 0)
	if err != nil {
		return 0, fmt.Errorf("make socket: %w", err)
	}
	t := unix.NsecToTimeval(wait.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: netip.MustParseAddr(ip).As4()}),
	)
	if err == nil && kind == unix.SOCK_STREAM {
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.Listen(fd, 128))
	}
	if err != nil {
		return 0, fmt.Errorf("set socket on %s:%d up: %w", ip, port, errors.Join(err, unix.Close(fd)))
	}
	return fd, nil
}

// processorTime is that of the calling thread.
func processorTime() time.Duration {
	var t unix.Timespec
	_, errno := raw(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&t)), 0)
	if errno != nil {
		return 0 // cannot fail with this clock; a time of 0 fails the slice
	}
	return time.Duration(t.Nano())
}

// The ports of pod b: what policy allows a, and what it does not.
const (
	allowedPort = 5000
	deniedPort  = 6000
	clientPort  = 4999
	signalPort  = 4998
	window      = 32 // datagrams for one answer
)

// ends are the sockets of a trio that last. The last datagram of a window goes from signal to signalled, where the server
// waits; the others wait for the server at udp. So it is woken once a window: if it waited for each, how often the scheduler
// changes between the two would be part of the figure, and that differs more than the rules do.
type ends struct {
	*trio
	listener, other, udp, signalled, client, signal, raw int
	last                                                 uint16 // source port of a new flow
}

func newEnds(t *trio) (*ends, error) {
	e := &ends{trio: t}
	err := t.b.do(func() (err error) {
		if e.listener, err = bound(unix.SOCK_STREAM, addressB, allowedPort); err != nil {
			return err
		}
		if e.other, err = bound(unix.SOCK_STREAM, addressB, deniedPort); err != nil {
			return err
		}
		if e.udp, err = bound(unix.SOCK_DGRAM, addressB, allowedPort); err != nil {
			return err
		}
		if e.signalled, err = bound(unix.SOCK_DGRAM, addressB, allowedPort); err != nil {
			return err
		}
		return connect(e.signalled, sockaddr(addressA, signalPort))
	})
	if err != nil {
		return nil, err
	}
	return e, t.a.do(func() (err error) {
		if e.client, err = bound(unix.SOCK_DGRAM, addressA, clientPort); err != nil {
			return err
		}
		if err := connect(e.client, sockaddr(addressB, allowedPort)); err != nil {
			return err
		}
		if e.signal, err = bound(unix.SOCK_DGRAM, addressA, signalPort); err != nil {
			return err
		}
		if err := connect(e.signal, sockaddr(addressB, allowedPort)); err != nil {
			return err
		}
		if e.raw, err = socket(unix.SOCK_RAW, unix.IPPROTO_RAW); err != nil {
			return fmt.Errorf("make raw socket: %w", err)
		}
		return connect(e.raw, sockaddr(addressB, 0))
	})
}

// dial connects a to b, waiting no longer than limit.
func (e *ends) dial(port uint16, limit time.Duration) (int, error) {
	fd, err := socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	t := unix.NsecToTimeval(limit.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err == nil {
		err = connect(fd, sockaddr(addressB, port))
	}
	if err != nil {
		return 0, errors.Join(err, closeSocket(fd))
	}
	return fd, nil
}

// passes reports whether a TCP connection of a to a port of b comes about.
func (e *ends) passes(port uint16) bool {
	err := e.a.do(func() error {
		fd, err := e.dial(port, 300*time.Millisecond)
		if err != nil {
			return err
		}
		return closeSocket(fd)
	})
	if err != nil {
		return false
	}
	listener := e.listener
	if port == deniedPort {
		listener = e.other
	}
	return e.b.do(func() error {
		fd, err := accept(listener)
		if err != nil {
			return err
		}
		return closeSocket(fd)
	}) == nil
}

// workload is one kind of traffic: what the client and the server do for n operations. Each returns its processor time.
type workload struct {
	name           string
	n              int
	client, server func(e *ends, n int) (time.Duration, error)
}

func workloads() []workload {
	return []workload{
		{"tcpEstablished", 1200, askOften, answerOften},
		{"tcpNew", 250, askAnew, answerAnew},
		{"udpEstablished", 3200, stream, answerBoth},
		{"udpNew", 1600, scatter, sink},
	}
}

// askOften asks n times on one connection.
func askOften(e *ends, n int) (time.Duration, error) {
	fd, err := e.dial(allowedPort, wait)
	if err != nil {
		return 0, err
	}
	begin, one := processorTime(), make([]byte, 1)
	for range n {
		if err = errors.Join(send(fd, one), receive(fd, one)); err != nil {
			break
		}
	}
	return processorTime() - begin, errors.Join(err, closeSocket(fd))
}

func answerOften(e *ends, n int) (time.Duration, error) {
	fd, err := accept(e.listener)
	if err != nil {
		return 0, err
	}
	begin, one := processorTime(), make([]byte, 1)
	for range n {
		if err = errors.Join(receive(fd, one), send(fd, one)); err != nil {
			break
		}
	}
	return processorTime() - begin, errors.Join(err, closeSocket(fd))
}

// askAnew asks once on each of n connections. Whoever was asked closes first.
func askAnew(e *ends, n int) (time.Duration, error) {
	begin, one := processorTime(), make([]byte, 1)
	for range n {
		fd, err := e.dial(allowedPort, wait)
		if err != nil {
			return 0, err
		}
		err = errors.Join(send(fd, one), receive(fd, one))
		if _, end := raw(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&one[0])), 1); end != nil && err == nil {
			err = end
		}
		if err := errors.Join(err, closeSocket(fd)); err != nil {
			return 0, err
		}
	}
	return processorTime() - begin, nil
}

func answerAnew(e *ends, n int) (time.Duration, error) {
	begin, one := processorTime(), make([]byte, 1)
	for range n {
		fd, err := accept(e.listener)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(receive(fd, one), send(fd, one), closeSocket(fd)); err != nil {
			return 0, err
		}
	}
	return processorTime() - begin, nil
}

// stream sends n datagrams, those of a window on one flow, which is answered too: what never was is not established.
func stream(e *ends, n int) (time.Duration, error) {
	one, sent := make([]byte, 1), 0
	return e.inWindows(n, func() error {
		if sent++; sent > window-1 && sent%(window-1) == 1 { // the answers to both flows have come
			if err := receive(e.client, one); err != nil {
				return err
			}
		}
		return send(e.client, one)
	})
}

// inWindows sends n datagrams, the last of each window on the flow that is answered, and waits for that.
func (e *ends) inWindows(n int, datagram func() error) (time.Duration, error) {
	begin, one := processorTime(), make([]byte, 1)
	for i := range n {
		if (i+1)%window != 0 {
			if err := datagram(); err != nil {
				return 0, err
			}
			continue
		}
		if err := errors.Join(send(e.signal, one), receive(e.signal, one)); err != nil {
			return 0, err
		}
	}
	return processorTime() - begin, nil
}

// scatter sends n datagrams, each but the last of a window on a flow of its own.
func scatter(e *ends, n int) (time.Duration, error) {
	datagram := make([]byte, 20+8+1) // what is 0 is filled in by the kernel, or needs no value (raw(7), RFC 768)
	datagram[0], datagram[8], datagram[9] = 0x45, 64, unix.IPPROTO_UDP
	from, to := netip.MustParseAddr(addressA).As4(), netip.MustParseAddr(addressB).As4()
	copy(datagram[12:], from[:])
	copy(datagram[16:], to[:])
	binary.BigEndian.PutUint16(datagram[22:], allowedPort)
	binary.BigEndian.PutUint16(datagram[24:], 8+1)
	return e.inWindows(n, func() error {
		if e.last++; e.last < 10_000 {
			e.last = 10_000
		}
		binary.BigEndian.PutUint16(datagram[20:], e.last)
		return send(e.raw, datagram)
	})
}

// sink takes datagrams, those of a window when the last of it has come, and answers that.
func sink(e *ends, n int) (time.Duration, error) {
	return e.takeWindows(n, func([]byte) error { return nil })
}

// answerBoth also answers the other flow of each window.
func answerBoth(e *ends, n int) (time.Duration, error) {
	to := sockaddr(addressA, clientPort)
	return e.takeWindows(n, func(what []byte) error {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(e.udp), uintptr(unsafe.Pointer(&what[0])), uintptr(len(what)), 0, uintptr(unsafe.Pointer(to)), 16)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

func (e *ends) takeWindows(n int, answer func([]byte) error) (time.Duration, error) {
	begin, one := processorTime(), make([]byte, 1)
	for range n / window {
		if err := receive(e.signalled, one); err != nil {
			return 0, err
		}
		for range window - 1 {
			if err := receive(e.udp, one); err != nil { // one that is lost is an error after a while
				return 0, err
			}
		}
		if err := errors.Join(answer(one), send(e.signalled, one)); err != nil {
			return 0, err
		}
	}
	return processorTime() - begin, nil
}

// drain forgets what an earlier slice that failed left.
func (e *ends) drain() error {
	empty := func(fd int) error {
		buffer := make([]byte, 1)
		for {
			_, _, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("drain: %w", err)
			}
		}
	}
	for {
		if err := unix.SetNonblock(e.listener, true); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		fd, err := accept(e.listener)
		if again := unix.SetNonblock(e.listener, false); again != nil {
			return fmt.Errorf("drain: %w", again)
		}
		if errors.Is(err, errTimeout) {
			break
		}
		if err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		if err := closeSocket(fd); err != nil {
			return err
		}
	}
	return errors.Join(empty(e.udp), empty(e.signalled), empty(e.client), empty(e.signal))
}
