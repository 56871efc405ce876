package extauthz

import (
	"fmt"
	"testing"
	"time"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/identity"
)

func account(t testing.TB, namespace, name string) identity.ServiceAccount {
	t.Helper()
	a, err := identity.NewServiceAccount(namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ledger is what was written of each kind: records of their own, sums, and the refusals that all of them stand for.
type ledger struct {
	alone, sums int
	stands      uint64
}

// refusals drives a throttle, and keeps the books by the kind's name, which is the record's user.
type refusals struct {
	t        *testing.T
	throttle *throttle
	now      time.Time
	written  map[string]*ledger
	happened map[string]uint64
	held     uint64
}

func newRefusals(t *testing.T, perMinute int) *refusals {
	return &refusals{t: t, throttle: newThrottle(perMinute), now: time.Unix(1000, 0), written: map[string]*ledger{}, happened: map[string]uint64{}}
}

func (r *refusals) take(records []*audit.Record) {
	r.t.Helper()
	for _, rec := range records {
		l := r.written[rec.User]
		if l == nil {
			l = &ledger{}
			r.written[rec.User] = l
		}
		l.stands += 1 + rec.More
		if rec.Operation == "sum" {
			l.sums++
		} else {
			l.alone++
		}
	}
}

func (r *refusals) happen(k kind, times int) {
	r.t.Helper()
	name := fmt.Sprint(k)
	for range times {
		r.happened[name]++
		asked := false
		rec := &audit.Record{User: name, Operation: "alone"}
		write, alone := r.throttle.refusal(k, r.now, func() *audit.Record {
			asked = true
			return rec
		})
		if !alone {
			r.held++
			rec.Operation = "sum"
		}
		if alone && !asked {
			r.t.Fatalf("%s: recorded, and no record was made", name)
		}
		r.take(write)
	}
}

// mustAddUp demands that records and counts together are the refusals that happened.
func (r *refusals) mustAddUp() {
	r.t.Helper()
	r.take(r.throttle.drain())
	for name, n := range r.happened {
		if l := r.written[name]; l == nil || l.stands != n {
			r.t.Errorf("%s happened %d times, the records stand for %+v", name, n, l)
		}
	}
	if len(r.throttle.kinds) != 0 || len(r.throttle.order) != 0 {
		r.t.Error("something is left")
	}
}

func TestFirstOfAKindIsAlwaysRecorded(t *testing.T) {
	r := newRefusals(t, 5)
	web, batch, api, db := account(t, "prod", "web"), account(t, "prod", "batch"), account(t, "prod", "api"), account(t, "prod", "db")
	flood := kind{outcome: audit.Denied, reason: authz.ReasonRule, source: web, server: api}
	r.happen(flood, 1000)
	if l := r.written[fmt.Sprint(flood)]; l.alone != 1+5 || l.sums != 0 {
		t.Errorf("of the flood %+v, want the first and 5 more", l)
	}
	for name, k := range map[string]kind{
		"another reason":  {outcome: audit.Denied, reason: authz.ReasonMismatch, source: web, server: api},
		"another server":  {outcome: audit.Denied, reason: authz.ReasonRule, source: web, server: db},
		"another source":  {outcome: audit.Denied, reason: authz.ReasonRule, source: batch, server: api},
		"another outcome": {outcome: audit.Failed, reason: authz.ReasonRule, source: web, server: api},
		"nobody known":    {outcome: audit.Denied, reason: authz.ReasonUnknownAddress},
	} {
		r.happen(k, 1)
		if l := r.written[fmt.Sprint(k)]; l == nil || l.alone != 1 {
			t.Errorf("%s: %+v", name, l)
		}
	}
	other := kind{outcome: audit.Denied, reason: authz.ReasonRule, source: batch, server: api}
	r.happen(other, 3)
	if l := r.written[fmt.Sprint(other)]; l.alone != 4 {
		t.Errorf("the flood of another account left %+v of 4", l)
	}
	r.mustAddUp()
	if l := r.written[fmt.Sprint(flood)]; l.sums != 1 {
		t.Errorf("the flood is summed up %d times, want once", l.sums)
	}
}

func TestSumsComeWhenTheirMinuteIsOver(t *testing.T) {
	r := newRefusals(t, 1)
	k := kind{outcome: audit.Denied, reason: authz.ReasonRule, source: account(t, "prod", "web")}
	name := fmt.Sprint(k)
	r.happen(k, 10)
	r.now = r.now.Add(throttleWindow - time.Nanosecond)
	r.take(r.throttle.sweep(r.now))
	if l := r.written[name]; *l != (ledger{alone: 2, stands: 2}) {
		t.Errorf("before the minute is over: %+v", l)
	}
	r.now = r.now.Add(time.Nanosecond)
	r.take(r.throttle.sweep(r.now))
	if l := r.written[name]; *l != (ledger{alone: 2, sums: 1, stands: 10}) {
		t.Errorf("when the minute is over: %+v", l)
	}
	if len(r.throttle.kinds)+len(r.throttle.order)+len(r.throttle.budgets) != 0 {
		t.Error("something of a minute that is over is kept")
	}
	// Nobody has to sweep: the next refusal, of whatever kind, brings out what is due.
	r.happen(k, 10)
	r.now = r.now.Add(throttleWindow)
	r.happen(kind{outcome: audit.Denied, reason: authz.ReasonMismatch}, 1)
	if l := r.written[name]; *l != (ledger{alone: 4, sums: 2, stands: 20}) {
		t.Errorf("after another minute: %+v", l)
	}
	r.mustAddUp()
}

// Many minutes of random refusals: nothing is lost or counted twice, and no minute has more records than its bound.
func TestRecordsAndCountsAddUp(t *testing.T) {
	const perMinute, minutes = 7, 30
	r := newRefusals(t, perMinute)
	var kinds []kind
	sources := 5
	for s := range sources {
		for _, reason := range []authz.Reason{authz.ReasonRule, authz.ReasonMismatch, authz.ReasonEndOfTier} {
			kinds = append(kinds, kind{outcome: audit.Denied, reason: reason, source: account(t, "prod", fmt.Sprintf("a%d", s))})
		}
	}
	happened := 0
	for i := range minutes * 600 {
		r.happen(kinds[(i*i+i/7)%len(kinds)], i%5)
		happened += i % 5
		r.now = r.now.Add(throttleWindow / 600)
	}
	r.mustAddUp()
	records := 0
	for _, l := range r.written {
		records += l.alone + l.sums
	}
	// Windows of a kind and of a budget begin when they are first needed, so at most one of each more than there are minutes.
	if most := (minutes + 1) * (2*len(kinds) + perMinute*sources); records > most {
		t.Errorf("%d records of %d refusals, want at most %d", records, happened, most)
	}
	if r.held < uint64(happened)*9/10 {
		t.Errorf("only %d of %d refusals were held back: the test proves little", r.held, happened)
	}
}

// More kinds than are counted at once cost memory no more than those, and no first of a kind is lost.
func TestKindsAreBounded(t *testing.T) {
	r := newRefusals(t, 1)
	const most = maxKinds + 100
	for round := range 3 {
		for i := range most {
			k := kind{outcome: audit.Denied, reason: authz.ReasonRule, source: account(t, "prod", fmt.Sprintf("a%d", i))}
			r.happen(k, 4)
			if l := r.written[fmt.Sprint(k)]; l.alone < round+1 {
				t.Fatalf("%v in round %d: %+v", k, round, l)
			}
		}
		if len(r.throttle.kinds) > maxKinds {
			t.Fatalf("%d kinds are held", len(r.throttle.kinds))
		}
	}
	r.mustAddUp()
}

func BenchmarkThrottleOfAFlood(b *testing.B) {
	th, now := newThrottle(DefaultRecordRate), time.Unix(0, 0)
	k := kind{outcome: audit.Denied, reason: authz.ReasonRule, source: account(b, "prod", "web")}
	b.ReportAllocs()
	written := 0
	for b.Loop() {
		now = now.Add(20 * time.Microsecond) // 50,000 refusals a second
		records, _ := th.refusal(k, now, func() *audit.Record { return &audit.Record{} })
		written += len(records)
	}
	b.ReportMetric(float64(b.N)/float64(max(written, 1)), "x-fewer-records-than-each")
}
