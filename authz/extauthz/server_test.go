package extauthz_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/saguard/saguard/authz/extauthz"
)

func allowed() *authv3.CheckRequest { return request("10.0.0.1", idWeb, server, "GET", "/public") }

func TestNothingIsServedWithoutASnapshot(t *testing.T) {
	r := start(t, nil)
	health := healthv1.NewHealthClient(r.conn)
	watch, err := health.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, synced := range []bool{true, false, true} {
		want, code, why := healthv1.HealthCheckResponse_SERVING, codes.OK, ""
		if !synced {
			want, code, why = healthv1.HealthCheckResponse_NOT_SERVING, codes.Unavailable, "identity check: not synced: try again"
			r.store.current.Store(nil)
		} else {
			r.store.current.Store(parse(t, 7, world))
		}
		for _, service := range []string{"", "envoy.service.auth.v3.Authorization"} {
			got, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || got.GetStatus() != want {
				t.Errorf("health of %q: got %v, %v, want %v", service, got, err, want)
			}
		}
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("watched health: got %v, %v, want %v", got, err, want)
		}
		if got := r.server.Ready(); got != why {
			t.Errorf("got %q, want %q", got, why)
		}
		if _, err := r.client.Check(t.Context(), allowed()); grpcstatus.Code(err) != code {
			t.Errorf("got %v, want %v", err, code)
		}
	}
	if _, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "x"}); grpcstatus.Code(err) != codes.NotFound {
		t.Errorf("health of another service: %v", err)
	}
}

