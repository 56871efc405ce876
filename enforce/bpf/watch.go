//go:build linux

package bpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Watch implements [enforce.Applier]. A packet that is denied by one rule and logged by another is two events. Of an allowed
// connection only the packets before the first answer are logged. Rule 0 denies what cannot be read: headers that are cut short,
// fragments, more than eight extension headers, IPv4 addresses in IPv6 headers.
func (a *Applier) Watch(ctx context.Context, report func(enforce.Event)) error {
	reader, err := ringbuf.NewReader(a.events)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	// Flush and not SetDeadline, which waits for the read to end.
	flushed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { flushed <- reader.Flush() })
	defer stop()
	var record ringbuf.Record
	for {
		err := reader.ReadInto(&record)
		if errors.Is(err, ringbuf.ErrFlushed) {
			err = errors.Join(ctx.Err(), <-flushed)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("watch events: %w", err), reader.Close())
		}
		event, err := decode(record.RawSample)
		if err != nil {
			return errors.Join(fmt.Errorf("watch events: %w", err), reader.Close())
		}
		report(event)
	}
}

func decode(raw []byte) (enforce.Event, error) {
	var v eventValue
	if _, err := binary.Decode(raw, binary.NativeEndian, &v); err != nil {
		return enforce.Event{}, fmt.Errorf("read event of %d bytes: %w", len(raw), err)
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return enforce.Event{}, fmt.Errorf("read clock: %w", err)
	}
	out := enforce.Event{
		Time:    time.Now().Add(time.Duration(int64(v.Time) - boot.Nano())),
		Allowed: v.Allowed != 0,
		Rule:    ruleset.RuleID(v.Rule),
		Flow:    ruleset.Flow{Source: v.Source.addr(), Destination: v.Destination.addr(), Protocol: v.Protocol},
		Lost:    v.Lost,
	}
	if v.Egress != 0 {
		out.Direction = ruleset.Egress
	}
	if v.Protocol == protocolICMP || v.Protocol == protocolICMPv6 {
		out.Flow.ICMPType, out.Flow.ICMPCode = uint8(v.Port>>8), uint8(v.Port)
	} else {
		out.Flow.Port, out.Flow.SourcePort = v.Port, v.SourcePort
	}
	return out, nil
}
