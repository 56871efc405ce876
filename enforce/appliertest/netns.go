package appliertest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespace is a network namespace without a name: it lives as long as something holds it.
type namespace struct {
	name   string
	handle netns.NsHandle
	links  *netlink.Handle
}

// newNamespace makes a namespace that is gone after the test.
func newNamespace(t testing.TB, name string) *namespace {
	t.Helper()
	n := &namespace{name: name}
	err := onThread(func() (err error) {
		n.handle, err = netns.New()
		return err
	})
	if err != nil {
		t.Fatalf("make network namespace %s: %v", name, err)
	}
	if n.links, err = netlink.NewHandleAt(n.handle); err != nil {
		t.Fatalf("open netlink in %s: %v", name, err)
	}
	t.Cleanup(func() {
		n.links.Close()
		if err := n.handle.Close(); err != nil {
			t.Errorf("close namespace %s: %v", name, err)
		}
	})
	n.must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return n
}

// onThread runs f on a thread of its own, which ends with it: whatever namespace it is in by then, nobody gets it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		done <- f()
	}()
	return <-done
}

// do runs f on a thread that is in the namespace.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter %s: %w", n.name, err)
		}
		return f()
	})
}

func (n *namespace) must(t testing.TB, f func() error) {
	t.Helper()
	if err := n.do(f); err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
}

// sysctl writes settings below /proc/sys/net; those that this kernel does not have are left out.
func (n *namespace) sysctl(t testing.TB, settings map[string]string) {
	t.Helper()
	n.must(t, func() error {
		for key, value := range settings {
			path := filepath.Join("/proc/sys/net", strings.ReplaceAll(key, ".", "/"))
			if _, err := os.Stat(path); os.IsNotExist(err) {
				continue
			}
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
				return fmt.Errorf("set net.%s: %w", key, err)
			}
		}
		return nil
	})
}

// worker is one thread in a namespace that does one call after the other: the one goroutine that an Applier is promised.
type worker struct {
	calls chan func()
}

func newWorker(t testing.TB, n *namespace) *worker {
	t.Helper()
	w := &worker{calls: make(chan func())}
	entered := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- n.do(func() error {
			close(entered)
			for call := range w.calls {
				call()
			}
			return nil
		})
	}()
	select {
	case <-entered:
	case err := <-ended:
		t.Fatalf("start worker: %v", err)
	}
	t.Cleanup(func() {
		close(w.calls)
		if err := <-ended; err != nil {
			t.Errorf("end worker: %v", err)
		}
	})
	return w
}

func (w *worker) run(call func()) {
	done := make(chan struct{})
	w.calls <- func() {
		defer close(done)
		call()
	}
	<-done
}
