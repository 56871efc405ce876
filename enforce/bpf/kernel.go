//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// capacity is the size of the maps, in elements. Apply fails with errFull where it is exceeded; Sync then doubles it.
type capacity struct {
	hosts, prefixes, cells, subjects, segments, rules uint32
	flows                                             uint32
}

// flowsOfProcessor is FLOWS of layout.h. A smaller map remembers less, and one of a single element next to nothing.
const flowsOfProcessor = 512

// least is what costs about 5 MiB, and is room for some thousand pods.
func least() capacity {
	return capacity{hosts: 1 << 15, prefixes: 1 << 15, cells: 1 << 16, subjects: 1 << 10, segments: 1 << 16, rules: 1 << 12, flows: flowsOfProcessor}
}

// capacityFor leaves as much room again as t takes.
func capacityFor(t *tables) capacity {
	least := least()
	room := func(least uint32, n int) uint32 { return max(least, 1<<bits.Len32(uint32(2*n-1))) }
	return capacity{
		hosts:    room(least.hosts, len(t.hosts)),
		prefixes: room(least.prefixes, len(t.prefixes)),
		cells:    room(least.cells, t.cellCount()),
		subjects: room(least.subjects, int(t.places.next)),
		segments: room(least.segments, int(t.segments.next)),
		rules:    room(least.rules, int(t.maxRule())+1),
		flows:    least.flows,
	}
}

// kernel is one program with its maps. They are made together, and replaced together.
type kernel struct {
	judgeObjects
}

// load makes a program with empty maps that judges nothing. events is the ring buffer it writes to.
func load(c capacity, events *ebpf.Map, o Options) (*kernel, error) {
	l, err := o.limits()
	if err != nil {
		return nil, err
	}
	spec, err := loadJudge()
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	for name, n := range map[string]uint32{
		judgeMapHosts: c.hosts, judgeMapPrefixes: c.prefixes, judgeMapCells: c.cells,
		judgeMapSubjects: c.subjects, judgeMapSegments: c.segments, judgeMapHits: c.rules, judgeMapFlows: c.flows,
		judgeMapEvents: events.MaxEntries(),
	} {
		spec.Maps[name].MaxEntries = n
	}
	for name, value := range map[string]uint64{judgeVarEventCost: l.cost(), judgeVarEventBurst: l.burst()} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	// x86 does not reorder loads (Intel SDM 3A 10.2.2), which spares two full barriers a packet.
	if err := spec.Variables[judgeVarLoadsAreOrdered].Set(runtime.GOARCH == "amd64"); err != nil {
		return nil, fmt.Errorf("set %s: %w", judgeVarLoadsAreOrdered, err)
	}
	k := &kernel{}
	options := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{judgeMapEvents: events}}
	if err := spec.LoadAndAssign(&k.judgeObjects, &options); err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	return k, nil
}

// newEvents makes a ring buffer of size bytes, a power of two and of the page size.
func newEvents(size uint32) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: judgeMapEvents, Type: ebpf.RingBuf, MaxEntries: size})
	if err != nil {
		return nil, fmt.Errorf("make ring buffer: %w", err)
	}
	return m, nil
}

// write does all of a change. After an error the packets are judged by the state before or by the state after it.
func (k *kernel) write(c *change) error {
	for _, s := range c.segments {
		if err := k.putSegments(s); err != nil {
			return err
		}
	}
	for _, s := range c.subjects {
		if err := k.Subjects.Put(s.place, s.value); err != nil {
			return fmt.Errorf("write subject: %w", err)
		}
	}
	if err := k.resetHits(c); err != nil {
		return err
	}
	if err := errors.Join(
		put(k.Hosts, c.hosts, func(v hostValue) (addressKey, hostValue) { return v.Key, v }),
		put(k.Cells, c.cells, func(v cellValue) (cellKey, cellValue) { return v.Key, v }),
		put(k.Prefixes, c.prefixes, func(v prefixChange) (prefixKey, prefixValue) { return v.key, v.value }),
	); err != nil {
		return err
	}
	if err := k.Generation.Put(uint32(0), c.generation); err != nil {
		return fmt.Errorf("raise generation: %w", err)
	}
	return errors.Join(drop(k.Hosts, c.goneHosts), drop(k.Cells, c.goneCells), drop(k.Prefixes, c.gonePrefixes))
}

func (k *kernel) putSegments(s placed) error {
	if len(s.segments) == 1 {
		if err := k.Segments.Put(s.first, s.segments[0]); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
		return nil
	}
	keys := make([]uint32, len(s.segments))
	for i := range keys {
		keys[i] = s.first + uint32(i)
	}
	if _, err := k.Segments.BatchUpdate(keys, s.segments, nil); err != nil {
		return fmt.Errorf("write segments: %w", err)
	}
	return nil
}

// resetHits lets the counters of new rules start from nothing: their IDs may have been those of others.
func (k *kernel) resetHits(c *change) error {
	if len(c.rules) == 0 || c.generation == 1 {
		return nil
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count processors: %w", err)
	}
	zero := make([]uint64, cpus)
	for _, id := range c.rules {
		if err := k.Hits.Put(uint32(id), zero); err != nil {
			return fmt.Errorf("reset hits: %w", err)
		}
	}
	return nil
}

// few is up to how many elements are written one by one.
const few = 4

func put[E, K, V any](m *ebpf.Map, elements []E, split func(E) (K, V)) error {
	keys, values := make([]K, len(elements)), make([]V, len(elements))
	for i, e := range elements {
		keys[i], values[i] = split(e)
	}
	if len(keys) > few {
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("write %s: %w", m, fullness(err))
		}
		return nil
	}
	for i := range keys {
		if err := m.Put(&keys[i], &values[i]); err != nil {
			return fmt.Errorf("write %s: %w", m, fullness(err))
		}
	}
	return nil
}

func drop[K any](m *ebpf.Map, keys []K) error {
	for i := range keys {
		if err := m.Delete(&keys[i]); err != nil {
			return fmt.Errorf("delete from %s: %w", m, err)
		}
	}
	return nil
}

// fullness names what hash maps (E2BIG) and tries (ENOSPC) say when they have no room.
func fullness(err error) error {
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	return err
}
