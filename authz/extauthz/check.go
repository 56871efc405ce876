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
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	a := s.decide(ctx, q)
	return s.finish(q, a, started)
}

func (s *Server) decide(ctx context.Context, q *question) (a answer) {
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
	if err := ctx.Err(); err != nil {
		return failed(ReasonCanceled, err)
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
	if a.outcome != audit.Allowed || s.RecordAllowed {
		if err := s.Recorder.Write(record(q, &a, started, took)); err != nil {
			s.Metrics.recordLost()
			s.Log.Error(err, "decision record lost", "reason", a.Reason)
			if a.outcome == audit.Allowed {
				// As at admission: an allowance that was to leave a trace and cannot is not given. Fails closed.
				a = failed(ReasonUnrecorded, err)
			}
		}
	}
	if a.Reason == ReasonPanic {
		s.Log.Error(a.err, "check failed")
	}
	s.Metrics.checked(q, &a, took)
	return a
}
