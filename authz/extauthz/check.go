package extauthz

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/decision"
)

// Reasons of refusals by the server itself.
const (
	// ReasonNotSynced: there is no snapshot to decide on.
	ReasonNotSynced authz.Reason = "not-synced"
	// ReasonOverloaded: too many checks at once.
	ReasonOverloaded authz.Reason = "overloaded"
	// ReasonCanceled: the proxy gave up, or its deadline passed, before the check began.
	ReasonCanceled authz.Reason = "canceled"
	// ReasonPanic: a defect.
	ReasonPanic authz.Reason = "panic"
	// ReasonUnrecorded: the decision could not be recorded.
	ReasonUnrecorded authz.Reason = "unrecorded"
	// ReasonMalformed: the request is not one.
	ReasonMalformed authz.Reason = "malformed-request"
	// ReasonTooLarge: the request is larger than MaxMessageBytes.
	ReasonTooLarge authz.Reason = "too-large"
)

// transport is how a request came; a metric label.
type transport string

const (
	overGRPC transport = "grpc"
	overJSON transport = "json"
)

// question is one check on its way.
type question struct {
	transport transport
	server    authz.ServerName
	request   authz.Request
	id        string // the proxy's request ID, for the record
}

// answer is what was decided. The zero value is a denial that no record accepts.
type answer struct {
	authz.Decision
	outcome  audit.Outcome
	revision uint64
	err      error
}

var (
	errNotSynced  = errors.New("not synced: try again")
	errOverloaded = errors.New("too many checks at once")
)

// failed is an answer where no decision could be made (fails closed).
func failed(reason authz.Reason, err error) answer {
	return answer{Decision: authz.Decision{Reason: reason}, outcome: audit.Failed, err: err}
}

// check answers one question. There is one exit, and it records and counts, whatever happened.
func (s *Server) check(ctx context.Context, q *question) answer {
	started := s.Now()
	a := s.decide(ctx, q)
	return s.finish(q, a, started)
}

// decide waits for its turn for s.Timeout at most. That there was none in that time is overload, which a client can bring
// about; that the proxy no longer waits is not.
func (s *Server) decide(proxy context.Context, q *question) (a answer) {
	ctx, cancel := context.WithTimeout(proxy, s.Timeout)
	defer cancel()
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		select {
		case s.places <- struct{}{}:
			defer func() { <-s.places }()
		case <-ctx.Done():
			return failed(ReasonOverloaded, errOverloaded)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			a = failed(ReasonPanic, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	if err := proxy.Err(); err != nil {
		return failed(ReasonCanceled, err)
	}
	if ctx.Err() != nil {
		return failed(ReasonOverloaded, errOverloaded)
	}
	snapshot, revision, ok := s.Snapshots.Snapshot()
	if !ok || snapshot == nil {
		return failed(ReasonNotSynced, errNotSynced)
	}
	a = answer{Decision: s.memory.Decide(snapshot, s.Config, q.server, &q.request), outcome: audit.Denied, revision: revision}
	if a.Verdict == decision.Allow {
		a.outcome = audit.Allowed
	}
	return a
}

// finish is the one exit.
func (s *Server) finish(q *question, a answer, started time.Time) answer {
	took := s.Now().Sub(started)
	switch {
	case a.outcome != audit.Allowed:
		s.recordRefusal(q, &a, started, took)
	case s.RecordAllowed:
		if err := s.write(record(q, &a, started, took)); err != nil {
			// As at admission: an allowance that was to leave a trace and cannot is not given. Fails closed.
			a = failed(ReasonUnrecorded, err)
		}
	}
	s.Metrics.checked(q, &a, took)
	return a
}

// recordRefusal records a refusal, or counts it for a record of many.
func (s *Server) recordRefusal(q *question, a *answer, started time.Time, took time.Duration) {
	write, alone := s.throttle.refusal(kindOf(a), started, func() *audit.Record { return record(q, a, started, took) })
	if !alone {
		s.Metrics.summed.WithLabelValues(string(a.outcome), string(a.Reason)).Inc()
	}
	s.writeAll(write)
	if a.Reason == ReasonPanic && alone {
		s.Log.Error(a.err, "check failed")
	}
}

// writeAll writes records of refusals, which stand whether or not they can be recorded.
func (s *Server) writeAll(records []*audit.Record) {
	for _, r := range records {
		_ = s.write(r) //nolint:errcheck // counted and logged there
	}
}

// write counts what is lost. A log that fails is said to fail once, not for each record.
func (s *Server) write(r *audit.Record) error {
	err := s.Recorder.Write(r)
	if err == nil {
		s.recordsLost.Store(false)
		return nil
	}
	s.Metrics.recordsLost(1 + r.More)
	if !s.recordsLost.Swap(true) {
		s.Log.Error(err, "decision records are lost", "reason", r.Reason)
	}
	return err
}
