package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// WaitAudit waits for an event that matches, in the whole audit log so far and
// then in what is added to it, and returns the first. match is called once for
// each event, in the order of the log.
func (cp *ControlPlane) WaitAudit(ctx context.Context, match func(*auditv1.Event) bool) (*auditv1.Event, error) {
	log := &auditReader{path: cp.AuditLog()}
	var found *auditv1.Event
	seen := 0
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(context.Context) (bool, error) {
		err := log.next(func(event *auditv1.Event) bool {
			seen++
			if match(event) {
				found = event
			}
			return found == nil
		})
		return found != nil, err
	})
	if wait.Interrupted(err) {
		return nil, fmt.Errorf("wait for an audit event, none of %d matches: %w", seen, context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// AuditEvents returns the events written so far that match. With the default
// batches, events of the last 200 ms may be missing: to show that something was
// not audited, wait for a later event first.
func (cp *ControlPlane) AuditEvents(match func(*auditv1.Event) bool) ([]auditv1.Event, error) {
	log := &auditReader{path: cp.AuditLog()}
	var events []auditv1.Event
	err := log.next(func(event *auditv1.Event) bool {
		if match(event) {
			events = append(events, *event)
		}
		return true
	})
	return events, err
}

// auditReader reads a growing audit log, each complete line once.
type auditReader struct {
	path   string
	offset int64 // of the first byte not yet read, always the start of a line
	line   int
}

// next gives each event added since the last call to yield until that returns
// false. A log that does not exist yet has no events.
func (r *auditReader) next(yield func(*auditv1.Event) bool) error {
	file, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	if _, err := file.Seek(r.offset, io.SeekStart); err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	lines := bufio.NewReaderSize(file, 64<<10)
	for {
		raw, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without its end is still being written
		}
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		r.offset += int64(len(raw))
		r.line++
		event := &auditv1.Event{}
		if err := json.Unmarshal(bytes.TrimSpace(raw), event); err != nil {
			return fmt.Errorf("parse line %d of the audit log: %w", r.line, err)
		}
		if !yield(event) {
			return nil
		}
	}
}
