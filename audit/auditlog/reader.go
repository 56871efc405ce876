package auditlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	sigsjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/audit"
)

// MaxLine is the longest line in bytes that is read. API servers cut events off at 10 MiB by default
// (--audit-webhook-truncate-max-event-size); a log file has no limit.
const MaxLine = 32 << 20

// backwards is how far requests may overtake each other on their way into the log.
const backwards = time.Minute

// Reader reads logs, one after the other, and counts. It is not safe for concurrent use.
type Reader struct {
	interest *Interest
	stats    Stats
	seen     seen
}

// NewReader returns a reader of the events that are of interest, and of saguard's records.
func NewReader(in *Interest) *Reader { return &Reader{interest: in} }

// Stats returns what was counted so far.
func (r *Reader) Stats() Stats { return r.stats }

// Read reads one log to its end and gives every entry that matters, in the order of the log. It stops early only for an error
// of yield, of ctx, or of in itself, and returns that.
func (r *Reader) Read(ctx context.Context, name string, in io.Reader, yield func(*Entry) error) error {
	l := newLines(in)
	start := r.stats.Bytes
	file := &fileState{Reader: r, at: Position{File: name}, yield: yield}
	for first := true; ; first = false {
		line, why, err := l.next()
		r.stats.Bytes = start + l.from.n
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		file.at.Line++
		r.stats.Lines++
		if first && why == complete {
			if t := bytes.TrimSpace(line); len(t) == 1 && (t[0] == '{' || t[0] == '[') {
				err := file.document(io.MultiReader(bytes.NewReader(line), l.in))
				r.stats.Bytes = start + l.from.n
				return err
			}
		}
		if err := file.line(line, why); err != nil {
			return err
		}
	}
}

// fileState is where a reader is in one log.
type fileState struct {
	*Reader
	at    Position
	last  time.Time
	yield func(*Entry) error
}

func (f *fileState) line(line []byte, why ending) error {
	if why == oversize {
		f.stats.Oversize++
		f.stats.note(f.at, fmt.Sprintf("line is longer than %d MiB", MaxLine>>20))
		return nil
	}
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	if line[0] != '{' || line[len(line)-1] != '}' {
		f.broken(why, "line is no JSON object")
		return nil
	}
	native := bytes.HasPrefix(line, []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1",`))
	if !f.interest.mayWant(line) && (native || !bytes.Contains(line, []byte(audit.Schema))) {
		return nil
	}
	if native {
		e := &auditv1.Event{}
		if err := sigsjson.UnmarshalCaseSensitivePreserveInts(line, e); err == nil {
			return f.give(e)
		}
	}
	return f.value(line, why)
}

// value takes a line apart. Two events may share a line when an end of line was lost.
func (f *fileState) value(line []byte, why ending) error {
	values := []json.RawMessage{line}
	if !json.Valid(line) {
		values = nil
		for d := json.NewDecoder(bytes.NewReader(line)); ; {
			var one json.RawMessage
			err := d.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				f.broken(why, "line is no JSON object: "+err.Error())
				return nil //nolint:nilerr // counted
			}
			values = append(values, one)
		}
	}
	for _, one := range values {
		if err := f.object(one); err != nil {
			return err
		}
	}
	return nil
}

func (f *fileState) broken(why ending, text string) {
	if why == incomplete {
		f.stats.Incomplete++
		f.stats.note(f.at, "the last line is not complete")
		return
	}
	f.stats.Malformed++
	f.stats.note(f.at, text)
}

