package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Part is something that goes on for as long as the process.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// Together runs the parts until ctx ends. One that ends before that, with an error or without, or that panics, ends all of
// them: a process of which a part is dead must not look alive. The error is that of the first.
func Together(ctx context.Context, parts ...Part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() {
			if err := p.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *Part) run(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", p.Name, r, debug.Stack())
		}
	}()
	if err := p.Run(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("%s: ended before its time", p.Name)
	}
	return nil
}

// HTTP serves a handler on a TCP address.
type HTTP struct {
	Address string
	Handler http.Handler
	// Listening, if given, is told the address once the listener is open.
	Listening func(net.Addr)
}

// Run serves until ctx ends.
func (h *HTTP) Run(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", h.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if h.Listening != nil {
		h.Listening(listener.Addr())
	}
	server := &http.Server{Handler: h.Handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // closing is all that is left to do
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
