package run_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/saguard/saguard/internal/run"
)

// serving is a server on loopback and a client of it.
type serving struct {
	*run.Server
	client *http.Client
	config *tls.Config
	stop   func() error
}

func serve(t *testing.T, handler http.HandlerFunc) *serving {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	s := &serving{Server: run.NewServer("127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil },
	}, handler, logr.Discard())}
	if s.WhyNot() == "" {
		t.Error("ready before it listens")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	s.stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	for s.WhyNot() != "" {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	s.config = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}
	transport := &http.Transport{TLSClientConfig: s.config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport}
	return s
}

func (s *serving) get(t *testing.T) *http.Response {
	t.Helper()
	resp, err := s.client.Get("https://" + s.Addr().String()) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	return resp
}

func TestServerSpeaksHTTP1Only(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	if resp := s.get(t); resp.Proto != "HTTP/1.1" || resp.Close {
		t.Errorf("%s, close %t", resp.Proto, resp.Close)
	}
}

func TestAnswersEndTheirConnectionWhenTheReplicaIsToBeLeft(t *testing.T) {
	var leave atomic.Bool
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.Leave = leave.Load
	for _, want := range []bool{false, true, false} {
		leave.Store(want)
		if resp := s.get(t); resp.Close != want {
			t.Errorf("to be left %t: the connection ends: %t", want, resp.Close)
		}
	}
	s.client.CloseIdleConnections() // else they would have to be quiet for some seconds
	s.Drain(t.Context())
	if s.WhyNot() == "" {
		t.Error("ready while it drains")
	}
	if resp := s.get(t); !resp.Close {
		t.Error("a connection goes on while the server drains")
	}
}

func TestDrainWaitsForTheLastRequestAndNoLonger(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	answered := make(chan bool, 1)
	go func() {
		resp, err := s.client.Get("https://" + s.Addr().String()) //nolint:noctx // a test's own server
		answered <- err == nil && resp.StatusCode == http.StatusOK && resp.Body.Close() == nil
	}()
	<-entered
	drained := make(chan struct{})
	go func() {
		s.Drain(t.Context())
		close(drained)
	}()
	for s.WhyNot() == "" {
		<-time.After(time.Millisecond)
	}
	select {
	case <-drained:
		t.Error("drained during a request")
	default:
	}
	// Stopping finishes it, too.
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	close(leave)
	if !<-answered {
		t.Error("a request in flight was lost")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	<-drained
}

func TestSilentConnectionsMakeRoomForOthers(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.get(t) // known from now on
	const silent = 600
	conns := make([]net.Conn, silent)
	for n := range conns {
		conn, err := net.Dial("tcp", s.Addr().String()) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[n] = conn
	}
	if _, err := bufio.NewReader(conns[0]).ReadByte(); err == nil {
		t.Error("the first silent connection was given something")
	}
	if resp := s.get(t); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	s.awaitEvicted(t, silent-room)
}

// The handshake of each good request meets more new connections from another address than there is room for.
func TestFloodFromOneAddressLosesNoRequestOfAnother(t *testing.T) {
	const requests, burst = 10, 2*room + 76
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for n := range requests {
		conn, err := net.Dial("tcp", s.Addr().String()) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		before := s.evicted(t)
		stop := flood(t, s.Addr().String(), burst)
		s.awaitEvicted(t, before+room+1) // as many as there were before the flood, and one of it
		transport := &http.Transport{TLSClientConfig: s.config, DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr().String()) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		if resp.StatusCode != http.StatusOK || resp.Body.Close() != nil {
			t.Errorf("request %d: status %d", n, resp.StatusCode)
		}
		stop()
	}
}

// flood opens connections from an address of its own, and says nothing. However many the kernel lets wait to be accepted, all
// of them are in the end; none is lost meanwhile.
func flood(t *testing.T, address string, burst int) (stop func()) {
	t.Helper()
	conns := make([]net.Conn, burst)
	const dialers = 16
	var all sync.WaitGroup
	for d := range dialers {
		all.Go(func() {
			attacker := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			for n := d; n < burst; n += dialers {
				conn, err := attacker.DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				conns[n] = conn
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return func() {
		for _, conn := range conns {
			if tcp, ok := conn.(*net.TCPConn); !ok || tcp.SetLinger(0) != nil { // a reset leaves nothing behind in the kernel
				t.Error("no connection of TCP")
			}
			conn.Close()
		}
	}
}

// room is how many connections a server holds of each kind.
const room = 512

// evicted is how many connections were closed for want of room.
func (s *serving) evicted(t *testing.T) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collector())
	families, err := registry.Gather()
	if err != nil || len(families) != 2 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	for _, f := range families {
		if f.GetName() == "saguard_webhook_connections_evicted_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("evicted connections are not counted")
	return 0
}

// awaitEvicted waits until so many were: which is known once all that came have been accepted.
func (s *serving) awaitEvicted(t *testing.T, want float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.evicted(t) < want {
		select {
		case <-ctx.Done():
			t.Fatalf("evicted %v, want %v", s.evicted(t), want)
		case <-time.After(time.Millisecond):
		}
	}
}