// object is one JSON value: an event, a list of events, or a line of a program's log.
func (f *fileState) object(raw []byte) error {
	var head struct {
		Kind       string            `json:"kind"`
		APIVersion string            `json:"apiVersion"`
		Schema     string            `json:"schema"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil {
		f.broken(complete, "line is no event: "+err.Error())
		return nil //nolint:nilerr // counted
	}
	switch {
	case head.Kind == "EventList":
		for _, item := range head.Items {
			// An item without kind is of the list's version.
			if err := f.event(item, head.APIVersion); err != nil {
				return err
			}
		}
		return nil
	case head.Kind == "Event":
		return f.event(raw, head.APIVersion)
	case head.Kind == "" && head.Schema == audit.Schema:
		return f.record(raw)
	case head.Kind == "" && strings.HasPrefix(head.Schema, "saguard.io/decision/"):
		f.stats.UnknownVersion++
		f.stats.note(f.at, "decision record of another schema: "+fmt.Sprintf("%.64q", head.Schema))
	}
	return nil // another program's line
}

func (f *fileState) record(raw []byte) error {
	rec := &audit.Record{}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, rec); err != nil {
		f.broken(complete, "line is no decision record: "+err.Error())
		return nil //nolint:nilerr // counted
	}
	f.stats.Records++
	return f.yield(&Entry{At: f.at, Record: rec})
}

func (f *fileState) event(raw []byte, version string) error {
	if version != auditv1.SchemeGroupVersion.String() {
		f.stats.UnknownVersion++
		f.stats.note(f.at, "event of another API version: "+fmt.Sprintf("%.64q", version))
		return nil
	}
	e := &auditv1.Event{}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, e); err != nil {
		f.broken(complete, "line is no event: "+err.Error())
		return nil //nolint:nilerr // counted
	}
	return f.give(e)
}

// give passes an event on if it matters.
func (f *fileState) give(e *auditv1.Event) error {
	if e.ObjectRef == nil || !f.interest.Wants(e.ObjectRef.Resource, e.ObjectRef.Subresource, e.Verb) {
		return nil
	}
	if e.AuditID == "" || e.RequestReceivedTimestamp.IsZero() {
		f.broken(complete, "event has no auditID or no requestReceivedTimestamp")
		return nil
	}
	if e.Stage == auditv1.StageRequestReceived {
		f.stats.Requests++
		return nil
	}
	if e.Annotations["audit.k8s.io/truncated"] == "true" {
		f.stats.Truncated++
	}
	if !f.seen.add(eventKey(e)) {
		f.stats.Duplicates++
		return nil
	}
	received := e.RequestReceivedTimestamp.Time
	if received.Before(f.last.Add(-backwards)) {
		f.stats.Backwards++
	}
	f.last = received
	dropSecrets(e)
	f.stats.Events++
	return f.yield(&Entry{At: f.at, Event: e})
}

// document reads a JSON document that spans lines: an EventList or an array of events.
func (f *fileState) document(in io.Reader) error {
	d := json.NewDecoder(in)
	f.at.Line = 0
	if err := f.items(d); err != nil && !errors.As(err, new(*stopped)) {
		f.broken(complete, "document is no list of events: "+err.Error())
		return nil
	} else if err != nil {
		return errors.Unwrap(err)
	}
	return nil
}

// stopped wraps an error of yield, which ends the read.
type stopped struct{ error }

func (s *stopped) Unwrap() error { return s.error }

func (f *fileState) items(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	version := auditv1.SchemeGroupVersion.String()
	if open == json.Delim('[') {
		return f.array(d, version)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch key {
		case "apiVersion":
			if err := d.Decode(&version); err != nil {
				return err
			}
		case "items":
			if _, err := d.Token(); err != nil {
				return err
			}
			if err := f.array(d, version); err != nil {
				return err
			}
		default:
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return err
			}
		}
	}
	_, err = d.Token()
	return err
}

func (f *fileState) array(d *json.Decoder, version string) error {
	for d.More() {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return err
		}
		f.at.Line++
		if err := f.event(item, version); err != nil {
			return &stopped{err}
		}
	}
	_, err := d.Token()
	return err
}

// eventKey is the same for the stages and copies of one request. The audit ID alone is not enough: a client may choose it (header
// Audit-ID), and whoever gave all requests the same would have one of them reviewed. The time is the API server's own. An
// aggregated API server logs a request under the same ID as the one in front of it; of the two only it knows what admission
// decided, so with and without a decision are two keys.
func eventKey(e *auditv1.Event) [17]byte {
	var key [17]byte
	text := make([]byte, 0, 512)
	for _, part := range []string{string(e.AuditID), e.Verb, e.RequestURI, e.User.Username} {
		text = append(append(text, part...), 0)
	}
	text = binary.BigEndian.AppendUint64(text, uint64(e.RequestReceivedTimestamp.UnixNano()))
	sum := sha256.Sum256(text)
	copy(key[:16], sum[:])
	if audit.Decided(e.Annotations) {
		key[16] = 1
	}
	return key
}

// dropSecrets forgets bodies that hold secrets, but for what kind of Secret it is and whose token it holds.
func dropSecrets(e *auditv1.Event) {
	switch {
	case e.ObjectRef.Resource == "secrets":
		for _, body := range []**rawBody{&e.RequestObject, &e.ResponseObject} {
			*body = withoutData(*body)
		}
	case e.ObjectRef.Subresource == "token":
		e.RequestObject, e.ResponseObject = nil, nil
	}
}
