package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Report is what /readyz answers.
type Report struct {
	Ready bool `json:"ready"`
	// Reasons say why not, one for each probe that fails.
	Reasons []string `json:"reasons,omitempty"`
	// Notes are worth knowing and no reason to send traffic elsewhere.
	Notes []string `json:"notes,omitempty"`
}

// Probe returns why the process is not ready; "" if it is.
type Probe func() (whyNot string)

// Health serves /healthz (the process answers) and /readyz (every probe passes). Ready is never the default: without probes
// nothing is ready.
type Health struct {
	Address string
	Probes  map[string]Probe
	Notes   []Probe
	// Listening, if given, is told the address once the listener is open.
	Listening func(net.Addr)
}

// NeedLeaderElection says that every replica answers.
func (h *Health) NeedLeaderElection() bool { return false }

// Report asks every probe.
func (h *Health) Report() Report {
	r := Report{Ready: len(h.Probes) > 0}
	for name, p := range h.Probes {
		if why := p(); why != "" {
			r.Ready = false
			r.Reasons = append(r.Reasons, name+": "+why)
		}
	}
	for _, n := range h.Notes {
		if note := n(); note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	return r
}

// Handler returns the two endpoints.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := h.Report()
		body, err := json.Marshal(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if !r.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(body, '\n')) //nolint:errcheck // a prober that went away needs no answer
	})
	return mux
}

// Start serves until ctx ends.
func (h *Health) Start(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", h.Address)
	if err != nil {
		return fmt.Errorf("listen for health probes: %w", err)
	}
	if h.Listening != nil {
		h.Listening(listener.Addr())
	}
	// Probers are few; whoever else reaches the port must not keep them out.
	const timeout, most = 5 * time.Second, 32
	server := &http.Server{
		Handler: h.Handler(), ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		ConnState: newConnections(most, time.Now).changed,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // closing is all that is left to do
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health probes: %w", err)
	}
	return nil
}
