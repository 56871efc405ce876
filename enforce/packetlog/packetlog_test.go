package packetlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/enforce/packetlog"
	"github.com/saguard/saguard/internal/ruleset"
)

func packet() enforce.Packet {
	return enforce.Packet{
		Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Direction: ruleset.Ingress,
		Rule:   ruleset.Rule{Tier: "default", Policy: "NetworkPolicy prod/db", Direction: ruleset.Ingress, Index: ruleset.EndOfTier},
		Flow:   ruleset.Flow{Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), Protocol: 6, SourcePort: 4242, Port: 5432},
		Source: enforce.Party{Address: netip.MustParseAddr("10.0.0.1"), Pod: ruleset.Pod{Namespace: "prod", Name: "web-1"}, Account: "prod/web"},
		Target: enforce.Party{Address: netip.MustParseAddr("10.0.0.2"), Pod: ruleset.Pod{Namespace: "prod", Name: "db-0"}, Account: "prod/db"},
		Lost:   3, Revision: 9,
	}
}

func TestRecordOfAPacket(t *testing.T) {
	var out bytes.Buffer
	if err := audit.NewWriter(zapcore.AddSync(&out)).Write(packetlog.Record(packet())); err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-11-22T10:00:00Z","schema":"saguard.io/decision/v1","component":"agent","decision":"Deny","reason":"end-of-tier","mode":"Enforce","checks":[{"id":"policy","reason":"refused","field":"default: ingress end after NetworkPolicy prod/db"}],"user":"system:serviceaccount:prod:web","operation":"connect","object":{"resource":"pods","namespace":"prod","name":"db-0"},"flow":{"direction":"ingress","source":{"address":"10.0.0.1","port":4242,"namespace":"prod","pod":"web-1","account":"web"},"destination":{"address":"10.0.0.2","port":5432,"namespace":"prod","pod":"db-0","account":"db"},"protocol":6,"tier":"default","policy":"NetworkPolicy prod/db","rule":-1,"lost":3},"revision":9,"durationMicros":0}`
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	var back audit.Record
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || !reflect.DeepEqual(&back, packetlog.Record(packet())) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestReasons(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(p *enforce.Packet)
		want   string
	}{
		"a rule of a policy":         {change: func(p *enforce.Packet) { p.Rule.Index = 2 }, want: "rule"},
		"the end of a tier":          {change: func(*enforce.Packet) {}, want: "end-of-tier"},
		"no namespace":               {change: func(p *enforce.Packet) { p.Rule = ruleset.Rule{Index: ruleset.EndOfTier} }, want: "no-namespace"},
		"a rule that did not parse":  {change: func(p *enforce.Packet) { p.Rule.Unparsed = true }, want: "unparsed-rule"},
		"to an address of nobody":    {change: func(p *enforce.Packet) { p.Rule = ruleset.Rule{Index: ruleset.EndOfTier, Stranger: true} }, want: "unknown-pod"},
		"an address of nobody":       {change: func(p *enforce.Packet) { p.Rule = ruleset.Rule{Index: ruleset.EndOfTier, Vacant: true} }, want: "unknown-pod"},
		"a logged packet":            {change: func(p *enforce.Packet) { p.Allowed, p.Rule.Index = true, 1 }, want: "logged"},
		"a rule that is gone by now": {change: func(p *enforce.Packet) { p.Rule = ruleset.Rule{} }, want: "rule-not-known"},
	} {
		p := packet()
		tc.change(&p)
		r := packetlog.Record(p)
		if r.Reason != tc.want || (r.Decision == audit.Allowed) != p.Allowed || r.Validate() != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestPortsOfProtocolsThatHaveThem(t *testing.T) {
	p := packet()
	p.Flow.Protocol, p.Flow.ICMPType = 1, 8
	if f := packetlog.Record(p).Flow; f.Source.Port != nil || f.ICMPType == nil || *f.ICMPType != 8 {
		t.Errorf("ICMP: %+v", f)
	}
	p.Flow.Protocol = 47
	if f := packetlog.Record(p).Flow; f.Source.Port != nil || f.ICMPType != nil {
		t.Errorf("GRE: %+v", f)
	}
}

// recorder remembers records, or fails.
type recorder struct {
	mu   sync.Mutex
	all  []*audit.Record
	fail bool
}

func (r *recorder) Write(rec *audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail {
		return errors.New("disk full")
	}
	r.all = append(r.all, rec)
	return nil
}

func TestRecordsAreLimitedAndWhatIsLostIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, packets := &recorder{}, make(chan enforce.Packet)
		l := &packetlog.Log{Packets: packets, Recorder: r, Log: logr.Discard(), Now: time.Now, PerSecond: 2}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		send := func(n int) {
			for range n {
				packets <- enforce.Packet{}
			}
			synctest.Wait()
		}
		send(120)
		if len(r.all) != 20 {
			t.Errorf("%d records of a flood", len(r.all))
		}
		time.Sleep(time.Second) //nolint:forbidigo // of a synctest bubble, no real time
		send(1)
		if last := r.all[len(r.all)-1]; len(r.all) != 21 || last.Flow.Lost != 100 {
			t.Errorf("%d records, the last %+v", len(r.all), last.Flow)
		}
		r.fail = true
		send(1)
		r.fail = false
		time.Sleep(time.Second) //nolint:forbidigo // of a synctest bubble, no real time
		send(1)
		if last := r.all[len(r.all)-1]; last.Flow.Lost != 1 {
			t.Errorf("after a record that could not be written: %+v", last.Flow)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
