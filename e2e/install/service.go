package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Service stands in for what a cluster with nodes has between the API server and the webhook's replicas: kubelets that probe
// readiness, end pods and notice that one has died, the EndpointSlice that follows from it, and kube-proxy, which gives each
// new connection to one of the endpoints at random and leaves established ones alone. Times are those of the pod that the
// chart renders, and those of Kubernetes that are no pod's business.
type Service struct {
	pod      corev1.PodSpec
	listener *net.TCPListener

	ctx    context.Context //nolint:containedctx // ends what was accepted and what probes
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	endpoints map[*Replica]*endpoint
	changed   chan struct{} // closed and made anew with every change of the endpoints
}

type endpoint struct{ ready, terminating bool }

const (
	// noticesDeath is how often a kubelet looks for containers that died (its PLEG's relist period).
	noticesDeath = time.Second
	// propagation is a generous time for a change of an EndpointSlice to reach kube-proxy: a controller, the API server and
	// iptables.
	propagation = 500 * time.Millisecond
)

func newService(ctx context.Context) (*Service, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("stand in for the Service: %w", err)
	}
	s := &Service{listener: listener, endpoints: map[*Replica]*endpoint{}, changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.tasks.Go(s.accept)
	return s, nil
}

// runs says which pod it is that the replicas are; before the first replica is added.
func (s *Service) runs(pod corev1.PodSpec) error {
	if len(pod.Containers) != 1 || pod.Containers[0].ReadinessProbe == nil {
		return errors.New("the webhook's pod is not one container with a readiness probe")
	}
	s.pod = pod
	return nil
}

func (s *Service) port() (int, error) {
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("stand in for the Service: address %v", s.listener.Addr())
	}
	return addr.Port, nil
}

func (s *Service) close() error {
	s.cancel()
	err := s.listener.Close()
	s.tasks.Wait()
	return err
}

// Add makes a replica an endpoint, as soon and for as long as it is ready.
func (s *Service) Add(r *Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints[r] = &endpoint{}
	s.tasks.Go(func() { s.probe(r) })
}

// Ready returns the replicas that get new connections.
func (s *Service) Ready() []*Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Replica
	for r, e := range s.endpoints {
		if e.ready && !e.terminating {
			out = append(out, r)
		}
	}
	return out
}

// Await waits until the replicas that get new connections satisfy a condition.
func (s *Service) Await(ctx context.Context, condition func(ready []*Replica) bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		ready := s.Ready()
		if condition(ready) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			names := ""
			for _, r := range ready {
				names += " " + r.Name
			}
			return fmt.Errorf("wait for endpoints, ready are:%s: %w", names, context.Cause(ctx))
		}
	}
}

// Terminate does what deleting the replica's pod does: it leaves the endpoints, and what preStop asks for, then SIGTERM and,
// after the grace period, SIGKILL happen meanwhile. It returns when the process has ended; SIGKILL is an error.
func (s *Service) Terminate(ctx context.Context, r *Replica) error {
	grace := 30 * time.Second
	if g := s.pod.TerminationGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	s.tasks.Go(func() {
		if s.pause(propagation) {
			s.update(r, func(e *endpoint) { e.terminating = true })
		}
	})
	if l := s.pod.Containers[0].Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		select {
		case <-time.After(time.Duration(l.PreStop.Sleep.Seconds) * time.Second):
		case <-ctx.Done():
		}
	}
	return r.End(ctx, syscall.SIGTERM)
}

// probe is a kubelet's prober.
func (s *Service) probe(r *Replica) {
	p := s.pod.Containers[0].ReadinessProbe
	period, timeout := time.Duration(p.PeriodSeconds)*time.Second, time.Duration(p.TimeoutSeconds)*time.Second
	tick, dead := time.NewTicker(period), time.NewTicker(noticesDeath)
	defer tick.Stop()
	defer dead.Stop()
	failures := int32(0)
	// A kubelet probes a container that has not been ready yet more often than it is asked to.
	soon := time.NewTicker(poll)
	defer soon.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-dead.C:
			select {
			case <-r.Done():
				s.remove(r)
				return
			default:
				continue
			}
		case <-soon.C:
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, timeout)
		report, err := r.Ready(ctx)
		cancel()
		switch {
		case err == nil && report.Ready:
			failures = 0
			soon.Stop()
			s.update(r, func(e *endpoint) { e.ready = true })
		default:
			if failures++; failures >= p.FailureThreshold {
				s.update(r, func(e *endpoint) { e.ready = false })
			}
		}
	}
}

func (s *Service) update(r *Replica, change func(*endpoint)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.endpoints[r]; e != nil {
		change(e)
		s.signal()
	}
}

func (s *Service) remove(r *Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.endpoints, r)
	s.signal()
}

func (s *Service) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// pause reports whether the time passed before the end.
func (s *Service) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *Service) accept() {
	for {
		client, err := s.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client's trouble: it sees a closed connection
		}
		s.tasks.Go(func() { s.forward(client) })
	}
}

// forward passes a connection to a replica. Where there is none, or it refuses, the client is refused too: kube-proxy tries
// no other.
func (s *Service) forward(client *net.TCPConn) {
	defer func() { _ = client.Close() }()
	reset := func() { _ = client.SetLinger(0) } //nolint:errcheck // it is closed in any case
	ready := s.Ready()
	if len(ready) == 0 {
		reset()
		return
	}
	var d net.Dialer
	conn, err := d.DialContext(s.ctx, "tcp4", ready[rand.IntN(len(ready))].Address)
	if err != nil {
		reset()
		return
	}
	server, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(s.ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { copyTo(server, client) })
	both.Go(func() { copyTo(client, server) })
	both.Wait()
}

// copyTo copies until the source ends, and passes that on.
func copyTo(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	_ = to.CloseWrite()
}
