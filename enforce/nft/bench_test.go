package nft

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// shapes are the clusters that the benchmarks compare; small is the baseline of the others.
var shapes = []struct {
	name string
	shape
}{
	{"small", shape{pods: 100, identities: 10, policies: 10, endpoints: 10, programs: 10, dual: true}},
	{"1000pods", shape{pods: 1000, identities: 100, policies: 1000, endpoints: 110, programs: 100, dual: true}},
	{"10000pods/sparse", shape{pods: 10000, identities: 1000, policies: 1000, endpoints: 110, programs: 100, dual: true}},
	{"10000pods/10000policies", shape{pods: 10000, identities: 1000, policies: 10000, endpoints: 110, programs: 100, dual: true}},
	{"10000pods/10000policies/v4", shape{pods: 10000, identities: 1000, policies: 10000, endpoints: 110, programs: 100}},
}

func benchmark(b *testing.B, run func(b *testing.B, s shape, a *Applier)) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			inNamespace(b, func() {
				a := newApplier(b, Options{})
				if err := a.Sync(b.Context(), s.ruleset()); err != nil {
					b.Error(err)
					return
				}
				b.ResetTimer()
				before := cpu(b)
				run(b, s.shape, a)
				b.ReportMetric((cpu(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
			})
		})
	}
}

// cpu is what this process has used of the processors, in the kernel too: on a busy machine it says more than the clock.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Error(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSync(b *testing.B) {
	benchmark(b, func(b *testing.B, s shape, a *Applier) {
		r := s.ruleset()
		b.ResetTimer()
		for b.Loop() {
			if err := a.Sync(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
		var m runtime.MemStats
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		runtime.KeepAlive(a)
	})
}

// BenchmarkLower is Sync without the kernel.
func BenchmarkLower(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			r := s.ruleset()
			for b.Loop() {
				l := newLowering(1)
				if err := l.load(r); err != nil {
					b.Fatal(err)
				}
				batch := &batch{table: "t"}
				batch.create(l.model)
			}
		})
	}
}

func BenchmarkOnePod(b *testing.B) {
	benchmark(b, func(b *testing.B, s shape, a *Applier) {
		n := s.pods
		for b.Loop() {
			n++
			for _, d := range []*ruleset.Delta{s.come(n), s.goAway(n)} {
				if err := a.Apply(b.Context(), []*ruleset.Delta{d}); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2*b.N), "µs/change")
	})
}

func BenchmarkRelabel(b *testing.B) {
	benchmark(b, func(b *testing.B, s shape, a *Applier) {
		n := 0
		for b.Loop() {
			if err := a.Apply(b.Context(), []*ruleset.Delta{s.relabel(n%s.identities, (n+1)%s.identities)}); err != nil {
				b.Fatal(err)
			}
			n++
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	benchmark(b, func(b *testing.B, _ shape, a *Applier) {
		for b.Loop() {
			a.verified = false // as after somebody else's commit
			if err := a.Verify(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHits(b *testing.B) {
	benchmark(b, func(b *testing.B, _ shape, a *Applier) {
		for b.Loop() {
			if _, err := a.Hits(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
