// Package decision holds the vocabulary that every part of saguard shares when it says yes or no.
package decision

// Verdict is the outcome of a decision. The zero value is Deny, so that a decision nobody made fails closed.
type Verdict uint8

const (
	// Deny refuses the request, the packet or the call.
	Deny Verdict = iota
	// Allow lets it pass.
	Allow
)

// String returns "Deny" or "Allow"; any other value reads as "Deny", which is how it is treated.
func (v Verdict) String() string {
	if v == Allow {
		return "Allow"
	}
	return "Deny"
}
