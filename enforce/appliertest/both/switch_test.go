package both_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/appliertest"
	"github.com/saguard/saguard/enforce/bpf"
	"github.com/saguard/saguard/enforce/nft"
)

type removable interface {
	enforce.Applier
	Remove(ctx context.Context) error
}

func backend[A removable](t *testing.T, name string, open func(appliertest.Node) (A, error), after func(appliertest.Node) error) appliertest.Backend {
	return appliertest.Backend{
		Name: name,
		Open: func(n appliertest.Node) (enforce.Applier, error) { return open(n) },
		Remove: func(n appliertest.Node) error {
			a, err := open(n)
			if err != nil {
				return err
			}
			// Not the test's context, which has ended when the test is cleaned up.
			return errors.Join(a.Remove(context.WithoutCancel(t.Context())), a.Close(), after(n))
		},
	}
}

// An agent that changes its backend leaks and loses nothing, there and back.
func TestBackendIsSwitchedUnderLoad(t *testing.T) {
	mount := func(n appliertest.Node) string { return filepath.Join(n.Dir, "bpf") }
	bpfs := backend(t, "bpf",
		func(n appliertest.Node) (*bpf.Applier, error) {
			return bpf.New(bpf.Options{Dir: filepath.Join(mount(n), "saguard")})
		},
		func(n appliertest.Node) error { return unix.Unmount(mount(n), unix.MNT_DETACH) },
	)
	nfts := backend(t, "nft",
		func(appliertest.Node) (*nft.Applier, error) { return nft.New(nft.Options{}) },
		func(appliertest.Node) error { return nil },
	)
	appliertest.Switch(t, bpfs, nfts)
}
