package bench_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestMeasuredIsWhatIsNamed runs the benchmarks' set-up and a few of each request: the webhooks must be called as often as the
// rows say, and of 40 clients at once none may fail.
func TestMeasuredIsWhatIsNamed(t *testing.T) {
	r := newRig(t)
	workers := r.workers("test", 4)
	r.expectSilence(workers)
	r.expectCalls(func() []int { return r.during(workers, func() { r.takeTurns(workers, 3) }) })
	r.fortyClients(5)
}

// BenchmarkLabelPatch measures all there is in one control plane. Each part runs once, whatever b.N says, for as long as its
// number of requests takes; what counts are the tables it prints.
func BenchmarkLabelPatch(b *testing.B) {
	r := newRig(b)
	began := loadAverage()
	serial, parallel := r.workers("serial", 1), r.workers("parallel", 8)
	r.expectSilence(serial)
	r.expectCalls(func() []int {
		return r.during(append(serial, parallel...), func() {
			r.latency(b, "serial", serial, 11, 60)
			r.latency(b, "8-clients", parallel, 11, 10)
			r.cpu(b, "serial", serial, 21, 5, 20)
			r.cpu(b, "8-clients", parallel, 21, 2, 10)
		})
	})
	show(b, "", r.fortyClients(50))
	for name, h := range map[string]*hook{"saguard": r.ours, "allow-all": r.all} {
		peak, err := residentPeak(h.pid)
		if err != nil {
			b.Fatal(err)
		}
		show(b, fmt.Sprintf("most memory resident, %s: %s", name, peak))
	}
	show(b, fmt.Sprintf("load average at the start %s, at the end %s", began, loadAverage()))
	b.ReportMetric(0, "ns/op") // of the whole experiment: it would say nothing
}

// latency measures every row side by side, in blocks of rounds.
func (r *rig) latency(b *testing.B, how string, workers []*worker, blocks, rounds int) {
	b.Helper()
	r.takeTurns(workers, 5) // connections, caches
	res := &results{rows: r.rows}
	all := make(samples, len(r.rows))
	for range blocks {
		s := r.takeTurns(workers, rounds)
		block := make([]time.Duration, len(r.rows))
		for i := range s {
			block[i] = percentile(s[i], 50)
			all[i] = append(all[i], s[i]...)
		}
		res.blocks = append(res.blocks, block)
	}
	lines := []string{"", "PATCH, " + how + "\tp50\tp99\trequests\t"}
	for i, row := range r.rows {
		lines = append(lines, fmt.Sprintf("%s\t%.2f ms\t%.2f ms\t%d\t", row.name, milliseconds(res.median(i)), milliseconds(percentile(all[i], 99)), len(all[i])))
	}
	show(b, append(lines, res.table("Ratios of p50, "+how, "PATCH", latencyComparisons())...)...)
	r.report(b, res, how, "p50", latencyComparisons())
}

// cpu measures one row at a time, each worker making so many PATCHes, in turns.
func (r *rig) cpu(b *testing.B, how string, workers []*worker, blocks, turns, each int) {
	b.Helper()
	var called []int
	for i, row := range r.rows {
		if row.calls != (perPatch{}) {
			called = append(called, i)
		}
	}
	res := &results{rows: r.rows}
	for range blocks {
		block := make([]time.Duration, len(r.rows))
		for i, used := range r.alone(workers, called, turns, each) {
			if block[i] = used.all; r.rows[i].judged {
				block[i] = used.ours
			}
		}
		res.blocks = append(res.blocks, block)
	}
	lines := []string{"", "Webhook CPU a PATCH, " + how + "\tCPU\t"}
	for _, i := range called {
		lines = append(lines, fmt.Sprintf("%s\t%.2f ms\t", r.rows[i].name, milliseconds(res.median(i))))
	}
	show(b, append(lines, res.table("Ratios of webhook CPU a PATCH, "+how, "CPU", cpuComparisons())...)...)
	r.report(b, res, how, "cpu", cpuComparisons())
}

// report repeats the ratios that have a target as metrics of the benchmark.
func (r *rig) report(b *testing.B, res *results, how, what string, comparisons []comparison) {
	b.Helper()
	for _, c := range comparisons {
		if c.target > 0 {
			median, _, _ := res.ratio(c)
			b.ReportMetric(median, how+"-"+what+"-"+r.rows[res.of(c.row)].namespace+"-vs-"+r.rows[res.of(c.baseline)].namespace)
		}
	}
}

// fortyClients lets 40 clients loose at once on the webhook as the chart installs it: timeoutSeconds 5, failurePolicy Fail.
// None may fail.
func (r *rig) fortyClients(each int) string {
	r.tb.Helper()
	workers := r.workers("forty", 40)
	i := (&results{rows: r.rows}).of(oursBoth)
	times := make([][]time.Duration, len(workers))
	failed := make([]error, len(workers))
	var group errgroup.Group
	began := time.Now()
	for n, w := range workers {
		group.Go(func() error {
			for range each {
				took, err := w.patch(r.tb.Context(), i)
				if err != nil {
					failed[n] = err
					return err
				}
				times[n] = append(times[n], took)
			}
			return nil
		})
	}
	err := group.Wait()
	took := time.Since(began)
	if err != nil {
		for _, err := range failed {
			if err != nil {
				r.tb.Errorf("one of 40 clients: %v", err)
			}
		}
	}
	var all []time.Duration
	for _, t := range times {
		all = append(all, t...)
	}
	return fmt.Sprintf("40 clients at once, timeoutSeconds 5, failurePolicy Fail: %d PATCHes, none failed: %v; p50 %.1f ms, p99 %.1f ms, %.0f a second",
		len(all), err == nil, milliseconds(percentile(all, 50)), milliseconds(percentile(all, 99)), float64(len(all))/took.Seconds())
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
