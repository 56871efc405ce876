package extauthz_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/zap/zapcore"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz/extauthz"
)

// rate is the number of checks a second that the benchmarks offer, whether answered or not.
const rate = 5000

// BenchmarkServer offers 5,000 checks a second over the unix socket, at 1,000 policies, and prints the time to the answer
// beside that of a service in the same process that allows everything: what is left is the decision, the record and the
// metrics. Run it with -benchtime=25000x for five seconds each. "churn" has a new snapshot ten times a second.
func BenchmarkServer(b *testing.B) {
	socket := filepath.Join(b.TempDir(), "allow-all")
	allowAll := serveAllowAll(b, socket)
	b.Run("allow-all", func(b *testing.B) { offer(b, allowAll) })

	var policies strings.Builder
	policies.WriteString(world)
	for i := range 1000 {
		on := "app == 'other'"
		if i%10 == 0 {
			on = "app == 'api'"
		}
		fmt.Fprintf(&policies, `
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: bulk-%d}
spec:
  order: %d
  selector: %s
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {selector: team == 't%d'}, namespaceSelector: all()}}
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [n%d]}, namespaceSelector: all()}, destination: {ports: [%d]}}
  - {action: Deny, source: {serviceAccounts: {selector: role == 'r%d'}, namespaceSelector: all()}}`, i, i, on, i, i, 1000+i, i)
	}
	for _, churn := range []bool{false, true} {
		name := "1000-policies"
		if churn {
			name += "-churn"
		}
		b.Run(name, func(b *testing.B) {
			r := start(b, func(o *extauthz.Options) {
				o.Recorder = audit.NewWriter(zapcore.Lock(zapcore.AddSync(io.Discard)))
			})
			first, second := parse(b, 1, policies.String()), parse(b, 2, policies.String())
			r.store.current.Store(first)
			ctx, cancel := context.WithCancel(b.Context())
			var churning sync.WaitGroup
			if churn {
				churning.Go(func() {
					ticker := time.NewTicker(100 * time.Millisecond)
					defer ticker.Stop()
					for i := 0; ; i++ {
						select {
						case <-ctx.Done():
							return
						case <-ticker.C:
							if i%2 == 0 {
								r.store.current.Store(second)
							} else {
								r.store.current.Store(first)
							}
						}
					}
				})
			}
			offer(b, r.client)
			cancel()
			churning.Wait()
		})
	}
}

// offer sends b.N checks, each at its time, and measures from that time: a service that falls behind shows it.
func offer(b *testing.B, client authv3.AuthorizationClient) {
	in := allowed()
	if _, err := client.Check(b.Context(), in); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := processorTime(b)
	took := make([]time.Duration, b.N)
	var wait sync.WaitGroup
	started := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for i := 0; i < b.N; {
		for due := int(time.Since(started) * rate / time.Second); i < min(due, b.N); i++ {
			n := i
			at := started.Add(time.Duration(n) * time.Second / rate)
			wait.Go(func() {
				out, err := client.Check(b.Context(), in)
				if err != nil || out.GetStatus().GetCode() != 0 {
					b.Errorf("got %v, %v", out, err)
				}
				took[n] = time.Since(at)
			})
		}
		<-ticker.C
	}
	wait.Wait()
	b.StopTimer()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	// Client and server together: on a machine that is shared this says more than the clock.
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(at(.5), "p50-µs")
	b.ReportMetric(at(.99), "p99-µs")
	b.ReportMetric(5000/max(at(.99), 1), "x-p99-of-5ms")
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// allowAllService is the baseline.
type allowAllService struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements authv3.AuthorizationServer.
func (allowAllService) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}, nil
}

func serveAllowAll(t testing.TB, socket string) authv3.AuthorizationClient {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, allowAllService{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return authv3.NewAuthorizationClient(dial(t, socket))
}
