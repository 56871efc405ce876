package bench_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// results are blocks of measurements by row, an odd number of them: what is told is the median of the blocks, so that one that another program
// disturbed does not count, and the least and greatest, so that it can be seen how much was disturbed.
type results struct {
	rows   []row
	blocks [][]time.Duration // by block, then by row
}

func (r *results) of(name string) int {
	return slices.IndexFunc(r.rows, func(row row) bool { return row.name == name })
}

// ratio compares two rows block by block.
func (r *results) ratio(c comparison) (median, least, greatest float64) {
	i, j := r.of(c.row), r.of(c.baseline)
	var ratios []float64
	for _, block := range r.blocks {
		ratios = append(ratios, float64(block[i])/float64(block[j]))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1]
}

func (r *results) median(i int) time.Duration {
	var all []time.Duration
	for _, block := range r.blocks {
		all = append(all, block[i])
	}
	return percentile(all, 50)
}

// percentile is the nearest rank; it sorts what it is given.
func percentile(of []time.Duration, p int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[min(len(of)-1, len(of)*p/100)]
}

// table shows the comparisons.
func (r *results) table(title, unit string, comparisons []comparison) []string {
	lines := []string{
		"", fmt.Sprintf("%s; median of %d blocks, load average %s, %d CPUs", title, len(r.blocks), loadAverage(), runtime.NumCPU()),
		unit + "\tbaseline\tratio\tleast\tgreatest\ttarget\t",
	}
	for _, c := range comparisons {
		median, least, greatest := r.ratio(c)
		target := ""
		if c.target > 0 {
			target = fmt.Sprintf("%.2f missed", c.target)
			if median <= c.target {
				target = fmt.Sprintf("%.2f met", c.target)
			}
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%.3f\t%.3f\t%.3f\t%s\t", c.row, c.baseline, median, least, greatest, target))
	}
	return lines
}

// show prints lines of cells that end in tabs, aligned.
func show(tb testing.TB, lines ...string) {
	tb.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	if err := errors.Join(err, w.Flush()); err != nil {
		tb.Error(err)
	}
}

// loadAverage is that of the last minute; other programs on the machine make the figures worse.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
