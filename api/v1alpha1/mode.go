package v1alpha1

// Mode says what happens when a check finds that a permission is missing.
//
// +kubebuilder:validation:Enum=Enforce;Warn;Audit;Off
type Mode string

const (
	// ModeEnforce refuses the request.
	ModeEnforce Mode = "Enforce"
	// ModeWarn lets the request pass and warns the user.
	ModeWarn Mode = "Warn"
	// ModeAudit lets the request pass and leaves a trace in records and audit annotations only.
	ModeAudit Mode = "Audit"
	// ModeOff does not run the check.
	ModeOff Mode = "Off"
)

// Normalize returns the mode as it is obeyed: an empty one is Off, and one that this version does not know is Enforce
// (fails closed).
func (m Mode) Normalize() Mode {
	switch m {
	case ModeOff, "":
		return ModeOff
	case ModeAudit, ModeWarn:
		return m
	default:
		return ModeEnforce
	}
}

func (m Mode) strictness() int {
	switch m.Normalize() {
	case ModeOff:
		return 0
	case ModeAudit:
		return 1
	case ModeWarn:
		return 2
	default:
		return 3
	}
}

// Strictest returns the stricter of two modes, normalized.
func Strictest(a, b Mode) Mode {
	if a.strictness() >= b.strictness() {
		return a.Normalize()
	}
	return b.Normalize()
}
