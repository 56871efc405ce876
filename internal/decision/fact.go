package decision

import "fmt"

type factState uint8

const (
	unknown factState = iota
	absent
	known
)

// Fact is a piece of knowledge that a decision needs: Known with a value, known to be Absent, or Unknown.
// The zero value is Unknown, and whoever decides on an Unknown fact denies (fails closed).
type Fact[T any] struct {
	value T
	why   string
	state factState
}

// Known is a fact with a value.
func Known[T any](value T) Fact[T] { return Fact[T]{value: value, state: known} }

// Absent is the certainty that the thing does not exist.
func Absent[T any]() Fact[T] { return Fact[T]{state: absent} }

// Unknown is a fact that could not be established; why is for the record and is safe to show.
func Unknown[T any](why string) Fact[T] { return Fact[T]{why: why} }

// Get returns the value; ok is false unless the fact is Known.
func (f Fact[T]) Get() (value T, ok bool) { return f.value, f.state == known }

// IsAbsent reports that the thing is known not to exist.
func (f Fact[T]) IsAbsent() bool { return f.state == absent }

// WhyUnknown returns why the fact is Unknown, and "" if it is Known or Absent.
func (f Fact[T]) WhyUnknown() string {
	if f.state != unknown {
		return ""
	}
	if f.why == "" {
		return "not gathered"
	}
	return f.why
}

// String is for failure texts and records.
func (f Fact[T]) String() string {
	switch f.state {
	case known:
		return fmt.Sprintf("Known(%v)", f.value)
	case absent:
		return "Absent"
	default:
		return "Unknown(" + f.WhyUnknown() + ")"
	}
}
