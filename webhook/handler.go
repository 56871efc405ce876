package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/internal/decision"
)

// HTTP status codes of refusals.
const (
	statusBadRequest  int32 = http.StatusBadRequest
	statusForbidden   int32 = http.StatusForbidden
	statusTooLarge    int32 = http.StatusRequestEntityTooLarge
	statusInternal    int32 = http.StatusInternalServerError
	statusUnavailable int32 = http.StatusServiceUnavailable
)

// Recorder keeps decision records; it is *audit.Writer.
type Recorder interface {
	Write(r *audit.Record) error
}

// Options are the parts of a Handler; all are required unless they say otherwise.
type Options struct {
	World      World
	Authorizer Authorizer
	Recorder   Recorder
	Metrics    *Metrics
	Log        logr.Logger
	Now        func() time.Time
	// ExcludedNamespaces are never guarded: kube-system and saguard's own, so that no guard can lock the cluster out.
	ExcludedNamespaces []string
	// Checks and Mutations default to all there are.
	Checks    []Check
	Mutations []Mutation
}

// Handler judges admission requests. It is safe for concurrent use.
type Handler struct {
	world      World
	authorizer Authorizer
	recorder   Recorder
	metrics    *Metrics
	log        logr.Logger
	now        func() time.Time
	excluded   map[string]bool
	checks     []Check
	mutations  []Mutation
	sightings  sightings
	admitted   *intake
}

// New returns a handler, or an error that names what is missing.
func New(o Options) (*Handler, error) {
	for name, missing := range map[string]bool{
		"World": o.World == nil, "Authorizer": o.Authorizer == nil, "Recorder": o.Recorder == nil,
		"Metrics": o.Metrics == nil, "Now": o.Now == nil,
	} {
		if missing {
			return nil, fmt.Errorf("webhook options: %s is required", name)
		}
	}
	h := &Handler{
		world: o.World, authorizer: o.Authorizer, recorder: o.Recorder, metrics: o.Metrics, log: o.Log, now: o.Now,
		excluded: map[string]bool{}, checks: o.Checks, mutations: o.Mutations, admitted: newIntake(),
	}
	for _, ns := range o.ExcludedNamespaces {
		h.excluded[ns] = true
	}
	if h.checks == nil {
		h.checks = Checks()
	}
	if h.mutations == nil {
		h.mutations = Mutations()
	}
	return h, nil
}

// Validate answers one request. Whatever happens on the way, there is one exit, and it records, counts and responds.
func (h *Handler) Validate(ctx context.Context, r *Request) *Response {
	started := h.now()
	f, d := h.judge(ctx, r)
	return h.finish(r, f, d, started)
}

// Mutate answers one request with a patch. It refuses only what it cannot read or not yet judge; that is recorded like a decision.
func (h *Handler) Mutate(ctx context.Context, r *Request) *Response {
	started := h.now()
	patch, err := h.patch(ctx, r)
	if err != nil {
		return h.finish(r, nil, refuse(err), started)
	}
	h.metrics.mutated(r, len(patch) > 0)
	return patched(r.UID, patch)
}

func (h *Handler) judge(ctx context.Context, r *Request) (f *Facts, d Decision) {
	defer func() {
		if p := recover(); p != nil {
			d = refuse(panicked(p))
		}
	}()
	f, err := h.gather(ctx, r)
	if err != nil {
		return nil, refuse(err)
	}
	h.sightings.note(f.Sightings)
	judged, err := judge(ctx, h.checks, f, h.authorizer)
	if err != nil {
		return f, refuse(err)
	}
	d = decide(f, judged)
	if d.Verdict == decision.Allow {
		h.gatherAdvice(f)
	}
	d.Warnings = append(d.Warnings, advise(f)...)
	return f, d
}

func (h *Handler) patch(ctx context.Context, r *Request) (patch []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			patch, err = nil, panicked(p)
		}
	}()
	f, err := h.gather(ctx, r)
	if err != nil {
		return nil, err
	}
	return mutate(h.mutations, f)
}

func panicked(p any) error {
	return &failure{code: statusInternal, reason: ReasonPanic, err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
}

// finish is the one exit. f is nil if the facts could not be gathered.
func (h *Handler) finish(r *Request, f *Facts, d Decision, started time.Time) *Response {
	took := h.now().Sub(started)
	record := newRecord(r, f, &d, h.world.Revision(), started, took)
	h.metrics.decided(r, &d, took)
	if d.Reason != ReasonNotGuarded {
		if err := h.recorder.Write(record); err != nil {
			h.metrics.recordFailed()
			// A decision that leaves no trace is not made: who reads the log must be able to rely on it. Fails closed.
			d = refuse(&failure{code: statusInternal, reason: ReasonInternal, err: errors.Join(d.Err, err)})
			h.log.Error(err, "decision record lost", "uid", r.UID)
			record = newRecord(r, f, &d, h.world.Revision(), started, took)
		}
	}
	return respond(r.UID, &d, record)
}
