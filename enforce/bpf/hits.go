//go:build linux

package bpf

import (
	"context"
	"fmt"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// Hits implements [enforce.Applier], for the rules that are in force.
func (a *Applier) Hits(ctx context.Context) (map[ruleset.RuleID]enforce.Hits, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read hits: %w", err)
	}
	out := map[ruleset.RuleID]enforce.Hits{}
	if a.tables == nil {
		return out, nil
	}
	now, err := readHits(a.set.kernel)
	if err != nil {
		return nil, err
	}
	for id := range a.tables.rules {
		out[id] = enforce.Hits{Packets: a.base[id] + now[uint32(id)]}
	}
	return out, nil
}

// keepHits carries over what the rules of the old set have counted that are still the same. Nothing may be attached to old
// any more.
func (a *Applier) keepHits(old *kernel, was, is *tables) error {
	last, err := readHits(old)
	if err != nil {
		return err
	}
	base := map[ruleset.RuleID]uint64{}
	for id, rule := range is.rules {
		if before, ok := was.rules[id]; ok && before == rule {
			if n := a.base[id] + last[uint32(id)]; n > 0 {
				base[id] = n
			}
		}
	}
	a.base = base
	return nil
}

// readHits returns the counters by rule, where they are not 0.
func readHits(k *kernel) (map[uint32]uint64, error) {
	out := map[uint32]uint64{}
	var id uint32
	var perCPU []uint64
	iterator := k.Hits.Iterate()
	for iterator.Next(&id, &perCPU) {
		for _, n := range perCPU {
			if n > 0 {
				out[id] += n
			}
		}
	}
	if err := iterator.Err(); err != nil {
		return nil, fmt.Errorf("read hits: %w", err)
	}
	return out, nil
}
