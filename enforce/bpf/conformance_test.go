//go:build linux

package bpf

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/appliertest"
)

func TestConformance(t *testing.T) {
	dir := func(n appliertest.Node) string { return filepath.Join(n.Dir, "bpf", "saguard") }
	open := func(n appliertest.Node) (*Applier, error) { return New(Options{Dir: dir(n)}) }
	// with runs f on what an Applier of another process finds.
	with := func(f func(*Applier) error) func(appliertest.Node) error {
		return func(n appliertest.Node) error {
			a, err := open(n)
			if err != nil {
				return err
			}
			return errors.Join(f(a), a.Close())
		}
	}
	appliertest.Run(t, appliertest.Backend{
		Name: "bpf",
		Open: func(n appliertest.Node) (enforce.Applier, error) { return open(n) },
		Remove: func(n appliertest.Node) error {
			err := with(func(a *Applier) error { return a.Remove(t.Context()) })(n)
			return errors.Join(err, unix.Unmount(filepath.Join(n.Dir, "bpf"), unix.MNT_DETACH))
		},
		Tampers: map[string]func(appliertest.Node) error{
			"delete an address": with(func(a *Applier) error {
				var key addressKey
				var value hostValue
				if !a.set.Hosts.Iterate().Next(&key, &value) {
					return errors.New("no addresses")
				}
				return a.set.Hosts.Delete(key)
			}),
			"add an address": with(func(a *Applier) error {
				v := hostValue{Key: keyOf(netip.MustParseAddr("192.0.2.99")), Identity: 1}
				return a.set.Hosts.Put(v.Key, v)
			}),
			"allow what is denied": with(func(a *Applier) error {
				for i := uint32(1); i < 1000; i++ {
					var s segment
					if err := a.set.Segments.Lookup(i, &s); err != nil {
						return err
					}
					if s.Flags&(flagAllow|flagSplit) == 0 && s.Rule != 0 {
						s.Flags |= flagAllow
						return a.set.Segments.Put(i, s)
					}
				}
				return errors.New("nothing is denied")
			}),
			"detach the IPv4 link": with(func(a *Applier) error {
				l, err := link.LoadPinnedLink(filepath.Join(a.set.dir, "link4"), nil)
				if err != nil {
					return err
				}
				return errors.Join(l.Detach(), l.Close())
			}),
			"unpin everything": func(n appliertest.Node) error { return os.RemoveAll(dir(n)) },
			"flush the ruleset of nf_tables": func(appliertest.Node) error {
				conn, err := nftables.New()
				if err != nil {
					return err
				}
				conn.FlushRuleset()
				return conn.Flush()
			},
		},
		Objects: func(n appliertest.Node) (int, error) {
			count := 0
			err := filepath.WalkDir(dir(n), func(path string, d fs.DirEntry, err error) error {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				if err == nil && !d.IsDir() {
					count++
				}
				return err
			})
			if err != nil || count == 0 {
				return count, err
			}
			return count, with(func(a *Applier) error {
				for _, m := range []*ebpf.Map{a.set.Hosts, a.set.Cells, a.set.Prefixes} {
					key := make([]byte, m.KeySize())
					value := make([]byte, m.ValueSize())
					it := m.Iterate()
					for it.Next(&key, &value) {
						count++
					}
					if err := it.Err(); err != nil {
						return err
					}
				}
				return nil
			})(n)
		},
	})
}
