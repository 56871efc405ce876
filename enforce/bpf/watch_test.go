//go:build linux

package bpf

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

func TestEventsAreLimitedAndLossesCounted(t *testing.T) {
	requireNetns(t)
	a, err := New(Options{Dir: pinDir(t), EventsPerSecond: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	is := plainRulesetOf(podsOfRig())
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	pods := podsOfRig()
	denied := ruleset.Flow{Source: pods[2][1], Destination: pods[1][1], Protocol: protocolSCTP, SourcePort: 1, Port: 5000}
	data := packet(t, denied)
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan enforce.Event, 10000), make(chan error)
	go func() { done <- a.Watch(ctx, func(e enforce.Event) { events <- e }) }()

	begin := time.Now()
	sent, reported, lost := 0, 0, uint64(0)
	for reported < 3 || lost == 0 {
		for range 100 {
			if run(t, a.set.kernel, data) {
				t.Fatal("the packet is accepted")
			}
			sent++
		}
		for drained := false; !drained; {
			select {
			case e := <-events:
				reported++
				lost += e.Lost
				want := enforce.Event{Time: e.Time, Direction: ruleset.Ingress, Rule: ruleDeny, Flow: denied, Lost: e.Lost}
				if e != want || e.Time.Before(begin.Add(-time.Second)) || e.Time.After(time.Now().Add(time.Second)) {
					t.Fatalf("event %+v, want %+v at about %v", e, want, time.Now())
				}
			default:
				drained = true
			}
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%d packets, %d reported, %d said to be lost", sent, reported, lost)
		}
	}
	took := time.Since(begin)
	limit, err := a.options.limits()
	if err != nil {
		t.Fatal(err)
	}
	processors := ebpf.MustPossibleCPU()
	most := float64(processors*saved) + float64(processors*limit.perSecond)*took.Seconds()
	if float64(reported) > most || uint64(reported)+lost > uint64(sent) {
		t.Errorf("%d packets, %d reported in %v, %d said to be lost", sent, reported, took, lost)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ends with %v", err)
	}
}

func TestLoggedPacketsAreReported(t *testing.T) {
	requireNetns(t)
	a := newApplier(t, pinDir(t))
	is := plainRulesetOf(podsOfRig())
	const logged ruleset.RuleID = 3
	is.Rules[logged] = ruleset.Rule{Tier: "default", Policy: "log"}
	allowedRow, deniedRow := whole(0, true, ruleAllow), whole(0, false, ruleDeny)
	allowedRow.Log, deniedRow.Log = logged, logged
	is.Rows[4], is.Rows[5] = ruleset.Row{allowedRow}, ruleset.Row{deniedRow}
	is.Programs[inB].Rows = map[ruleset.IdentityID]ruleset.RowID{identityOf(1, 4): 4, identityOf(3, 4): 5}
	if err := a.Sync(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	pods := podsOfRig()
	flow := func(from int) ruleset.Flow {
		return ruleset.Flow{Source: pods[from][0], Destination: pods[1][0], Protocol: protocolICMP, ICMPType: 13, ICMPCode: 1}
	}
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan enforce.Event, 16), make(chan error)
	go func() { done <- a.Watch(ctx, func(e enforce.Event) { events <- e }) }()
	want := []enforce.Event{
		{Allowed: true, Rule: logged, Flow: flow(0)},
		{Rule: logged, Flow: flow(2)},
		{Rule: ruleDeny, Flow: flow(2)},
	}
	if !run(t, a.set.kernel, packet(t, flow(0))) || run(t, a.set.kernel, packet(t, flow(2))) {
		t.Fatal("the packets are judged wrongly")
	}
	for _, w := range want {
		select {
		case e := <-events:
			w.Time = e.Time
			if e != w {
				t.Errorf("event %+v, want %+v", e, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no event %+v", w)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ends with %v", err)
	}
	hits, err := a.Hits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if hits[ruleAllow].Packets != 1+1+1 || hits[ruleDeny].Packets != 1 || hits[logged].Packets != 0 {
		t.Errorf("hits %v: two egress decisions allow, one ingress decision allows, one denies", hits)
	}
}
