package authz

// Predict predicts Calico's checker whatever the snapshot's semantics.
var Predict = predict

// The bounds of a Memory.
const (
	MaxPairs = maxPairs
	MaxRules = maxRules
)

// Size returns what is held.
func (m *Memory) Size() (pairs, rules int) {
	r := m.current.Load()
	return len(r.young.of) + len(r.old.of), r.young.rules + r.old.rules
}
