package hygiene

import "fmt"

// Semantics says whose rules to apply. The zero value is [Strict]: it fails
// closed.
type Semantics uint8

const (
	// Strict refuses what Calico refuses and, beyond it, the [Divergences].
	Strict Semantics = iota
	// Calico predicts what Calico itself accepts, holes included.
	Calico
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

// String returns what ParseSemantics reads.
func (s Semantics) String() string {
	if s == Calico {
		return "calico"
	}
	return "strict"
}
