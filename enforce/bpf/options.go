//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
)

// Options say where and how the program is attached. The zero value is for production.
type Options struct {
	// Dir is where links and maps are pinned, on a BPF file system: its parent is mounted as one if it is not, and it may be.
	// Each network namespace needs its own. Empty is /sys/fs/bpf/saguard.
	Dir string
	// Priority is where on the hook the program is attached, in [Priority, Priority+16): lower is earlier. 0 is -60, which is
	// before the tables of type filter (0) and behind mangle (-150) (linux/netfilter_ipv4.h).
	Priority int32
	// EventsPerSecond is how many packets are reported to Watch at most, all processors together, over some seconds.
	// 0 is 1000.
	EventsPerSecond int
	// EventBuffer is the size of the ring buffer in bytes, a power of two and at least a page. 0 is 256 KiB.
	EventBuffer int
}

// The defaults of [Options].
const (
	DefaultDir             = "/sys/fs/bpf/saguard"
	DefaultPriority        = -60
	DefaultEventsPerSecond = 1000
	DefaultEventBuffer     = 256 << 10
)

// priorities is how many different priorities the sets of maps take in turn.
const priorities = 16

func (o Options) complete() (Options, error) {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Priority == 0 {
		o.Priority = DefaultPriority
	}
	if o.EventsPerSecond == 0 {
		o.EventsPerSecond = DefaultEventsPerSecond
	}
	if o.EventBuffer == 0 {
		o.EventBuffer = DefaultEventBuffer
	}
	switch {
	case !filepath.IsAbs(o.Dir) || filepath.Clean(o.Dir) != o.Dir || o.Dir == "/":
		return o, fmt.Errorf("dir %q: want a clean absolute path", o.Dir)
	case o.EventsPerSecond < 0:
		return o, errors.New("events per second: want at least 1")
	case o.EventBuffer < os.Getpagesize() || bits.OnesCount(uint(o.EventBuffer)) != 1 || o.EventBuffer > 1<<30:
		return o, fmt.Errorf("event buffer of %d bytes: want a power of two between a page and 1 GiB", o.EventBuffer)
	}
	return o, nil
}

// limits are the rate limit of events on one processor.
type limits struct{ perSecond int }

func (o Options) limits() (limits, error) {
	processors, err := ebpf.PossibleCPU()
	if err != nil {
		return limits{}, fmt.Errorf("count processors: %w", err)
	}
	return limits{perSecond: max(1, o.EventsPerSecond/processors)}, nil
}

// cost is the time in nanoseconds in which one event may be reported.
func (l limits) cost() uint64 { return uint64(time.Second) / uint64(l.perSecond) }

// saved is how many events may be reported at once after a time of rest: with many processors, each has little in a second.
const saved = 16

// burst is the time in nanoseconds that may be saved up.
func (l limits) burst() uint64 { return saved * l.cost() }
