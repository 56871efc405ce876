//go:build linux

package bpf

import (
	"math"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// findFlat is find of judge.c on a row that is not placed.
func findFlat(f flatRow, protocol uint8, port, source uint16) segment {
	last := func(list []segment, start uint32) segment {
		var out segment
		for _, s := range list {
			if s.Start <= start {
				out = s
			}
		}
		return out
	}
	s := last(f.segments[:f.count], uint32(protocol)<<16|uint32(port))
	if s.Start>>16 != uint32(protocol) {
		s = last(f.segments[:f.count], uint32(port))
	}
	if s.Flags&flagSplit != 0 {
		s = last(f.segments[s.Rule:s.Rule+s.Log], uint32(source))
	}
	return s
}

func TestFlatRowsSayWhatRowsSay(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(seed)
		w.step(0)
		row := w.row()
		flat, err := flatten(row)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range flat.segments[:flat.count] {
			if i > 0 && s.Start <= flat.segments[i-1].Start {
				t.Fatalf("seed %d: segments %+v are not sorted", seed, flat.segments)
			}
		}
		for range 200 {
			protocol, port, source := w.protocol(), w.port(), w.port()
			want, _ := row.Find(protocol, port, source)
			got := findFlat(flat, protocol, port, source)
			if got.Flags&flagAllow != 0 != want.Allow || got.Rule != uint32(want.Rule) || got.Log != uint32(want.Log) {
				t.Fatalf("seed %d, protocol %d, port %d of %d: %+v, want %+v\n%+v", seed, protocol, port, source, got, want, row)
			}
		}
	}
}

func TestWhatARowLeavesOutIsDenied(t *testing.T) {
	row := ruleset.Row{
		{Protocol: protocolTCP, First: 80, Last: 90, SourceLast: math.MaxUint16, Allow: true, Rule: 1},
		{Protocol: protocolTCP, First: 100, Last: 100, SourceFirst: 10, SourceLast: 20, Allow: true, Rule: 1},
	}
	flat, err := flatten(row)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		protocol     uint8
		port, source uint16
		want         bool
	}{
		{name: "inside", protocol: protocolTCP, port: 85, want: true},
		{name: "before", protocol: protocolTCP, port: 79},
		{name: "behind", protocol: protocolTCP, port: 91},
		{name: "another protocol", protocol: protocolUDP, port: 85},
		{name: "inside by source", protocol: protocolTCP, port: 100, source: 15, want: true},
		{name: "before by source", protocol: protocolTCP, port: 100, source: 9},
		{name: "behind by source", protocol: protocolTCP, port: 100, source: 21},
	} {
		if got := findFlat(flat, c.protocol, c.port, c.source).Flags&flagAllow != 0; got != c.want {
			t.Errorf("%s: allowed: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRowsThatTheProgramCannotSearchAreRefused(t *testing.T) {
	var row ruleset.Row
	for port := range 1 << 10 {
		for source := range 1 << 9 {
			row = append(row, ruleset.Segment{
				Protocol: protocolTCP, First: uint16(port), Last: uint16(port), SourceFirst: uint16(source), SourceLast: uint16(source),
			})
		}
	}
	if flat, err := flatten(row); err == nil {
		t.Errorf("row of %d segments is taken", len(flat.segments))
	}
}
