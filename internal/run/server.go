package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// What a client may cost. API servers call webhooks by HTTP/1.1 (k8s.io/apiserver, pkg/util/webhook), so a connection is a
// request at most.
const (
	// maxConnections is how many connections are open that got no answer yet, and how many that did.
	maxConnections = 512
	// idleTimeout is longer than that of the API server's own client (90 s), which then is the one that closes: a connection
	// closed here just when it is taken up again would be a request lost. It holds before the first request, too: a client that
	// gets another connection back while it dials keeps the new one, of which nothing has been asked, like any other. That
	// net/http gives each header the same time does no harm: whoever needs it holds a connection, and those are bounded.
	idleTimeout = 2 * time.Minute
	// writeTimeout counts from the header of a request: reading, judging (30 s at most) and answering. A TLS handshake may take
	// as long.
	writeTimeout = 45 * time.Second
	// bodyTimeout is for a body that the handler leaves unread, which net/http reads in its place.
	bodyTimeout = 10 * time.Second
	maxHeader   = 32 << 10
	// drainQuiet is how long nothing may be asked before the connections are closed, since one that is closed while a client
	// takes it up is a request lost; drainAtMost is how long that is waited for.
	drainQuiet, drainAtMost = 3 * time.Second, 8 * time.Second
	// shutdownTimeout is for the requests that are being answered when the connections are closed. With the chart's preStop
	// of 5 s all of it is within the pod's 30 s.
	shutdownTimeout = 15 * time.Second
)

// Server serves HTTP/1.1 over TLS to API servers. Zero values of what is not said to be optional are errors of the caller.
type Server struct {
	// Address is HOST:PORT.
	Address string
	// TLS has at least GetCertificate.
	TLS *tls.Config
	// Handler sets a read deadline of its own before it reads a body, and lifts it before anything that takes long: 10 s after
	// the header the client counts as gone otherwise.
	Handler http.Handler
	// Log gets, at V(1), what net/http says of broken connections: whoever reaches the port can bring that about.
	Log logr.Logger

	// Leave, if given, reports that requests had better go to other replicas: answers then end their connection, which an API
	// server otherwise keeps, whatever its Service says of this replica.
	Leave func() bool

	connections *connections
	listening   atomic.Bool
	draining    atomic.Bool
	addr        atomic.Pointer[net.Addr]
}

// NewServer returns a server.
func NewServer(address string, config *tls.Config, handler http.Handler, log logr.Logger) *Server {
	return &Server{Address: address, TLS: config, Handler: handler, Log: log, connections: newConnections(maxConnections, time.Now)}
}

// NeedLeaderElection says that every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// WhyNot is the [Probe] of the server.
func (s *Server) WhyNot() string {
	switch {
	case s.draining.Load():
		return "ending: requests go to other replicas"
	case !s.listening.Load():
		return "not listening"
	default:
		return ""
	}
}

// Addr is where it listens; nil before that.
func (s *Server) Addr() net.Addr {
	if a := s.addr.Load(); a != nil {
		return *a
	}
	return nil
}

// Drain moves the clients to other replicas: every answer from now on ends its connection, which clients obey without losing
// a request, while one that is closed under a request is an error that API servers do not repeat. It returns when nothing
// was asked for 3 s, after 8 s, or when ctx ends; all is served meanwhile.
func (s *Server) Drain(ctx context.Context) {
	s.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, drainAtMost)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !s.connections.quiet(drainQuiet) {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// Start serves until ctx ends, and then finishes the requests that are being answered.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	addr := listener.Addr()
	s.addr.Store(&addr)
	config := s.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	server := s.server(ctx)
	down := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		down <- server.Shutdown(grace)
	})
	s.listening.Store(true)
	defer s.listening.Store(false)
	if err := server.Serve(tls.NewListener(listener, config)); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve: %w", err)
	}
	if err := <-down; err != nil {
		return fmt.Errorf("finish requests: %w", errors.Join(err, server.Close()))
	}
	return nil
}

func (s *Server) server(ctx context.Context) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: http.HandlerFunc(s.serve), ConnState: s.connections.changed, Protocols: protocols,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) }, // what is in flight is finished
		ReadHeaderTimeout: idleTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.Log), slog.LevelDebug),
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() || s.Leave != nil && s.Leave() {
		w.Header().Set("Connection", "close")
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		http.Error(w, "connection is broken", http.StatusInternalServerError)
		return
	}
	s.Handler.ServeHTTP(w, r)
}

// Collector returns the connections as metrics.
func (s *Server) Collector() prometheus.Collector { return serverCollector{s} }

type serverCollector struct{ server *Server }

// Describe implements prometheus.Collector.
func (c serverCollector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c serverCollector) Collect(out chan<- prometheus.Metric) {
	open, evicted := c.server.connections.counts()
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("saguard_webhook_connections", "Connections that are open.", nil, nil),
		prometheus.GaugeValue, float64(open))
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("saguard_webhook_connections_evicted_total", "Connections closed to make room for others.", nil, nil),
		prometheus.CounterValue, float64(evicted))
}
