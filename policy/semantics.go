package policy

import (
	"fmt"
	"strings"
)

// Semantics says which rows of the difference table follow Calico. The zero value is [Strict]: it fails closed.
type Semantics uint32

// One bit for each row of the difference table.
const (
	rowAccountName Semantics = 1 << iota
	rowSelectorSyntax
	rowSelectorBounds
	rowAccountSets
	rowEmptyAccounts
	rowRuleFields
	rowNetworkSetNets
	rowSharedAddress
	rowAnnotatedAddress
	rowMirrorAccount
	rowServices
	rowEnd
)

const (
	// Strict is what the agent and the identity check enforce: no input that does not parse ever widens anything.
	Strict Semantics = 0
	// Calico predicts what Calico (master of August 2026) decides, holes included.
	Calico Semantics = rowEnd - 1
)

// ParseSemantics reads the value of --semantics, "calico" or "strict".
func ParseSemantics(s string) (Semantics, error) {
	switch s {
	case "calico":
		return Calico, nil
	case "strict":
		return Strict, nil
	}
	return Strict, fmt.Errorf("parse semantics %q: want calico or strict", s)
}

// strict reports whether row is to be decided the strict way.
func (s Semantics) strict(row Semantics) bool { return s&row == 0 }

// StrictOnly returns Calico but for the given rows, which are strict: it attributes a difference between the two
// semantics to a row.
func StrictOnly(rows ...Difference) Semantics {
	s := Calico
	for _, d := range rows {
		s &^= d.row
	}
	return s
}

// String returns "calico", "strict", or for a mixture the IDs of its strict rows.
func (s Semantics) String() string {
	switch s {
	case Calico:
		return "calico"
	case Strict:
		return "strict"
	default:
		var ids []string
		for _, d := range Differences() {
			if s.strict(d.row) {
				ids = append(ids, d.ID)
			}
		}
		return "strict in " + strings.Join(ids, ",")
	}
}
