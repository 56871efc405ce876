package reach

import (
	"cmp"
	"maps"
	"slices"

	"github.com/saguard/saguard/internal/ruleset"
)

// identityClasses gives identities that have the same row in every program the same number: the ruleset makes no
// difference between them, at whichever end they are.
func identityClasses(r *ruleset.Ruleset) map[ruleset.IdentityID]int {
	out := make(map[ruleset.IdentityID]int, len(r.Identities))
	for id, i := range r.Identities {
		out[id] = int(i.Family)
	}
	next := 7 // IP versions come before
	type cell struct {
		class int
		row   ruleset.RowID
	}
	for _, id := range slices.Sorted(maps.Keys(r.Programs)) {
		// Identities without a row of their own have the default of their version, which is no other's row.
		split := map[cell]int{}
		rows := r.Programs[id].Rows
		for _, i := range slices.SortedFunc(maps.Keys(rows), func(a, b ruleset.IdentityID) int { return cmp.Compare(a, b) }) {
			c := cell{out[i], rows[i]}
			to, ok := split[c]
			if !ok {
				to = next
				next++
				split[c] = to
			}
			out[i] = to
		}
	}
	return out
}
