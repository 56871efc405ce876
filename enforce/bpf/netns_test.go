//go:build linux

package bpf

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/testenv"
)

// requireNetns moves the test's thread, for good, into a network and a mount namespace of its own.
func requireNetns(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		testenv.Lacking(t, testenv.NetNS, err.Error())
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// newApplier makes one that pins in a directory of the test.
func newApplier(t testing.TB, dir string) *Applier {
	t.Helper()
	a, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func pinDir(t testing.TB) string {
	t.Helper()
	parent := filepath.Join(t.TempDir(), "bpf")
	t.Cleanup(func() {
		if err := unix.Unmount(parent, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", parent, err)
		}
	})
	return filepath.Join(parent, "saguard")
}

// run asks the program itself about a packet without conntrack, from the IP header on.
func run(t testing.TB, k *kernel, packet []byte) (accepted bool) {
	t.Helper()
	state := make([]byte, 48) // struct nf_hook_state
	state[0] = 2              // NF_INET_FORWARD
	state[1] = 2              // NFPROTO_IPV4
	ethernet := append(make([]byte, 12), 0x08, 0x00)
	if packet[0]>>4 == 6 {
		state[1] = 10
		ethernet[12], ethernet[13] = 0x86, 0xdd
	}
	n, err := k.Forward.Run(&ebpf.RunOptions{Data: append(ethernet, packet...), Context: state})
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func allowed(d ruleset.Decision) bool { return !d.Applies || d.Allow }
