package nodeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Explainer asks the kernel and the rules; it is *enforce.Loop.
type Explainer interface {
	Explain(ctx context.Context, f ruleset.Flow) (enforce.Explanation, error)
}

// Server answers on a unix socket that only its owner may use: it tells who may reach whom.
type Server struct {
	// Socket is its path. Its folder is made if it is not there.
	Socket    string
	Explainer Explainer
	// Snapshot is nil while not everything has been read.
	Snapshot func() *policy.Snapshot
	Status   func() Status
}

const (
	pathStatus  = "/v1/status"
	pathExplain = "/v1/explain"
	// most bounds a question, in bytes.
	most = 16 << 10
	// patience bounds how long an answer may take.
	patience = 30 * time.Second
)

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.Socket), 0o755); err != nil {
		return fmt.Errorf("make folder of socket: %w", err)
	}
	// A socket that a killed process left; two agents on one node are prevented by their ports.
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "unix", s.Socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(s.Socket, 0o600); err != nil {
		return fmt.Errorf("restrict socket: %w", errors.Join(err, listener.Close()))
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: patience, WriteTimeout: patience}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // closing is all that is left to do
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// Handler returns the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("POST "+pathExplain, s.explain)
	return mux
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q Question
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		http.Error(w, "decode question: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience/2)
	defer cancel()
	a, err := s.Answer(ctx, q)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		reply(w, a)
	}
}

// refusal says what is wrong with a question.
type refusal struct{ err error }

// Error implements error.
func (r *refusal) Error() string { return r.err.Error() }

// errUnread says that nobody knows yet.
var errUnread = errors.New("not everything has been read yet, try again")

// Answer answers one question.
func (s *Server) Answer(ctx context.Context, q Question) (Answer, error) {
	snapshot := s.Snapshot()
	if snapshot == nil {
		return Answer{}, errUnread
	}
	flow, err := q.resolve(snapshot)
	if err != nil {
		return Answer{}, &refusal{err}
	}
	e, err := s.Explainer.Explain(ctx, flow.kernel)
	if err != nil {
		return Answer{}, fmt.Errorf("ask the kernel: %w", err)
	}
	return answer(e, eval.Evaluate(snapshot, flow.policy)), nil
}

func reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) //nolint:errcheck // a client that went away needs no answer
}
