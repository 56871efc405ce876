//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/saguard/saguard/enforce"
)

// packetReport has, for each kind of traffic and configuration, what an operation costs.
type packetReport struct {
	Rounds   int                        `json:"rounds"`
	Failures int                        `json:"failures"` // slices that were begun again
	Traffic  []string                   `json:"traffic"`
	Rows     []string                   `json:"rows"`
	Cost     map[string]map[string]cost `json:"cost"` // traffic, row
	// Flat is the median ratio of a backend with all policies to the same with ten.
	Flat map[string]map[string]float64 `json:"flat"` // traffic, row
}

// cost is of one operation: a request with its answer, a connection, a datagram.
type cost struct {
	Nanoseconds float64    `json:"ns"`         // of processor time, median
	Conntrack   float64    `json:"xConntrack"` // median of the ratios to conntrack alone
	Quartiles   [2]float64 `json:"quartiles"`  // of these ratios
	None        float64    `json:"xNone"`      // median of the ratios to neither rules nor conntrack
}

// stand is a configuration that is set up.
type stand struct {
	configuration
	*ends
	applier enforce.Applier
}

func (s *settings) packets(ctx context.Context, messages io.Writer, dir string) (*packetReport, error) {
	cpu := s.cpu
	if cpu < 0 {
		cpu = numCPU() - 1
	}
	var stands []*stand
	defer func() {
		for _, st := range stands {
			if err := st.close(); err != nil {
				fmt.Fprintln(messages, "benchnode: close", st.name+":", err) //nolint:errcheck // there is nobody else to tell
			}
		}
	}()
	for i, c := range configurations(s) {
		begin := time.Now()
		st, err := c.stand(ctx, cpu, filepath.Join(dir, fmt.Sprint(i)))
		if st != nil {
			stands = append(stands, st)
		}
		if err != nil {
			return nil, fmt.Errorf("set up %s: %w", c.name, err)
		}
		fmt.Fprintf(messages, "set up %s: %.1f s\n", c.name, time.Since(begin).Seconds()) //nolint:errcheck // for whoever watches
	}
	m := &meter{cpu: cpu, stands: stands, samples: map[string]map[string][]float64{}}
	var err error
	if m.softirq, err = findKsoftirqd(cpu); err != nil {
		return nil, err
	}
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	begin := time.Now()
	rounds := 0
	for ; rounds < s.rounds && ctx.Err() == nil && (rounds < 3 || time.Since(begin) < s.budget); rounds++ {
		if err := m.round(rand.New(rand.NewPCG(uint64(rounds), 3))); err != nil {
			return nil, err
		}
		runtime.GC()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return m.report(rounds, s), nil
}

// stand sets a configuration up and sees that it judges.
func (c configuration) stand(ctx context.Context, cpu int, dir string) (*stand, error) {
	t, err := newTrio(cpu)
	if err != nil {
		return nil, err
	}
	out := &stand{configuration: c}
	if out.ends, err = newEnds(t); err != nil {
		return nil, errors.Join(err, t.close())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return out, fmt.Errorf("make folder: %w", err)
	}
	if out.applier, err = c.apply(ctx, t.node, dir); err != nil {
		return out, err
	}
	if !out.passes(allowedPort) {
		return out, errors.New("what is allowed does not pass")
	}
	if out.passes(deniedPort) == c.judge {
		return out, fmt.Errorf("what is not allowed passes: %v, want %v", c.judge, !c.judge)
	}
	return out, nil
}

func (s *stand) close() error {
	var errs []error
	if s.applier != nil {
		errs = append(errs, s.node.do(s.applier.Close))
	}
	return errors.Join(append(errs, s.trio.close())...)
}

// meter takes the samples.
type meter struct {
	cpu      int
	stands   []*stand
	softirq  string // file with the processor time of ksoftirqd
	failures int
	samples  map[string]map[string][]float64 // nanoseconds by traffic and row
}

// round takes one sample of every traffic on every stand, in random order.
func (m *meter) round(r *rand.Rand) error {
	kinds := workloads()
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, w := range kinds {
		order := slices.Clone(m.stands)
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, st := range order {
			ns, err := m.slice(st, w)
			for try := 0; err != nil && try < 3; try++ {
				m.failures++
				ns, err = m.slice(st, w)
			}
			if err != nil {
				return fmt.Errorf("%s on %s: %w", w.name, st.name, err)
			}
			if m.samples[w.name] == nil {
				m.samples[w.name] = map[string][]float64{}
			}
			m.samples[w.name][st.name] = append(m.samples[w.name][st.name], ns)
		}
	}
	return nil
}

// slice measures some operations, on a conntrack that is empty but for one flow.
func (m *meter) slice(st *stand, w workload) (float64, error) {
	if err := errors.Join(st.forget(), st.drain()); err != nil {
		return 0, err
	}
	half := func(s *space, f func(*ends, int) (time.Duration, error), n int, into *time.Duration) <-chan error {
		return s.begin(func() (err error) { *into, err = f(st.ends, n); return err })
	}
	run := func(n int) (time.Duration, error) {
		var client, server time.Duration
		served := half(st.b, w.server, n, &server)
		asked := half(st.a, w.client, n, &client)
		err := errors.Join(<-asked, <-served)
		if err == nil && (client == 0 || server == 0) {
			err = errors.New("a thread took no time")
		}
		return client + server, err
	}
	if _, err := run(window); err != nil { // caches
		return 0, err
	}
	before, err := processorTimeOf(m.softirq)
	if err != nil {
		return 0, err
	}
	threads, err := run(w.n)
	if err != nil {
		return 0, err
	}
	after, err := processorTimeOf(m.softirq)
	if err != nil {
		return 0, err
	}
	return float64((threads + after - before).Nanoseconds()) / float64(w.n), nil
}

func (m *meter) report(rounds int, s *settings) *packetReport {
	out := &packetReport{Rounds: rounds, Failures: m.failures, Cost: map[string]map[string]cost{}, Flat: map[string]map[string]float64{}}
	for _, st := range m.stands {
		out.Rows = append(out.Rows, st.name)
	}
	for _, w := range workloads() {
		samples := m.samples[w.name]
		out.Traffic = append(out.Traffic, w.name)
		out.Cost[w.name], out.Flat[w.name] = map[string]cost{}, map[string]float64{}
		for _, row := range out.Rows {
			to := ratios(samples[row], samples[baseline])
			out.Cost[w.name][row] = cost{
				Nanoseconds: quantile(samples[row], 0.5), Conntrack: quantile(to, 0.5), Quartiles: [2]float64{quantile(to, 0.25), quantile(to, 0.75)},
				None: quantile(ratios(samples[row], samples[none]), 0.5),
			}
		}
		for _, b := range s.backends() {
			few := samples[b+"_10"]
			for _, row := range []string{fmt.Sprintf("%s_%d", b, s.rules), fmt.Sprintf("%s_%d_onePod", b, s.rules)} {
				out.Flat[w.name][row] = quantile(ratios(samples[row], few), 0.5)
			}
		}
	}
	return out
}

func ratios(of, to []float64) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = of[i] / to[i]
	}
	return out
}

// quantile returns the smallest value that at least the part q of values does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// findKsoftirqd returns the file with the processor time of the thread that forwards for cpu what nobody else does.
func findKsoftirqd(cpu int) (string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return "", fmt.Errorf("find ksoftirqd: %w", err)
	}
	for _, file := range files {
		name, err := os.ReadFile(file)
		if err == nil && string(name) == fmt.Sprintf("ksoftirqd/%d\n", cpu) {
			return filepath.Join(filepath.Dir(file), "schedstat"), nil
		}
	}
	return "", fmt.Errorf("find ksoftirqd/%d: there is none; in a PID namespace its time cannot be seen", cpu)
}

// processorTimeOf reads a file schedstat, whose first number is nanoseconds.
func processorTimeOf(file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	n, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(n), nil
}
