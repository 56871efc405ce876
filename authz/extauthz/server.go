package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/saguard/saguard/authz"
)

// authorizationService is the name that Envoy calls, and that health may be asked for.
const authorizationService = "envoy.service.auth.v3.Authorization"

const (
	// handshakeTimeout bounds the time until a connection says something.
	handshakeTimeout = 5 * time.Second
	// stopTimeout is what checks in flight are given when the server stops.
	stopTimeout = 5 * time.Second
	// maxHeaderBytes bounds the headers of a call; what is checked comes in the message.
	maxHeaderBytes = 64 << 10
	// sweepPeriod is how late the sum of a minute's refusals may be.
	sweepPeriod = 5 * time.Second
)

// Server serves checks. Make it with New.
type Server struct {
	Options
	memory   authz.Memory
	throttle *throttle
	places   chan struct{}
	stopping chan struct{}
	// recordsLost says that the last record could not be written.
	recordsLost atomic.Bool
}

// New checks the options.
func New(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Server{Options: o, throttle: newThrottle(o.RecordRate), places: make(chan struct{}, o.MaxConcurrent), stopping: make(chan struct{})}, nil
}

// Ready returns why the server does not answer, "" if it does; it is a run.Probe.
func (s *Server) Ready() string {
	if _, _, ok := s.Snapshots.Snapshot(); !ok {
		return "identity check: " + errNotSynced.Error()
	}
	return ""
}

// Run serves until ctx ends. Any other end is an error, and ends all listeners. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	overGRPC, err := s.GRPC.listen(ctx, "h2", s.refused)
	if err != nil {
		return err
	}
	overJSON, err := s.JSON.listen(ctx, "http/1.1", s.refused)
	if err != nil {
		return errors.Join(err, closeAll(overGRPC))
	}
	if s.Listening != nil {
		var addresses []net.Addr
		for _, l := range append(overGRPC[:len(overGRPC):len(overGRPC)], overJSON...) {
			addresses = append(addresses, l.Addr())
		}
		s.Listening(addresses)
	}
	return s.serve(ctx, overGRPC, overJSON)
}

func (s *Server) serve(ctx context.Context, overGRPC, overJSON []net.Listener) error {
	local, remote := s.calls(), s.calls(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: stopTimeout}))
	requests := &http.Server{
		Handler: s.jsonHandler(), ReadHeaderTimeout: handshakeTimeout, ReadTimeout: handshakeTimeout + s.Timeout,
		WriteTimeout: handshakeTimeout + 2*s.Timeout, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.Log), slog.LevelDebug),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, acceptedAt{}, s.Now())
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range overGRPC {
		calls := remote
		if l.Addr().Network() == "unix" {
			calls = local
		}
		group.Go(func() error {
			err := calls.Serve(l)
			if errors.Is(err, grpc.ErrServerStopped) {
				return nil
			}
			return named("serve checks over gRPC", err)
		})
	}
	for _, l := range overJSON {
		group.Go(func() error {
			err := requests.Serve(l)
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return named("serve checks over HTTP", err)
		})
	}
	group.Go(func() error {
		ticker := time.NewTicker(sweepPeriod)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				s.writeAll(s.throttle.sweep(s.Now()))
			}
		}
	})
	group.Go(func() error {
		<-ctx.Done()
		close(s.stopping)
		var stopped sync.WaitGroup
		stopped.Go(func() { stopCalls(local) })
		stopped.Go(func() { stopCalls(remote) })
		defer stopped.Wait()
		return stopRequests(ctx, requests)
	})
	err := group.Wait()
	s.writeAll(s.throttle.drain())
	return err
}

// calls is a server of gRPC.
func (s *Server) calls(more ...grpc.ServerOption) *grpc.Server {
	out := grpc.NewServer(append(more,
		grpc.MaxRecvMsgSize(s.MaxMessageBytes), grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		// A connection may have what all may have together, and no stream without bound waits behind them.
		grpc.MaxConcurrentStreams(uint32(2*s.MaxConcurrent)),
	)...)
	authv3.RegisterAuthorizationServer(out, envoyService{server: s})
	healthv1.RegisterHealthServer(out, healthService{server: s})
	return out
}

// refused is told of each connection that is turned away for what this package requires.
func (s *Server) refused(err error) {
	s.Metrics.refused.Inc()
	s.Log.V(1).Info("connection refused", "error", err.Error())
}

// stopCalls lets the calls in flight end, for a while.
func stopCalls(calls *grpc.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		calls.GracefulStop()
	}()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		calls.Stop()
		<-done
	}
}

func stopRequests(ctx context.Context, requests *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := requests.Shutdown(ctx); err != nil {
		return errors.Join(named("stop serving checks over HTTP", err), requests.Close())
	}
	return nil
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
