package enforce

import (
	"time"

	"github.com/saguard/saguard/internal/ruleset"
)

// State says in one word how a node is enforced.
type State string

// The states, from bad to good.
const (
	// Waiting: not everything has been read; nothing was programmed by this process, and what was there stays.
	Waiting State = "Waiting"
	// Refused: packets of pods go past the hook; nothing was programmed by this process.
	Refused State = "Refused"
	// Failing: the kernel refuses the rules; those of before stay.
	Failing State = "Failing"
	// Bypassed: rules are in force, and packets of some pods go past them.
	Bypassed State = "Bypassed"
	// Stale: the rules in force may be behind what the API server holds.
	Stale State = "Stale"
	// Enforcing: the kernel holds what the API server's objects say.
	Enforcing State = "Enforcing"
)

// States returns all, from bad to good.
func States() []State { return []State{Waiting, Refused, Failing, Bypassed, Stale, Enforcing} }

// Status is how a node is enforced, at one moment.
type Status struct {
	State State `json:"state"`
	// Message says why it is not Enforcing.
	Message string `json:"message,omitempty"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Backend in use, "" before one is chosen; Notes say why others were not.
	Backend string   `json:"backend,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Leftover names backends whose rules are in the kernel and could not be removed: they go on denying.
	Leftover []string `json:"leftover,omitempty"`

	// AppliedRevision and AppliedAt are of the last ruleset that the kernel took, Revision is of the last event.
	AppliedRevision uint64    `json:"appliedRevision"`
	AppliedAt       time.Time `json:"appliedAt,omitzero"`
	Revision        uint64    `json:"revision"`

	// Errors counts the times that the kernel refused, Error is the last one if it holds still.
	Errors uint64 `json:"errors"`
	Error  string `json:"error,omitempty"`
	// Repairs counts the times that somebody else had changed the rules, LastDrift is what was found last.
	Repairs   uint64 `json:"repairs"`
	LastDrift string `json:"lastDrift,omitempty"`
	// Bypassed says why packets of pods go past the rules in force.
	Bypassed string `json:"bypassed,omitempty"`
	// Remark says what else is strange about the way of pods' packets.
	Remark string `json:"remark,omitempty"`
	// EventsError says why denied packets are not reported any more.
	EventsError string `json:"eventsError,omitempty"`

	Endpoints  int `json:"endpoints"`
	Identities int `json:"identities"`
	Addresses  int `json:"addresses"`
	Programs   int `json:"programs"`
	Rows       int `json:"rows"`
	Rules      int `json:"rules"`
}

// count notes the size of the rules.
func (s *Status) count(r *ruleset.Ruleset) {
	s.Endpoints, s.Identities, s.Addresses = len(r.Endpoints), len(r.Identities), len(r.Addresses)
	s.Programs, s.Rows, s.Rules = len(r.Programs), len(r.Rows), len(r.Rules)
}

// enter notes the state of what the loop does.
func (l *Loop) enter(s State, message string) {
	if l.view.State != s {
		l.view.Since = l.o.Now()
	}
	l.view.State, l.view.Message = s, message
}

// publish shows the view to readers.
func (l *Loop) publish() {
	s := l.view
	l.status.Store(&s)
}

// Status returns how the node is enforced now. An enforced node is stale, or bypassed, by what WhyStale and Path say.
func (l *Loop) Status() Status {
	s := *l.status.Load()
	s.Revision = l.o.Feed.Revision()
	if s.State != Enforcing {
		return s
	}
	if s.Bypassed != "" {
		s.State, s.Message = Bypassed, s.Bypassed
	} else if l.o.WhyStale != nil {
		if why := l.o.WhyStale(); why != "" {
			s.State, s.Message = Stale, why
		}
	}
	return s
}

// WhyNotReady returns "" while the node is enforced as the API server's objects say, else why it is not.
func (l *Loop) WhyNotReady() string {
	s := l.Status()
	if s.State == Enforcing {
		return ""
	}
	return string(s.State) + ": " + s.Message
}
