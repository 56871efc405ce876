package auditlog

import (
	"fmt"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
)

// Position says where an entry stands.
type Position struct {
	File string `json:"file"` // as it was named to the reader; "-" is standard input
	Line int    `json:"line"` // from 1; in an EventList that spans lines, the number of the item
}

// String returns "FILE:LINE".
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Entry is one line of a log that matters. Exactly one of Event and Record is set.
type Entry struct {
	At     Position
	Event  *auditv1.Event // of an API server; in a stage that has an outcome, or has begun to stream
	Record *audit.Record  // of saguard's own log
}

// Stats counts what was read. All counters only grow.
type Stats struct {
	Bytes int64 `json:"bytes"`
	Lines int64 `json:"lines"`
	// Events and Records are the entries that were given.
	Events  int64 `json:"events"`
	Records int64 `json:"records"`
	// Requests counts relevant events of stage RequestReceived, which say nothing of the outcome and are not given.
	Requests int64 `json:"requests,omitempty"`
	// Malformed counts lines that are no complete JSON object of a known shape.
	Malformed int64 `json:"malformed,omitempty"`
	// Incomplete counts files whose last line has no end of line and could not be read: it is still being written, or was
	// cut off.
	Incomplete int64 `json:"incomplete,omitempty"`
	// Oversize counts lines over MaxLine, which were passed over.
	Oversize int64 `json:"oversize,omitempty"`
	// Truncated counts events whose bodies the API server left out because they were too large (audit.k8s.io/truncated).
	Truncated int64 `json:"truncated,omitempty"`
	// UnknownVersion counts events of another API version than audit.k8s.io/v1.
	UnknownVersion int64 `json:"unknownVersion,omitempty"`
	// Duplicates counts events that were there already, by audit ID: the same request logged in two stages, by two API
	// servers, or in two copies of a file.
	Duplicates int64 `json:"duplicates,omitempty"`
	// Backwards counts events that were received more than a minute before the one in front of them in the same file.
	Backwards int64 `json:"backwards,omitempty"`

	// Examples are the first places of what is wrong, at most MaxExamples.
	Examples []Trouble `json:"examples,omitempty"`
}

// Problems says in words what of the log could not be read, or is not as API servers write it: one sentence for each counter that is not zero.
func (s *Stats) Problems() []string {
	var out []string
	for _, c := range []struct {
		n    int64
		what string
	}{
		{s.Malformed, "lines could not be read"},
		{s.Incomplete, "files end in the middle of a line"},
		{s.Oversize, "lines are too long and were passed over"},
		{s.UnknownVersion, "events or records are of a version that is not known"},
		{s.Truncated, "events lack their bodies: the API server truncated them"},
		{s.Backwards, "events are more than a minute older than the one in front of them"},
	} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return out
}

// Trouble is one place that could not be read.
type Trouble struct {
	At  Position `json:"at"`
	Why string   `json:"why"`
}

// MaxExamples is how many places Stats names.
const MaxExamples = 20

func (s *Stats) note(at Position, why string) {
	if len(s.Examples) < MaxExamples {
		s.Examples = append(s.Examples, Trouble{at, why})
	}
}
