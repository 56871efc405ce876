//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
)

// Verify implements [enforce.Applier]: it reads every element of every map. The cost is that of some milliseconds for ten
// thousand pods.
func (a *Applier) Verify(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if a.tables == nil || a.broken {
		return fmt.Errorf("verify: %w", errNotSynced)
	}
	for _, check := range []func() error{a.verifyPins, a.verifyHooks, a.verifyConntrack, a.verifyContents} {
		if err := check(); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

func (a *Applier) verifyContents() error {
	for _, check := range []func() error{a.verifyGeneration, a.forgetFlows, a.verifySegments, a.verifySubjects, a.verifyHosts, a.verifyCells,
		a.verifyPrefixes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func drift(format string, args ...any) error {
	return &enforce.Drift{What: fmt.Sprintf(format, args...)}
}

// verifyPins: what is pinned is what outlives this process.
func (a *Applier) verifyPins() error {
	for i, f := range families() {
		path := filepath.Join(a.set.dir, f.pin)
		pinned, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return drift("link %s: %v", path, err)
		}
		have, err1 := pinned.Info()
		want, err2 := a.set.links[i].Info()
		if err := errors.Join(err1, err2, pinned.Close()); err != nil {
			return fmt.Errorf("look at link: %w", err)
		}
		if have.ID != want.ID {
			return drift("link %s is not the one that was pinned", path)
		}
	}
	names, err := setNames(a.options.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != filepath.Base(a.set.dir) {
			return drift("set %s was pinned by somebody else", name)
		}
	}
	return nil
}

// verifyHooks: a link whose hook was detached looks like any other, but its priority is free again.
func (a *Applier) verifyHooks() error {
	for _, f := range families() {
		l, err := attach(a.set.Forward, f.family, a.set.priority)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look whether the program is attached: %w", err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close link: %w", err)
		}
		return drift("the program is detached from %s", f.pin)
	}
	return nil
}

func (a *Applier) verifyConntrack() error {
	on, err := conntrackIsOn()
	if err != nil {
		return err
	}
	if !on {
		return drift("table inet %s is gone or changed", conntrackTable)
	}
	return nil
}

func (a *Applier) verifyGeneration() error {
	now, err := a.set.now()
	if err != nil {
		return err
	}
	if now != a.tables.generation {
		return drift("generation is %d, not %d", now, a.tables.generation)
	}
	return nil
}

// forgetFlows begins a generation in which nothing is different: what is remembered of flows holds for the one before. Nobody
// but the program has business in that map, and what others wrote there is not believed for longer than until the next Verify.
func (a *Applier) forgetFlows() error {
	a.tables.generation++
	if err := a.set.Generation.Put(uint32(0), a.tables.generation); err != nil {
		a.broken = true
		return fmt.Errorf("raise generation: %w", err)
	}
	return nil
}

func (a *Applier) verifySegments() error {
	all := make([]segment, a.tables.segments.next)
	if err := readArray(a.set.Segments, all); err != nil {
		return err
	}
	for id, r := range a.tables.rows {
		if a.tables.sum(all[r.ref.First:r.ref.First+r.size]) != r.sum {
			return drift("row %d is changed", id)
		}
	}
	return nil
}

func (a *Applier) verifySubjects() error {
	all := make([]subjectValue, a.tables.places.next)
	if err := readArray(a.set.Subjects, all); err != nil {
		return err
	}
	for value, r := range a.tables.records {
		if all[r.place] != value {
			return drift("subject %d is changed", r.place)
		}
	}
	return nil
}

func (a *Applier) verifyHosts() error {
	return readAll(a.set.Hosts, len(a.tables.hosts), func(key addressKey, v hostValue) error {
		identity, subject := v.current(a.tables.generation)
		if want, ok := a.tables.hosts[key.addr()]; !ok || v.Key != key || want != (host{identity: identity, subject: subject}) {
			return drift("address %s is changed", key.addr())
		}
		return nil
	})
}

func (a *Applier) verifyCells() error {
	return readAll(a.set.Cells, a.tables.cellCount(), func(key cellKey, v cellValue) error {
		if want := a.tables.cell(key); want == (rowRef{}) || v.Key != key || want != v.current(a.tables.generation) {
			return drift("cell of program %d and identity %d is changed", key.Program, key.Identity)
		}
		return nil
	})
}

func (a *Applier) verifyPrefixes() error {
	return readAll(a.set.Prefixes, len(a.tables.prefixes), func(key prefixKey, v prefixValue) error {
		identity, subject := v.current(a.tables.generation)
		if want := a.tables.prefixes[key.prefix()]; want == (host{}) || want != (host{identity, subject}) {
			return drift("prefix %s is changed", key.prefix())
		}
		return nil
	})
}

// chunk is how many elements are read at a time.
const chunk = 8192

// readArray reads the first elements of an array map.
func readArray[V any](m *ebpf.Map, all []V) error {
	var cursor ebpf.MapBatchCursor
	keys := make([]uint32, chunk)
	for read := 0; read < len(all); {
		size := min(chunk, len(all)-read)
		n, err := m.BatchLookup(&cursor, keys[:size], all[read:read+size], nil)
		read += n
		if errors.Is(err, ebpf.ErrKeyNotExist) && read >= len(all) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", m, err)
		}
	}
	return nil
}

// readAll calls check for every element of a map, and demands that there be want of them.
func readAll[K, V any](m *ebpf.Map, want int, check func(K, V) error) error {
	var cursor ebpf.MapBatchCursor
	keys, values := make([]K, chunk), make([]V, chunk)
	read := 0
	for done := false; !done; {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		done = errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !done {
			return fmt.Errorf("read %s: %w", m, err)
		}
		for i := range n {
			if err := check(keys[i], values[i]); err != nil {
				return err
			}
		}
		read += n
	}
	if read != want {
		return drift("%s has %d elements, not %d", m, read, want)
	}
	return nil
}
