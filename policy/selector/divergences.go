package selector

import (
	"errors"
	"strings"
)

// Divergence is one kind of selector that Calico's parser accepts and [Parse]
// refuses, on purpose. There is none in the other direction, and none in what
// an accepted selector means.
type Divergence struct {
	ID      string
	Example string // a selector that Calico accepts
	Rule    string
	Reason  string
}

// The IDs of the divergences.
const (
	DivergenceLength = "selector-length"
	DivergenceDepth  = "selector-depth"
)

// Divergences lists every kind, in a fixed order.
func Divergences() []Divergence {
	return []Divergence{
		{
			ID:      DivergenceLength,
			Example: "a == '" + strings.Repeat("v", MaxLength) + "'",
			Rule:    "a selector has at most 1024 bytes",
			Reason: "Calico's CRDs bound every selector field to 1024 but serviceAccounts.selector, " +
				"which only its parser bounds, that is, not at all (hole F8)",
		},
		{
			ID:      DivergenceDepth,
			Example: strings.Repeat("(", MaxDepth+1) + "all()" + strings.Repeat(")", MaxDepth+1),
			Rule:    "at most 64 parentheses are open at once",
			Reason:  "Calico's parser recurses without a bound and overflows its stack (hole F8)",
		},
	}
}

// DivergenceOf returns the ID of the divergence that explains an error of
// [Parse], "" if none does: then Calico refuses the selector too.
func DivergenceOf(err error) string {
	var limit *LimitError
	if !errors.As(err, &limit) {
		return ""
	}
	if limit.What == whatDepth {
		return DivergenceDepth
	}
	return DivergenceLength
}