func TestSocketIsForOwnerAndGroupAlone(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{r.grpc, r.json} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != os.ModeSocket|0o660 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(r.grpc)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestNextProcessTakesTheSocketOver(t *testing.T) {
	first := start(t, nil)
	second := start(t, func(o *extauthz.Options) { o.GRPC.Socket = first.grpc })
	second.store.current.Store(parse(t, 8, world))
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	client := authv3.NewAuthorizationClient(dial(t, first.grpc))
	got, err := client.Check(t.Context(), allowed())
	if err != nil || got.GetDynamicMetadata().AsMap()["revision"] != 8.0 {
		t.Errorf("got %v, %v, want the second's answer", got, err)
	}
}

func TestSocketOfAProcessThatDiedIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, name := range []string{path, path + ".new"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", name)
		if err != nil {
			t.Fatal(err)
		}
		unix, ok := l.(*net.UnixListener)
		if !ok {
			t.Fatalf("got a %T", l)
		}
		unix.SetUnlinkOnClose(false)
		l.Close()
	}
	start(t, func(o *extauthz.Options) { o.GRPC.Socket = path })
	if got, err := authv3.NewAuthorizationClient(dial(t, path)).Check(t.Context(), allowed()); err != nil || got.GetStatus().GetCode() != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestWhatCannotBeServedIsAnError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := newAuthority(t, "cluster.local")
	mutual := &extauthz.MutualTLS{Credentials: ours.folder(t, ours.issue(t, idAPI)), Proxies: proxies(t, idAPI)}
	cases := map[string]struct {
		change func(*extauthz.Options)
		want   string
		atRun  bool
	}{
		"no snapshots":       {change: func(o *extauthz.Options) { o.Snapshots = nil }, want: "Snapshots is required"},
		"no configuration":   {change: func(o *extauthz.Options) { o.Config = nil }, want: "Config is required"},
		"no recorder":        {change: func(o *extauthz.Options) { o.Recorder = nil }, want: "Recorder is required"},
		"no metrics":         {change: func(o *extauthz.Options) { o.Metrics = nil }, want: "Metrics is required"},
		"no clock":           {change: func(o *extauthz.Options) { o.Now = nil }, want: "Now is required"},
		"nowhere":            {change: func(o *extauthz.Options) { o.GRPC, o.JSON = extauthz.Endpoint{}, extauthz.Endpoint{} }, want: "needs a socket or an address"},
		"a negative bound":   {change: func(o *extauthz.Options) { o.MaxConcurrent = -1 }, want: "cannot be negative"},
		"TCP in the clear":   {change: func(o *extauthz.Options) { o.GRPC.Address = "127.0.0.1:0" }, want: "GRPC.Address needs TLS"},
		"JSON in the clear":  {change: func(o *extauthz.Options) { o.JSON.Address = "127.0.0.1:0" }, want: "JSON.Address needs TLS"},
		"no credentials":     {change: onTCP(&extauthz.MutualTLS{Proxies: proxies(t, idAPI)}), want: "needs TLS with Credentials"},
		"nobody may ask":     {change: onTCP(&extauthz.MutualTLS{Credentials: mutual.Credentials}), want: "Proxies is required"},
		"a file in the way":  {change: func(o *extauthz.Options) { o.GRPC.Socket = file }, want: "not a socket", atRun: true},
		"no such folder":     {change: func(o *extauthz.Options) { o.JSON.Socket = filepath.Join(dir, "x", "s") }, want: "listen on", atRun: true},
		"not a port":         {change: func(o *extauthz.Options) { o.JSON.Address, o.JSON.TLS = "127.0.0.1:x", mutual }, want: "listen on 127.0.0.1:x", atRun: true},
		"an unknown address": {change: func(o *extauthz.Options) { o.GRPC.Address, o.GRPC.TLS = "127.0.0.1:99999", mutual }, want: "listen on", atRun: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			good := start(t, nil)
			o := good.server.Options
			o.GRPC.Socket, o.Listening = filepath.Join(t.TempDir(), "other"), nil
			tc.change(&o)
			s, err := extauthz.New(o)
			if tc.atRun && err == nil {
				err = s.Run(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func onTCP(c *extauthz.MutualTLS) func(*extauthz.Options) {
	return func(o *extauthz.Options) { o.GRPC.Address, o.GRPC.TLS = "127.0.0.1:0", c }
}

// Overload, a panic and a record that cannot be written can be brought about by clients: they are denials, not errors that
// a proxy might let pass.
func TestWhatAClientCanBringAboutIsADenial(t *testing.T) {
	type denial struct {
		code   codes.Code
		http   int32
		reason string
	}
	want := func(t *testing.T, got *authv3.CheckResponse, err error, want denial) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		is := denial{codes.Code(got.GetStatus().GetCode()), int32(got.GetDeniedResponse().GetStatus().GetCode()), got.GetStatus().GetMessage()}
		if is != want {
			t.Errorf("got %+v, want %+v", is, want)
		}
	}
	t.Run("overload", func(t *testing.T) {
		inside, release := make(chan struct{}, 1), make(chan struct{})
		r := start(t, func(o *extauthz.Options) {
			o.MaxConcurrent, o.Timeout = 1, 50*time.Millisecond
			o.Snapshots = before{o.Snapshots, func() {
				inside <- struct{}{}
				<-release
			}}
		})
		first := make(chan error, 1)
		go func() {
			_, err := r.client.Check(t.Context(), allowed())
			first <- err
		}()
		<-inside
		got, err := r.client.Check(t.Context(), allowed())
		want(t, got, err, denial{codes.Unavailable, 503, "overloaded"})
		close(release)
		if err := <-first; err != nil {
			t.Errorf("the check that was there first: %v", err)
		}
	})
	t.Run("a turn that comes too late", func(t *testing.T) {
		r := start(t, func(o *extauthz.Options) { o.Timeout = time.Nanosecond })
		got, err := r.client.Check(t.Context(), allowed())
		want(t, got, err, denial{codes.Unavailable, 503, "overloaded"})
	})
	t.Run("panic", func(t *testing.T) {
		r := start(t, func(o *extauthz.Options) { o.Snapshots = before{o.Snapshots, func() { panic("defect") }} })
		got, err := r.client.Check(t.Context(), allowed())
		want(t, got, err, denial{codes.Internal, 500, "panic"})
		if record := r.journal.last(t); record.Decision != "Error" || !strings.Contains(record.Error, "defect") {
			t.Errorf("recorded %+v", record)
		}
	})
	t.Run("an allowance that cannot be recorded", func(t *testing.T) {
		r := start(t, nil)
		r.journal.broken = true
		got, err := r.client.Check(t.Context(), allowed())
		want(t, got, err, denial{codes.Internal, 500, "unrecorded"})
	})
	t.Run("a denial that cannot be recorded", func(t *testing.T) {
		r := start(t, nil)
		r.journal.broken = true
		got, err := r.client.Check(t.Context(), request("10.0.0.2", idWeb, server, "GET", "/public"))
		want(t, got, err, denial{codes.PermissionDenied, 403, "identity-mismatch"})
	})
	t.Run("an allowance that need not be recorded", func(t *testing.T) {
		r := start(t, func(o *extauthz.Options) { o.RecordAllowed = false })
		r.journal.broken = true
		got, err := r.client.Check(t.Context(), allowed())
		want(t, got, err, denial{})
	})
}

func TestADeadlineThatPassedIsNoAllowance(t *testing.T) {
	r := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if got, err := r.client.Check(ctx, allowed()); grpcstatus.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLabelChangeHoldsForTheNextRequest(t *testing.T) {
	r := start(t, nil)
	for i, tc := range []struct {
		role string
		want codes.Code
	}{{"web", codes.OK}, {"batch", codes.PermissionDenied}, {"web", codes.OK}, {"", codes.PermissionDenied}} {
		r.store.current.Store(parse(t, uint64(i), strings.Replace(world, "labels: {role: web}}}", "labels: {role: '"+tc.role+"'}}}", 1)))
		got, err := r.client.Check(t.Context(), allowed())
		if err != nil || codes.Code(got.GetStatus().GetCode()) != tc.want {
			t.Errorf("role %q: got %v, %v, want %v", tc.role, got, err, tc.want)
		}
	}
}

func TestMetricsHaveClosedLabels(t *testing.T) {
	r := start(t, nil)
	for _, path := range []string{"/public", "/a", "/b"} {
		for _, principal := range []string{idWeb, "x", "y"} {
			if _, err := r.client.Check(t.Context(), request("10.0.0.1", principal, server, path, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, family := range families {
		if family.GetName() != "saguard_authz_checks_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			found++
			for _, label := range metric.GetLabel() {
				if v := label.GetValue(); v != "grpc" && v != "http" && v != "Deny" && v != "end-of-tier" && v != "malformed-identity" {
					t.Errorf("label %s=%q", label.GetName(), v)
				}
			}
		}
	}
	if found != 2 {
		t.Errorf("got %d series, want 2", found)
	}
}
