package extauthz_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/zap/zapcore"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz/extauthz"
	"github.com/saguard/saguard/policy"
)

// rate is the number of checks a second that the benchmark offers, whether answered or not.
const rate = 5000

// benchClients is the number of pods that ask in turn.
const benchClients = 200

// Variables of the environment of BenchmarkServerProcess.
const (
	benchMode   = "EXTAUTHZ_BENCH_MODE"
	benchSocket = "EXTAUTHZ_BENCH_SOCKET"
)

// Modes of BenchmarkServerProcess.
const (
	modeAllowAll = "allow-all"           // the baseline: no decision, no record, no metrics
	modePolicies = "1000-policies"       // everything is allowed
	modeChurn    = "1000-policies-churn" // and there is a new snapshot ten times a second
	modeFlood    = "1000-policies-flood" // everything is refused
)

// BenchmarkServer offers 5,000 checks a second over the unix socket to a process of its own that has one core, and prints the
// time from when a check was due to its answer, and the server's processor time. The baseline is the same with a service that
// allows everything: what is left is the decision at 1,000 policies, the record and the metrics. Run it with
// -benchtime=25000x for five seconds each, on a machine that does nothing else.
func BenchmarkServer(b *testing.B) {
	for _, mode := range []string{modeAllowAll, modePolicies, modeChurn, modeFlood} {
		b.Run(mode, func(b *testing.B) {
			socket := filepath.Join(b.TempDir(), "s")
			cpu := serveElsewhere(b, mode, socket)
			id, want := idWeb, codes.OK
			if mode == modeFlood {
				id, want = idBatch, codes.PermissionDenied
			}
			requests := make([]*authv3.CheckRequest, benchClients)
			for i := range requests {
				requests[i] = request(clientAddress(i), id, server, "GET", "/public")
			}
			offer(b, authv3.NewAuthorizationClient(dial(b, socket)), requests, want, cpu)
		})
	}
}

// serveElsewhere starts BenchmarkServerProcess, and returns what asks it for its processor time so far.
func serveElsewhere(b *testing.B, mode, socket string) (cpu func() time.Duration) {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(b.Context()), program, "-test.run=^$", "-test.bench=^BenchmarkServerProcess$", "-test.benchtime=1x")
	c.Env = append(os.Environ(), "GOMAXPROCS=1", benchMode+"="+mode, benchSocket+"="+socket)
	c.Stderr = b.Output()
	in, err := c.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	cpu = func() time.Duration {
		b.Helper()
		if _, err := fmt.Fprintln(in); err != nil {
			b.Fatal(err)
		}
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), benchMode+" "); ok {
				d, err := time.ParseDuration(text)
				if err != nil {
					b.Fatal(err)
				}
				return d
			}
		}
		b.Fatalf("the server ended: %v", lines.Err())
		return 0
	}
	b.Cleanup(func() {
		if err := in.Close(); err != nil {
			b.Error(err)
		}
		for lines.Scan() { // to its end
		}
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	})
	cpu() // it answers once it serves
	return cpu
}

// BenchmarkServerProcess is the other process of BenchmarkServer: it serves until its standard input ends, and says its
// processor time for each line there.
func BenchmarkServerProcess(b *testing.B) {
	mode := os.Getenv(benchMode)
	if mode == "" {
		b.Skip("started by BenchmarkServer")
	}
	if mode == modeAllowAll {
		serveAllowAll(b, os.Getenv(benchSocket))
	} else {
		first, second := parse(b, 1, benchWorld()), parse(b, 2, benchWorld())
		r := start(b, func(o *extauthz.Options) {
			o.GRPC.Socket = os.Getenv(benchSocket)
			o.Recorder, o.RecordAllowed = audit.NewWriter(zapcore.Lock(zapcore.AddSync(io.Discard))), true
		})
		r.store.current.Store(first)
		if mode == modeChurn {
			ctx, cancel := context.WithCancel(b.Context())
			var churning sync.WaitGroup
			defer churning.Wait()
			defer cancel()
			churning.Go(func() { r.store.alternate(ctx, first, second) })
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := fmt.Fprintf(os.Stdout, "%s %v\n", benchMode, processorTime(b)); err != nil {
			b.Fatal(err)
		}
	}
}

// alternate stores one snapshot and the other ten times a second.
func (s *store) alternate(ctx context.Context, snapshots ...*policy.Snapshot) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.current.Store(snapshots[i%len(snapshots)])
		}
	}
}

func clientAddress(i int) string { return fmt.Sprintf("10.0.2.%d", i) }

// benchWorld is the world with clients and 1,000 policies, 100 of them on the server.
func benchWorld() string {
	var out strings.Builder
	out.WriteString(world)
	for i := range benchClients {
		fmt.Fprintf(&out, `
---
{apiVersion: v1, kind: Pod, metadata: {name: client-%d, namespace: prod}, spec: {nodeName: a, serviceAccountName: web}, status: {podIPs: [{ip: %s}]}}`, i, clientAddress(i))
	}
	for i := range 1000 {
		on := "app == 'other'"
		if i%10 == 0 {
			on = "app == 'api'"
		}
		fmt.Fprintf(&out, `
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
	return out.String()
}

// offer sends b.N checks, each at its time, and measures from that time: a service that falls behind shows it.
func offer(b *testing.B, client authv3.AuthorizationClient, requests []*authv3.CheckRequest, want codes.Code, cpu func() time.Duration) {
	for _, in := range requests[:2] {
		if _, err := client.Check(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	before := cpu()
	took := make([]time.Duration, b.N)
	var wait sync.WaitGroup
	var overloaded atomic.Int64 // answered, but with a denial for want of time
	started := time.Now()
	ticker := time.NewTicker(time.Second / rate)
	defer ticker.Stop()
	for i := 0; i < b.N; {
		for due := int(time.Since(started) * rate / time.Second); i < min(due, b.N); i++ {
			n := i
			at := started.Add(time.Duration(n) * time.Second / rate)
			wait.Go(func() {
				out, err := client.Check(b.Context(), requests[n%len(requests)])
				switch got := codes.Code(out.GetStatus().GetCode()); {
				case err == nil && got == codes.Unavailable:
					overloaded.Add(1)
				case err != nil || got != want:
					b.Errorf("got %v, %v", out, err)
				}
				took[n] = time.Since(at)
			})
		}
		<-ticker.C
	}
	wait.Wait()
	elapsed := time.Since(started)
	b.StopTimer()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	// On a machine that is shared this says more than the clock.
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "server-cpu-µs/op")
	b.ReportMetric(at(.5), "p50-µs")
	b.ReportMetric(at(.99), "p99-µs")
	b.ReportMetric(at(1), "max-µs")
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "answers/s")
	b.ReportMetric(float64(overloaded.Load())/float64(b.N), "overloaded/op")
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

func serveAllowAll(t testing.TB, socket string) {
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
}
