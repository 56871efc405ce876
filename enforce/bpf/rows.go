//go:build linux

package bpf

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// maxSegments is what a binary search of MAX_HALVINGS steps (judge.c) can go through.
const maxSegments = 1 << 18

// flatRow is a row as the program reads it: count segments, sorted by protocol and port, and behind them the lists by source
// port that some of them refer to, counted from the row's beginning until it is placed.
type flatRow struct {
	segments []segment
	count    uint32
}

// flatten makes a row of what the compiler says. What it leaves out is denied (fails closed).
func flatten(row ruleset.Row) (flatRow, error) {
	protocols := map[uint8][]ruleset.Segment{ruleset.AnyProtocol: nil}
	for _, s := range row {
		protocols[s.Protocol] = append(protocols[s.Protocol], s)
	}
	var out flatRow
	var lists [][]segment
	for protocol := range 256 {
		own, ok := protocols[uint8(protocol)]
		if !ok {
			continue
		}
		for _, b := range blocks(own) {
			s := segment{Start: uint32(protocol)<<16 | uint32(b.start)}
			if one, whole := b.whole(); whole {
				s.Rule, s.Log, s.Flags = outcome(one)
			} else {
				lists = append(lists, b.sources())
				s.Flags, s.Rule = flagSplit, uint32(len(lists)-1)
			}
			out.segments = append(out.segments, s)
		}
	}
	out.count = uint32(len(out.segments))
	for i := range out.segments[:out.count] {
		s := &out.segments[i]
		if s.Flags == flagSplit {
			list := lists[s.Rule]
			s.Rule, s.Log = uint32(len(out.segments)), uint32(len(list))
			out.segments = append(out.segments, list...)
		}
	}
	if len(out.segments) > maxSegments {
		return flatRow{}, fmt.Errorf("row has %d segments, more than %d", len(out.segments), maxSegments)
	}
	return out, nil
}

// place turns references from the row's beginning into indices of the map.
func (f flatRow) place(first uint32) rowRef {
	for i := range f.segments[:f.count] {
		if f.segments[i].Flags == flagSplit {
			f.segments[i].Rule += first
		}
	}
	return rowRef{First: first, Count: f.count}
}

func outcome(s ruleset.Segment) (rule, log, flags uint32) {
	if s.Allow {
		flags = flagAllow
	}
	return uint32(s.Rule), uint32(s.Log), flags
}

// block is a range of destination ports, up to the next block's start, within which the same segments apply.
type block struct {
	start    uint16
	segments []ruleset.Segment
}

// blocks cuts the port axis where a segment begins or ends.
func blocks(segments []ruleset.Segment) []block {
	cuts := []uint32{0}
	for _, s := range segments {
		cuts = append(cuts, uint32(s.First), uint32(s.Last)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	sorted := slices.SortedFunc(slices.Values(segments), func(a, b ruleset.Segment) int { return cmp.Compare(a.First, b.First) })
	var out []block
	var active []ruleset.Segment
	for _, cut := range cuts {
		if cut > math.MaxUint16 {
			break
		}
		start := uint16(cut)
		active = slices.DeleteFunc(active, func(s ruleset.Segment) bool { return s.Last < start })
		for len(sorted) > 0 && sorted[0].First == start {
			active, sorted = append(active, sorted[0]), sorted[1:]
		}
		out = append(out, block{start: start, segments: slices.Clone(active)})
	}
	return out
}

// whole returns the only segment, for every source port; the zero value, which denies, if there is none at all.
func (b block) whole() (ruleset.Segment, bool) {
	if len(b.segments) == 0 {
		return ruleset.Segment{}, true
	}
	return b.segments[0], len(b.segments) == 1 && b.segments[0].AnySource()
}

// sources returns the block's list by source port. Gaps deny.
func (b block) sources() []segment {
	slices.SortFunc(b.segments, func(a, b ruleset.Segment) int { return cmp.Compare(a.SourceFirst, b.SourceFirst) })
	var out []segment
	next := uint32(0)
	for _, s := range b.segments {
		if uint32(s.SourceFirst) > next {
			out = append(out, segment{Start: next})
		}
		rule, log, flags := outcome(s)
		out = append(out, segment{Start: uint32(s.SourceFirst), Rule: rule, Log: log, Flags: flags})
		next = uint32(s.SourceLast) + 1
	}
	if next <= math.MaxUint16 {
		out = append(out, segment{Start: next})
	}
	return out
}
