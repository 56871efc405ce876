//go:build linux

package bpf

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

// childDir makes the test binary a process that syncs and applies without end, pinning in the directory that it names.
const childDir = "SAGUARD_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, churn(context.Background(), dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// podsOfRig are the addresses that a rig of three pods has.
func podsOfRig() [][]netip.Addr {
	var out [][]netip.Addr
	for n := byte(1); n <= 3; n++ {
		out = append(out, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, n}), netip.AddrFrom16([16]byte{0: 0xfd, 15: n})})
	}
	return out
}

func churn(ctx context.Context, dir string) error {
	a, err := New(Options{Dir: dir})
	if err != nil {
		return err
	}
	for {
		if err := a.Sync(ctx, plainRulesetOf(podsOfRig())); err != nil {
			return err
		}
		for n := range 200 {
			d := &ruleset.Delta{}
			peer := netip.AddrFrom4([4]byte{10, 9, 0, byte(n / 2)})
			if n%2 == 0 { // another address of a's identity, and c allowed and denied by rows that say the same
				d.Addresses = []ruleset.AddressChange{{Prefix: single(peer), Address: ruleset.Address{Identity: identityOf(1, 4)}}}
				d.Cells = []ruleset.Cell{{Program: inB, Identity: identityOf(3, 4), Row: rowDeny}}
			} else {
				d.GoneAddresses = []netip.Prefix{single(peer)}
				d.Cells = []ruleset.Cell{{Program: inB, Identity: identityOf(3, 4)}}
			}
			if err := a.Apply(ctx, []*ruleset.Delta{d}); err != nil {
				return err
			}
		}
	}
}
