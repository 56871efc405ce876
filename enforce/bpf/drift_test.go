//go:build linux

package bpf

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

func TestDriftIsNoticedAndRepaired(t *testing.T) {
	requireNetns(t)
	dir := pinDir(t)
	a := newApplier(t, dir)
	w := newWorld(7)
	w.step(60)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	firstHost := func() hostValue {
		var key addressKey
		var value hostValue
		if it := a.set.Hosts.Iterate(); !it.Next(&key, &value) {
			t.Fatal("no hosts")
		}
		return value
	}
	firstCell := func() cellValue {
		var key cellKey
		var value cellValue
		if it := a.set.Cells.Iterate(); !it.Next(&key, &value) {
			t.Fatal("no cells")
		}
		return value
	}
	for _, c := range []struct {
		name, want string
		edit       func()
	}{
		{name: "address deleted", want: "elements", edit: func() { must(a.set.Hosts.Delete(firstHost().Key)) }},
		{name: "address altered", want: "address", edit: func() {
			v := firstHost()
			v.Identity++
			must(a.set.Hosts.Put(v.Key, v))
		}},
		{name: "address added", want: "address", edit: func() {
			v := hostValue{Key: keyOf(netip.MustParseAddr("192.0.2.1")), Identity: 1}
			must(a.set.Hosts.Put(v.Key, v))
		}},
		{name: "address put off to a later generation", want: "address", edit: func() {
			v := firstHost()
			v.Generation, v.WasIdentity = 1<<40, v.Identity+1
			must(a.set.Hosts.Put(v.Key, v))
		}},
		{name: "cell deleted", want: "elements", edit: func() { must(a.set.Cells.Delete(firstCell().Key)) }},
		{name: "cell altered", want: "cell", edit: func() {
			v := firstCell()
			v.Row.First++
			must(a.set.Cells.Put(v.Key, v))
		}},
		{name: "prefix added", want: "prefix", edit: func() {
			must(a.set.Prefixes.Put(keyOfPrefix(netip.MustParsePrefix("192.0.2.0/24")), prefixValue{Identity: 1}))
		}},
		{name: "default prefix deleted", want: "elements", edit: func() {
			must(a.set.Prefixes.Delete(keyOfPrefix(netip.MustParsePrefix("0.0.0.0/0"))))
		}},
		{name: "segment altered", want: "row", edit: func() {
			for _, r := range a.tables.rows {
				var s segment
				must(a.set.Segments.Lookup(r.ref.First, &s))
				s.Flags ^= flagAllow
				must(a.set.Segments.Put(r.ref.First, s))
				return
			}
		}},
		{name: "subject altered", want: "subject", edit: func() {
			for value, r := range a.tables.records {
				value.Ingress.Program++
				must(a.set.Subjects.Put(r.place, value))
				return
			}
		}},
		{name: "generation altered", want: "generation", edit: func() { must(a.set.Generation.Put(uint32(0), uint64(0))) }},
		{name: "IPv4 link unpinned", want: "link4", edit: func() { must(os.Remove(filepath.Join(a.set.dir, "link4"))) }},
		{name: "IPv6 link unpinned", want: "link6", edit: func() { must(os.Remove(filepath.Join(a.set.dir, "link6"))) }},
		{name: "IPv4 link detached", want: "detached from link4", edit: func() { must(a.set.links[0].Detach()) }},
		{name: "IPv6 link detached", want: "detached from link6", edit: func() { must(a.set.links[1].Detach()) }},
		{name: "another set", want: "somebody else", edit: func() {
			b := newApplier(t, dir)
			mine := a.set
			must(b.Sync(t.Context(), w.is))
			if !strings.Contains(b.set.dir, dir) || b.set.dir == mine.dir {
				t.Fatal("the second process has the first one's set")
			}
		}},
		{name: "ruleset of nf_tables flushed", want: conntrackTable, edit: func() {
			conn, err := nftables.New()
			must(err)
			conn.FlushRuleset()
			must(conn.Flush())
		}},
		{name: "pins and directory gone", want: "link", edit: func() { must(os.RemoveAll(dir)) }},
	} {
		must(a.Sync(t.Context(), w.is))
		must(a.Verify(t.Context()))
		c.edit()
		err := a.Verify(t.Context())
		var found *enforce.Drift
		if !errors.As(err, &found) || (!strings.Contains(found.What, c.want) && c.name != "another set") {
			t.Errorf("%s: %v, want drift that says %q", c.name, err, c.want)
		}
		must(a.Sync(t.Context(), w.is))
		if err := a.Verify(t.Context()); err != nil {
			t.Errorf("%s: after the repair: %v", c.name, err)
		}
	}
	if err := a.Apply(t.Context(), []*ruleset.Delta{w.step(5)}); err != nil {
		t.Errorf("delta after the repairs: %v", err)
	}
}
