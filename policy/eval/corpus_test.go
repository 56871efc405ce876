package eval_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// The smallest number of scenarios and flows in the corpus: a truncated file must not pass.
const (
	corpusScenarios = 380
	corpusFlows     = 21797
)

func TestCalicoSemanticsAgreeWithCalicoOnEveryFlow(t *testing.T) {
	scenarios, flows := 0, 0
	for _, sc := range corpus(t) {
		scenarios++
		s := snapshot(t, policy.Calico, sc.raws())
		for i, f := range sc.Flows {
			flows++
			r := eval.Evaluate(s, f.resolve(t, s))
			got := [3]string{said(r.Egress), said(r.Ingress), r.Verdict().String()}
			if want := [3]string{f.Egress, f.Ingress, f.Verdict}; got != want {
				t.Errorf("%s flow %d %s -> %s %s/%d: got egress, ingress, verdict %q, want %q\negress %+v\ningress %+v",
					sc.Name, i, f.From, f.To, f.Protocol, f.Port, got, want, r.Egress, r.Ingress)
			}
		}
	}
	if scenarios < corpusScenarios || flows < corpusFlows {
		t.Fatalf("the corpus has %d scenarios and %d flows, want %d and %d", scenarios, flows, corpusScenarios, corpusFlows)
	}
	t.Logf("%d scenarios, %d flows agree", scenarios, flows)
}

// Every verdict in which strict semantics part from Calico's is explained by a row of the table: with that row alone made
// strict, the verdict changes in the same way.
func TestStrictDifferencesAreTheDocumentedOnes(t *testing.T) {
	byRow := map[string]int{}
	differences := 0
	for _, sc := range corpus(t) {
		calico, strict := snapshot(t, policy.Calico, sc.raws()), snapshot(t, policy.Strict, sc.raws())
		var rows []*policy.Snapshot // made when first needed
		for i, f := range sc.Flows {
			c, s := eval.Evaluate(calico, f.resolve(t, calico)), eval.Evaluate(strict, f.resolve(t, strict))
			if verdicts(c) == verdicts(s) {
				continue
			}
			differences++
			if s.Verdict().String() == "Allow" {
				t.Errorf("%s flow %d: strict allows what Calico denies", sc.Name, i)
			}
			if rows == nil {
				for _, d := range policy.Differences() {
					rows = append(rows, snapshot(t, policy.StrictOnly(d), sc.raws()))
				}
			}
			var explained []string
			for n, d := range policy.Differences() {
				if verdicts(eval.Evaluate(rows[n], f.resolve(t, rows[n]))) == verdicts(s) {
					explained = append(explained, d.ID)
				}
			}
			if len(explained) == 0 {
				t.Errorf("%s flow %d %s -> %s: strict says %v, Calico %v, and no row explains it", sc.Name, i, f.From, f.To, verdicts(s), verdicts(c))
			}
			byRow[strings.Join(explained, " or ")]++
		}
	}
	var lines []string
	for row, n := range byRow {
		lines = append(lines, fmt.Sprintf("%5d flows differ by %s", n, row))
	}
	slices.Sort(lines)
	t.Logf("%d differences\n%s", differences, strings.Join(lines, "\n"))
	if differences == 0 {
		t.Error("the corpus has network sets in account sets, but no verdict differs: the strict semantics are not at work")
	}
}

func verdicts(r eval.Result) [2]string { return [2]string{said(r.Egress), said(r.Ingress)} }
