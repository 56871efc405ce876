package selectorbench_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	calico "github.com/projectcalico/calico/libcalico-go/lib/selector"
	"github.com/projectcalico/calico/libcalico-go/lib/selector/parser"

	"github.com/saguard/saguard/policy/selector"
)

// BenchmarkMatches evaluates the same selectors on the same labels: by Calico, as its agent does, over a map behind its
// interface; and by ours over a prepared Set, which is what agent and compiler hold, and over a plain map.
func BenchmarkMatches(b *testing.B) {
	b.Run("forms", func(b *testing.B) { compare(b, forms(), []map[string]string{endpoint()}) })
	var texts []string
	var sets []map[string]string
	for _, r := range corpus(b) {
		if _, err := calico.Parse(r.Selector); err != nil || len(r.Selector) > selector.MaxLength {
			continue
		}
		texts = append(texts, r.Selector)
		if len(r.Matches) > 0 {
			sets = append(sets, r.Matches[0].Labels)
		}
	}
	sets = sets[:min(len(sets), 16)]
	b.Run("corpus-few-labels", func(b *testing.B) { compare(b, texts, sets) })
	// No endpoint is without the labels that it inherits and that Calico gives it.
	var endpoints []map[string]string
	for _, labels := range sets {
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for k, v := range endpoint() {
			if _, own := labels[k]; !own && strings.ContainsAny(k, "./") {
				labels[k] = v
			}
		}
		endpoints = append(endpoints, labels)
	}
	b.Run("corpus-endpoints", func(b *testing.B) { compare(b, texts, endpoints) })
}

func compare(b *testing.B, texts []string, sets []map[string]string) {
	b.Helper()
	var theirs []calico.Selector
	var ours []*selector.Selector
	for _, text := range texts {
		c, err := calico.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		s, err := selector.ParseLimits(text, selector.CalicoLimits())
		if err != nil {
			b.Fatal(err)
		}
		theirs, ours = append(theirs, c), append(ours, s)
	}
	var behindInterface []parser.Labels
	var prepared, plain []selector.Labels
	for _, labels := range sets {
		behindInterface = append(behindInterface, parser.MapAsLabels(labels))
		prepared, plain = append(prepared, selector.NewSet(labels)), append(plain, selector.Map(labels))
	}
	selected := 0
	inTurns(b, len(texts)*len(sets), []contender{
		{name: "calico", pass: func() {
			for _, l := range behindInterface {
				for _, s := range theirs {
					if s.EvaluateLabels(l) {
						selected++
					}
				}
			}
		}},
		{name: "Set", pass: func() {
			for _, l := range prepared {
				for _, s := range ours {
					if s.Matches(l) {
						selected++
					}
				}
			}
		}},
		{name: "Map", pass: func() {
			for _, l := range plain {
				for _, s := range ours {
					if s.Matches(l) {
						selected++
					}
				}
			}
		}},
	})
	if selected == 0 {
		b.Fatal("nothing is ever selected")
	}
}

// BenchmarkParse parses the same texts.
func BenchmarkParse(b *testing.B) {
	texts := forms()
	var failed error
	parse := func(one func(text string) error) func() {
		return func() {
			for _, text := range texts {
				if err := one(text); err != nil {
					failed = err
				}
			}
		}
	}
	inTurns(b, len(texts), []contender{
		{name: "calico", pass: parse(func(text string) error { _, err := calico.Parse(text); return err })},
		{name: "Parse", pass: parse(func(text string) error { _, err := selector.Parse(text); return err })},
	})
	if failed != nil {
		b.Fatal(failed)
	}
}

// contender is one way to do some pieces of work; pass does each of them once.
type contender struct {
	name string
	pass func()
}

// turn is about how many pieces a contender does before the next has its turn: few, so that whatever else the machine does
// slows all of them alike.
const turn = 2000

// inTurns reports the median time of a piece for each contender, and how many times faster than the first the others are.
func inTurns(b *testing.B, pieces int, contenders []contender) {
	b.Helper()
	passes := turn/pieces + 1
	times := make([][]float64, len(contenders))
	for b.Loop() {
		for c := range contenders {
			started := time.Now()
			for range passes {
				contenders[c].pass()
			}
			times[c] = append(times[c], float64(time.Since(started).Nanoseconds())/float64(passes*pieces))
		}
	}
	var baseline float64
	for c := range contenders {
		slices.Sort(times[c])
		median := times[c][len(times[c])/2]
		b.ReportMetric(median, contenders[c].name+"-ns")
		if c == 0 {
			baseline = median
			continue
		}
		b.ReportMetric(baseline/median, contenders[c].name+"-x-calico")
	}
	b.ReportMetric(0, "ns/op") // of all in turn, which says nothing
}
