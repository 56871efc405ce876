package nodeapi

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/saguard/saguard/enforce"
)

// Status is how a node is enforced, and on what knowledge.
type Status struct {
	Node        string         `json:"node"`
	Version     string         `json:"version"`
	Enforcement enforce.Status `json:"enforcement"`
	// WhyNotReady is "" if the node is enforced as the API server's objects say.
	WhyNotReady string `json:"whyNotReady,omitempty"`
	// Remarks are worth knowing and no reason not to be ready.
	Remarks []string `json:"remarks,omitempty"`
	// Sources are the watches.
	Sources []Source `json:"sources,omitempty"`
	// Problems are what is wrong in objects; strict semantics deny in their place.
	Problems []string `json:"problems,omitempty"`
}

// Source is one watched resource.
type Source struct {
	Name string `json:"name"`
	// State is "read", "absent" (the API server does not serve it) or "unread".
	State string `json:"state"`
	// AgeSeconds is the time since the API server was last heard of for it.
	AgeSeconds float64 `json:"ageSeconds"`
	Error      string  `json:"error,omitempty"`
}

// Render writes the status for people; now is the clock.
func (s *Status) Render(w io.Writer, now time.Time) error {
	var b strings.Builder
	e := s.Enforcement
	fmt.Fprintf(&b, "node       %s (saguard-agent %s)\nstate      %s since %s\n", s.Node, s.Version, e.State, e.Since.UTC().Format(time.RFC3339))
	if e.Message != "" {
		fmt.Fprintf(&b, "because    %s\n", e.Message)
	}
	fmt.Fprintf(&b, "backend    %s\n", or(e.Backend))
	if !e.AppliedAt.IsZero() {
		fmt.Fprintf(&b, "applied    revision %d of %d, %s ago\n", e.AppliedRevision, e.Revision, now.Sub(e.AppliedAt).Round(time.Second))
	}
	fmt.Fprintf(&b, "rules      %d endpoints, %d identities, %d addresses, %d programs, %d rows, %d rules\n", e.Endpoints, e.Identities, e.Addresses, e.Programs, e.Rows, e.Rules)
	fmt.Fprintf(&b, "errors     %d, repairs %d\n", e.Errors, e.Repairs)
	for _, line := range []struct{ title, text string }{
		{"not ready ", s.WhyNotReady}, {"last error", e.Error}, {"last drift", e.LastDrift}, {"no events ", e.EventsError}, {"left over ", strings.Join(e.Leftover, ", ")},
	} {
		if line.text != "" {
			fmt.Fprintf(&b, "%s %s\n", line.title, line.text)
		}
	}
	for _, text := range append(append([]string{}, e.Notes...), s.Remarks...) {
		fmt.Fprintf(&b, "note       %s\n", text)
	}
	for _, text := range s.Problems {
		fmt.Fprintf(&b, "problem    %s\n", text)
	}
	var table strings.Builder
	table.WriteString("\nSOURCE\tSTATE\tAGE\tERROR\n")
	for _, src := range s.Sources {
		fmt.Fprintf(&table, "%s\t%s\t%.0fs\t%s\n", src.Name, src.State, src.AgeSeconds, src.Error)
	}
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	if _, err := io.WriteString(t, table.String()); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
