package run_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/run"
)

func TestPartsLiveAndDieTogether(t *testing.T) {
	broken := errors.New("broken")
	lasting := func(ctx context.Context) error { <-ctx.Done(); return nil }
	for name, tc := range map[string]struct {
		part func(ctx context.Context) error
		want string // "" = ends with the context, without an error
	}{
		"all last":                        {part: lasting},
		"one fails":                       {part: func(context.Context) error { return broken }, want: "second: broken"},
		"one ends without an error":       {part: func(context.Context) error { return nil }, want: "second: ended before its time"},
		"one panics":                      {part: func(context.Context) error { panic("oh") }, want: "second: panic: oh"},
		"one returns the context's error": {part: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.want == "" {
				cancel()
			}
			err := run.Together(ctx, run.Part{Name: "first", Run: lasting}, run.Part{Name: "second", Run: tc.part})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestHTTPServesUntilItsContextEnds(t *testing.T) {
	listening := make(chan net.Addr, 1)
	h := &run.HTTP{Address: "127.0.0.1:0", Listening: func(a net.Addr) { listening <- a }, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "hello"); err != nil {
			t.Error(err)
		}
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	resp, err := http.Get("http://" + (<-listening).String()) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Body.Close() != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	taken := &run.HTTP{Address: "256.0.0.1:0"}
	if err := taken.Run(t.Context()); err == nil {
		t.Error("an address that cannot be listened on is no error")
	}
}
