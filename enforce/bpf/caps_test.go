//go:build linux

package bpf

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// keepCapabilities takes all others from the test's thread.
func keepCapabilities(t *testing.T, keep ...uint) {
	t.Helper()
	var data [2]unix.CapUserData
	for _, c := range keep {
		data[c/32].Effective |= 1 << (c % 32)
		data[c/32].Permitted |= 1 << (c % 32)
	}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		t.Fatal(err)
	}
}

func TestFewCapabilitiesAreEnough(t *testing.T) {
	requireNetns(t)
	dir := filepath.Join(t.TempDir(), "bpf", "saguard")
	done := make(chan struct{})
	go func() {
		defer close(done)
		requireNetns(t) // its own: the thread, and with it the mount, ends with the goroutine
		if err := mountBPF(dir); err != nil {
			t.Error(err)
			return
		}
		keepCapabilities(t, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN)
		a, err := New(Options{Dir: dir})
		if err != nil {
			t.Error(err)
			return
		}
		defer a.Close()
		is := plainRulesetOf(podsOfRig())
		for _, err := range []error{
			a.Probe(t.Context()), a.Sync(t.Context(), is), a.Apply(t.Context(), []*ruleset.Delta{{}}),
			a.Sync(t.Context(), is), a.Verify(t.Context()), a.Remove(t.Context()),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	}()
	<-done
}
