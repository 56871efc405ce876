//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryReport is in MiB. The kernel's memory is not among it.
type memoryReport struct {
	Resident float64 `json:"residentMiB"` // after a collection, which is what counts
	Before   float64 `json:"beforeMiB"`   // before it, as the process was left to itself
	Returned float64 `json:"returnedMiB"` // when all that is free is given back
	Peak     float64 `json:"peakMiB"`     // since the process began
	Heap     float64 `json:"heapMiB"`     // live
}

// memory loads the world, plays some events, and looks at what is resident.
func (s *settings) memory(ctx context.Context, dir string) (_ *memoryReport, err error) {
	if err := os.Mkdir(filepath.Join(dir, "agent"), 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	a, err := newAgent(ctx, s.backend, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	w := eventWorld{pods: s.pods, policies: s.rules}
	if err := loadAsWatched(ctx, a, w); err != nil {
		return nil, err
	}
	if err := a.play(ctx, w, min(s.events, 50), &eventReport{Kinds: map[string]times{}}); err != nil {
		return nil, err
	}
	out := &memoryReport{}
	if out.Before, err = memoryOf("VmRSS"); err != nil {
		return nil, err
	}
	runtime.GC()
	if out.Resident, err = memoryOf("VmRSS"); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	if out.Returned, err = memoryOf("VmRSS"); err != nil {
		return nil, err
	}
	if out.Peak, err = memoryOf("VmHWM"); err != nil {
		return nil, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	out.Heap = float64(m.HeapAlloc) / (1 << 20)
	return out, nil
}

// loadAsWatched keeps no more of the world than watches do.
func loadAsWatched(ctx context.Context, a *agent, w eventWorld) error {
	all, err := w.parsed()
	if err != nil {
		return err
	}
	_, _, err = a.load(ctx, all)
	return err
}

// memoryOf returns a line of /proc/self/status in MiB.
func memoryOf(line string) (float64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				return 0, fmt.Errorf("read memory: %w", err)
			}
			return n / 1024, nil
		}
	}
	return 0, fmt.Errorf("read memory: no %s", line)
}
