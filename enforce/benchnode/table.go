//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// target is one number to hold.
type target struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Most  float64 `json:"most"`
	Held  bool    `json:"held"`
}

// targets are what the agent promises at 10,000 pods and policies. Ratios of this kind have noise of some hundredths; the
// quartiles say how much.
func (r *report) targets(s *settings) []target {
	var out []target
	add := func(value, most float64, format string, args ...any) {
		out = append(out, target{Name: fmt.Sprintf(format, args...), Value: value, Most: most, Held: value <= most})
	}
	for _, b := range s.backends() {
		if p := r.Packets; p != nil {
			row := fmt.Sprintf("%s_%d", b, s.rules)
			for _, t := range p.Traffic {
				add(p.Cost[t][row].Conntrack, 1.05, "%s %s, to conntrack", row, t)
				add(p.Flat[t][row], 1.05, "%s %s, to 10 policies", row, t)
			}
		}
		if e := r.Events[b]; e != nil {
			add(e.Kinds[podAdded].P99, 5, "%s %s p99 ms", b, podAdded)
			for _, kind := range []string{labelOf1000, labelOf10000, policyChanged} {
				add(e.Kinds[kind].P99, 20, "%s %s p99 ms", b, kind)
			}
			add(e.Whole, 1000, "%s whole state ms", b)
		}
		if m := r.Memory[b]; m != nil {
			add(m.Resident, 150, "%s resident MiB", b)
		}
	}
	return out
}

// table writes the report for people.
func (r *report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\t\n", args...) } //nolint:errcheck // Flush says it
	line("\nLinux %s, %d processors, load %s before, %s after", r.Kernel, r.Processors, r.Load[0], r.Load[1])
	if p := r.Packets; p != nil {
		line("\nprocessor time per operation, %d rounds, %d failures: ns, x of conntrack (quartiles)", p.Rounds, p.Failures)
		line("\t%s", strings.Join(p.Traffic, "\t"))
		for _, row := range p.Rows {
			cells := []string{row}
			for _, t := range p.Traffic {
				c := p.Cost[t][row]
				cells = append(cells, fmt.Sprintf("%.0f  %.2f (%.2f-%.2f)", c.Nanoseconds, c.Conntrack, c.Quartiles[0], c.Quartiles[1]))
			}
			line("%s", strings.Join(cells, "\t"))
		}
	}
	for _, b := range sortedKeys(r.Events) {
		e := r.Events[b]
		line("\n%s, event to kernel, %d pods, %d policies, %d programs: ms", b, e.Pods, e.Policies, e.Programs)
		line("whole state from nothing\t%.0f (compiling %.0f, kernel %.0f)", e.Whole, e.WholeCompiled, e.WholeProgrammed)
		line("\tevents\tmedian\tp99\tworst\tcompiling\tkernel")
		for _, kind := range e.Order {
			t := e.Kinds[kind]
			line("%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", kind, t.Events, t.Median, t.P99, t.Worst, t.Compiled, t.Programmed)
		}
	}
	for _, b := range sortedKeys(r.Memory) {
		m := r.Memory[b]
		line("\n%s, resident: %.0f MiB after a collection (%.0f before, %.0f with all returned, peak %.0f; live heap %.0f)", b, m.Resident, m.Before, m.Returned, m.Peak, m.Heap)
	}
	line("\ntarget\tis\tmost\t")
	for _, t := range r.Targets {
		held := ""
		if !t.Held {
			held = "MISSED"
		}
		line("%s\t%.2f\t%.2f\t%s", t.Name, t.Value, t.Most, held)
	}
	return w.Flush()
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func numCPU() int { return runtime.NumCPU() }

func kernelRelease() string { return firstOf("/proc/sys/kernel/osrelease", 1) }

func loadAverage() string { return firstOf("/proc/loadavg", 3) }

// firstOf returns the first n words of a file, or "unknown".
func firstOf(file string, n int) string {
	text, err := os.ReadFile(file)
	words := strings.Fields(string(text))
	if err != nil || len(words) < n {
		return "unknown"
	}
	return strings.Join(words[:n], " ")
}
