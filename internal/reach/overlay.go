package reach

import (
	"cmp"
	"math"
	"slices"
)

// anyProtocol is the protocol of the tiles for all protocols that have none of their own.
const anyProtocol = 0

// Box is a block of packets: of one protocol, or of all but some.
type Box struct {
	// Protocol is an IP protocol number, 0 for all but Except.
	Protocol uint8
	// Except is sorted, and empty unless Protocol is 0.
	Except []uint8
	// First to Last are destination ports; for ICMP and ICMPv6 type*256 + code; 0 to 65535 for what has neither.
	First, Last uint16
	// SourceFirst to SourceLast are source ports.
	SourceFirst, SourceLast uint16
}

// area is a Box without protocol.
type area struct{ first, last, sourceFirst, sourceLast uint16 }

// tile is a block of packets with what is true of all of them.
type tile[T any] struct {
	protocol uint8
	area
	value T
}

// overlay puts layers on each other, each of which covers every packet with disjoint tiles, and gives the tiles on which
// the fold of the layers' values is one. They cover every packet again and are sorted; protocols that are treated like
// all others do not occur. values is only lent to fold.
func overlay[T, U comparable](layers [][]tile[T], fold func(values []T) U) []tile[U] {
	protocols := []uint8{anyProtocol}
	for _, l := range layers {
		for _, t := range l {
			if n := len(protocols); protocols[n-1] != t.protocol && !slices.Contains(protocols, t.protocol) {
				protocols = append(protocols, t.protocol)
			}
		}
	}
	slices.Sort(protocols)
	var out []tile[U]
	others := 0
	for _, protocol := range protocols {
		before := len(out)
		out = overlayProtocol(out, layers, protocol, fold)
		if protocol == anyProtocol {
			others = len(out)
			continue
		}
		if others == 1 && len(out) == before+1 && out[before].value == out[0].value {
			out = out[:before]
		}
	}
	return out
}

func overlayProtocol[T, U comparable](out []tile[U], layers [][]tile[T], protocol uint8, fold func([]T) U) []tile[U] {
	own := make([][]tile[T], len(layers))
	values := make([]T, len(layers))
	simple := true
	for n, l := range layers {
		own[n] = ofProtocol(l, protocol)
		simple = simple && len(own[n]) == 1
		values[n] = own[n][0].value
	}
	if simple {
		return append(out, tile[U]{protocol, area{0, math.MaxUint16, 0, math.MaxUint16}, fold(values)})
	}
	var ports, sources []uint16 // where a strip begins
	for _, l := range own {
		for _, t := range l {
			ports, sources = append(ports, t.first), append(sources, t.sourceFirst)
		}
	}
	slices.Sort(ports)
	slices.Sort(sources)
	ports, sources = slices.Compact(ports), slices.Compact(sources)
	grids := make([][]T, len(own)) // by port strip, then by source strip
	for n, l := range own {
		grids[n] = make([]T, len(ports)*len(sources))
		for _, t := range l {
			for i, _ := slices.BinarySearch(ports, t.first); i < len(ports) && ports[i] <= t.last; i++ {
				for k, _ := slices.BinarySearch(sources, t.sourceFirst); k < len(sources) && sources[k] <= t.sourceLast; k++ {
					grids[n][i*len(sources)+k] = t.value
				}
			}
		}
	}
	var open, strip []tile[U]
	for i, first := range ports {
		strip = strip[:0]
		for k, sourceFirst := range sources {
			for n := range grids {
				values[n] = grids[n][i*len(sources)+k]
			}
			v := fold(values)
			if n := len(strip); n > 0 && strip[n-1].value == v {
				strip[n-1].sourceLast = end(sources, k)
				continue
			}
			strip = append(strip, tile[U]{protocol, area{first, end(ports, i), sourceFirst, end(sources, k)}, v})
		}
		if slices.EqualFunc(open, strip, func(a, b tile[U]) bool {
			return a.value == b.value && a.sourceFirst == b.sourceFirst && a.sourceLast == b.sourceLast
		}) {
			for n := range open {
				open[n].last = end(ports, i)
			}
			continue
		}
		out = append(out, open...)
		open = append(open[:0], strip...)
	}
	return append(out, open...)
}

// end is where strip i ends: before the next begins.
func end(starts []uint16, i int) uint16 {
	if i+1 < len(starts) {
		return starts[i+1] - 1
	}
	return math.MaxUint16
}

// ofProtocol returns the tiles that hold for protocol: its own, or else those for all others.
func ofProtocol[T any](layer []tile[T], protocol uint8) []tile[T] {
	find := func(p uint8) []tile[T] {
		from, _ := slices.BinarySearchFunc(layer, p, func(t tile[T], p uint8) int { return cmp.Compare(t.protocol, p) })
		to := from
		for to < len(layer) && layer[to].protocol == p {
			to++
		}
		return layer[from:to]
	}
	if own := find(protocol); len(own) > 0 {
		return own
	}
	return find(anyProtocol)
}

// boxes are the tiles' boxes.
func boxes[T any](tiles []tile[T]) []Box {
	var except []uint8
	for _, t := range tiles {
		if n := len(except); t.protocol != anyProtocol && (n == 0 || except[n-1] != t.protocol) {
			except = append(except, t.protocol)
		}
	}
	out := make([]Box, len(tiles))
	for i, t := range tiles {
		out[i] = Box{Protocol: t.protocol, First: t.first, Last: t.last, SourceFirst: t.sourceFirst, SourceLast: t.sourceLast}
		if t.protocol == anyProtocol {
			out[i].Except = except
		}
	}
	return out
}
