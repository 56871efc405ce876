package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// builder fills one cache folder. It holds no state between calls.
type builder struct {
	goTool  string
	source  source
	targets []target
	cache   string        // parent of all cache folders
	log     io.Writer     // nil discards
	every   time.Duration // longest silence in log
}

// build returns the folder that holds all targets, building those missing.
func (b *builder) build(ctx context.Context) (string, error) {
	dir := filepath.Join(b.cache, b.source.key())
	if len(missingIn(dir, b.targets)) == 0 {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create the cache of control-plane binaries: %w", err)
	}
	unlock, err := b.lock(ctx, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	// Looked at again under the lock: whoever held it may have built them.
	for _, t := range missingIn(dir, b.targets) {
		if err := b.one(ctx, dir, t); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// lock holds an flock, which the kernel releases if this process is killed.
func (b *builder) lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache of control-plane binaries: %w", err)
	}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	start, said := time.Now(), time.Time{}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing releases the lock
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if now := time.Now(); now.Sub(said) >= b.every {
			b.say("waiting for another process that builds the control plane in %s, %s so far", dir, elapsed(start))
			said = now
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", f.Name(), context.Cause(ctx)), f.Close())
		case <-poll.C:
		}
	}
}

// one builds a target beside its place and renames it, so that no reader ever
// sees a partial program.
func (b *builder) one(ctx context.Context, dir string, t target) (err error) {
	start := time.Now()
	b.say("building %s %s from source; once, then cached in %s", t.name, b.source.versions[t.module], dir)
	staged := filepath.Join(dir, "."+t.name+".partial") // one writer: the lock is held
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfExists(staged))
		}
	}()
	cmd := exec.CommandContext(ctx, b.goTool, "build", "-trimpath", "-ldflags", b.source.ldflags(), "-o", staged, t.importPath())
	cmd.Dir = b.source.dir
	// GOFLAGS and GOWORK of the caller's shell are for another module. CGO off
	// makes static programs and needs no C compiler.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// Interrupting the whole group stops the compilers too, and lets the go
	// command remove its work folder.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	done := make(chan error, 1)
	go func() { done <- runTied(cmd) }()
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				return fmt.Errorf("build %s: %w", t.name, context.Cause(ctx))
			}
			if err != nil {
				return fmt.Errorf("build %s from %s: %w\n%s", t.name, b.source.dir, err, lastBytes(output.Bytes(), logTailBytes))
			}
			if err := os.Rename(staged, filepath.Join(dir, t.name)); err != nil {
				return fmt.Errorf("put %s into the cache: %w", t.name, err)
			}
			b.say("built %s %s in %s", t.name, b.source.versions[t.module], elapsed(start))
			return nil
		case <-tick.C:
			b.say("building %s %s from source, %s so far; once, then cached in %s", t.name, b.source.versions[t.module], elapsed(start), dir)
		}
	}
}

// say writes one line. A log that cannot be written does not stop a build.
func (b *builder) say(format string, args ...any) {
	if b.log != nil {
		_, _ = fmt.Fprintf(b.log, format+"\n", args...)
	}
}

func elapsed(since time.Time) time.Duration { return time.Since(since).Round(time.Second) }

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
