package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// What the netfilter log subsystem calls things (uapi/linux/netfilter/nfnetlink_log.h).
const (
	nflogPacket  = unix.NFNL_SUBSYS_ULOG << 8
	nflogConfig  = unix.NFNL_SUBSYS_ULOG<<8 | 1
	configCmd    = 1
	configMode   = 2
	configQueue  = 5
	configFlags  = 6
	cmdBind      = 1
	copyPacket   = 2
	flagSequence = 1

	attrPayload  = 9
	attrPrefix   = 10
	attrSequence = 12
)

// copied is how much of a packet is looked at: the headers, also with some of IPv6's extensions.
const copied = 256

// listener has the sockets for reports: one of the log group, one to read how many were held back.
type listener struct {
	group  uint16
	log    *netlink.Conn
	kernel *kernel
}

// listen opens the sockets in the network namespace of the calling thread. The group is not bound yet.
func listen(group uint16) (*listener, error) {
	k, err := dial()
	if err != nil {
		return nil, err
	}
	log, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log socket: %w", err), k.close())
	}
	return &listener{group: group, log: log, kernel: k}, nil
}

func (l *listener) close() error { return errors.Join(l.log.Close(), l.kernel.close()) }

// bind makes this socket the group's listener.
func (l *listener) bind() error {
	configure := func(kind uint16, data []byte) error {
		a := &attributes{data: binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, l.group)}
		a.raw(kind, data)
		_, err := l.log.Execute(netlink.Message{
			Header: netlink.Header{Type: nflogConfig, Flags: netlink.Request | netlink.Acknowledge}, Data: a.data,
		})
		return err
	}
	mode := append(binary.BigEndian.AppendUint32(nil, copied), copyPacket, 0)
	if err := configure(configCmd, []byte{cmdBind}); err != nil {
		return fmt.Errorf("listen to log group %d: %w", l.group, err)
	}
	err := errors.Join(
		configure(configMode, mode),
		configure(configFlags, binary.BigEndian.AppendUint16(nil, flagSequence)),
		configure(configQueue, binary.BigEndian.AppendUint32(nil, 1)))
	if err != nil {
		return fmt.Errorf("set up log group %d: %w", l.group, err)
	}
	return nil
}

// Watch implements enforce.Applier.
func (a *Applier) Watch(ctx context.Context, report func(enforce.Event)) error {
	if a.watched.Swap(true) {
		return errors.New("packets are watched already")
	}
	l := a.events
	if err := l.bind(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// What cannot be woken ends with Close.
		_ = l.log.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // there is nobody to tell
	})
	defer stop()
	count := losses{}
	count.held(l.heldBack())
	for {
		messages, err := l.log.Receive()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the deadline's error says what ctx says
		case errors.Is(err, unix.ENOBUFS):
			continue // the sequence tells how many
		case err != nil:
			return fmt.Errorf("receive packets: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != nflogPacket || len(m.Data) < 4 {
				continue
			}
			events, sequence := eventsOf(m.Data[4:], time.Now())
			count.arrived(sequence)
			if len(events) == 0 {
				continue
			}
			count.held(l.heldBack())
			events[0].Lost = count.take()
			for _, e := range events {
				report(e)
			}
		}
	}
}

// heldBack is how many packets the limit has kept from being reported; ok is false while there is no table.
func (l *listener) heldBack() (n uint64, ok bool) {
	data, err := l.kernel.object(lostCounter, objectCount)
	if err != nil {
		return 0, false
	}
	return number(data, unix.NFTA_COUNTER_PACKETS)
}

// losses counts the events that were not reported.
type losses struct {
	lost, before uint64
	next         uint32
	started      bool
}

// held notes the counter of those that were held back. One that is smaller than before is that of a new table.
func (l *losses) held(n uint64, ok bool) {
	if !ok {
		return
	}
	if n < l.before {
		l.before = 0
	}
	if l.started {
		l.lost += n - l.before
	}
	l.before, l.started = n, true
}

// arrived notes the number of a report; those that are missing before it were dropped on the way.
func (l *losses) arrived(sequence uint32) {
	l.lost += uint64(sequence - l.next)
	l.next = sequence + 1
}

func (l *losses) take() uint64 {
	n := l.lost
	l.lost = 0
	return n
}

// eventsOf reads a report: one event for a rule with action Log, and one for a denial. There is none if the report is not of
// our table.
func eventsOf(data []byte, now time.Time) (events []enforce.Event, sequence uint32) {
	n, _ := number(data, attrSequence)
	o, ok := outcomeOf(text(data, attrPrefix))
	if !ok {
		return nil, uint32(n)
	}
	payload, _ := find(data, attrPayload)
	event := enforce.Event{Time: now, Direction: o.direction, Allowed: o.allow, Flow: flowOf(payload)}
	if o.log != 0 {
		event.Rule = o.log
		events = append(events, event)
	}
	if !o.allow {
		event.Rule = o.rule
		events = append(events, event)
	}
	return events, uint32(n)
}

// flowOf reads a packet's headers. What is not there, or cannot be read, stays zero.
func flowOf(packet []byte) ruleset.Flow {
	var f ruleset.Flow
	var body []byte
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		f.Source, f.Destination = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		f.Protocol, body = packet[9], packet[min(len(packet), int(packet[0]&15)*4):]
		if binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
			return f // not the first fragment
		}
	case len(packet) >= 40 && packet[0]>>4 == 6:
		f.Source, f.Destination = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
		f.Protocol, body = skipExtensions(packet[6], packet[40:])
	default:
		return f
	}
	if !hasPorts(f.Protocol) || len(body) < 4 {
		return f
	}
	if isICMP(f.Protocol) {
		f.ICMPType, f.ICMPCode = body[0], body[1]
		return f
	}
	f.SourcePort, f.Port = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	return f
}

// skipExtensions walks IPv6's extension headers (RFC 8200 section 4) up to the transport header.
func skipExtensions(next byte, body []byte) (protocol byte, rest []byte) {
	for len(body) >= 8 {
		size := 8 + int(body[1])*8
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
		case unix.IPPROTO_FRAGMENT:
			size = 8
			if binary.BigEndian.Uint16(body[2:])&^7 != 0 {
				return body[0], nil // not the first fragment
			}
		default:
			return next, body
		}
		next, body = body[0], body[min(len(body), size):]
	}
	return next, body
}

// packets reads the counter of a rule.
func packets(expressions []byte) uint64 {
	var n uint64
	for data := expressions; len(data) >= 4; {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return n
		}
		if body, ok := find(data[4:size], unix.NFTA_EXPR_DATA); ok && strings.HasPrefix(text(data[4:size], unix.NFTA_EXPR_NAME), "counter") {
			count, _ := number(body, unix.NFTA_COUNTER_PACKETS)
			n += count
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return n
}
