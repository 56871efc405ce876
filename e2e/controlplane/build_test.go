package controlplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watchedLog is a log a test can wait on.
type watchedLog struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // has room for one: a write is never held up
}

func newWatchedLog() *watchedLog { return &watchedLog{changed: make(chan struct{}, 1)} }

func (l *watchedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *watchedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns when the log contains the text.
func (l *watchedLog) await(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.changed:
		case <-ctx.Done():
			t.Fatalf("no %q in:\n%s", text, l)
		}
	}
}

// testBuilder builds a program from a module of one file. The go command is
// replaced by a script if there is one.
func testBuilder(t *testing.T, program, script string) *builder {
	t.Helper()
	dir := t.TempDir()
	goTool := "go"
	for name, content := range map[string]string{"go.mod": "module example.com/hello\n\ngo 1.26.0\n", "main.go": program, "go": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if script != "" {
		goTool = filepath.Join(dir, "go")
	}
	return &builder{
		goTool:  goTool,
		source:  source{dir: dir, versions: map[string]string{kubernetesModule: "v1.2.3", "example.com/hello": "v4.5.6"}},
		targets: []target{{name: "hello", module: "example.com/hello"}},
		cache:   t.TempDir(),
		log:     newWatchedLog(),
		every:   time.Hour,
	}
}

func TestConcurrentBuildersBuildOnce(t *testing.T) {
	b := testBuilder(t, "package main\n\nfunc main() {}\n", "")
	type result struct {
		dir string
		err error
	}
	results := make(chan result)
	const callers = 4
	for range callers {
		go func() {
			dir, err := b.build(t.Context())
			results <- result{dir: dir, err: err}
		}()
	}
	for range callers {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		if missing := missingIn(r.dir, b.targets); len(missing) > 0 {
			t.Errorf("returned before %v was there", missing)
		}
	}
	log := b.log.(*watchedLog).String()
	if n := strings.Count(log, "built hello v4.5.6"); n != 1 {
		t.Errorf("built %d times, want once:\n%s", n, log)
	}
}

func TestLongBuildAndThoseWhoWaitForItShowProgress(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "release")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	b := testBuilder(t, "", "#!/bin/sh\nread _ <"+fifo+"\nwhile [ \"$1\" != -o ]; do shift; done\n>\"$2\"\nchmod +x \"$2\"\n")
	b.every = time.Millisecond
	waiting := *b
	waiting.log = newWatchedLog()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := make(chan error)
	go func() { _, err := b.build(ctx); errs <- err }()
	b.log.(*watchedLog).await(t, "building hello v4.5.6 from source, 0s so far; once, then cached in "+b.cache)
	go func() { _, err := waiting.build(ctx); errs <- err }()
	waiting.log.(*watchedLog).await(t, "waiting for another process")
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if log := waiting.log.(*watchedLog).String(); strings.Contains(log, "building hello") {
		t.Errorf("the one who waited built too:\n%s", log)
	}
}

func TestBuildThatEndsEarlyLeavesNoPartialProgram(t *testing.T) {
	t.Run("a compile error is shown", func(t *testing.T) {
		b := testBuilder(t, "package main\n\nfunc main() { undefinedThing() }\n", "")
		_, err := b.build(t.Context())
		if err == nil || !strings.Contains(err.Error(), "undefinedThing") {
			t.Errorf("build: %v, want the compiler's message", err)
		}
		onlyTheLock(t, b)
	})
	t.Run("a cancelled build", func(t *testing.T) {
		fifo := filepath.Join(t.TempDir(), "never")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		b := testBuilder(t, "", "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\n>\"$2\"\nread _ <"+fifo+"\n")
		b.every = time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := b.build(ctx); done <- err }()
		b.log.(*watchedLog).await(t, "so far")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("build: %v, want context canceled", err)
		}
		onlyTheLock(t, b)
	})
}

func onlyTheLock(t *testing.T, b *builder) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.cache, b.source.key()))
	if err != nil || len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("in the cache: %v, %v; want the lock only", entries, err)
	}
}
