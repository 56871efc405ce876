package report_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/internal/scan/report"
)

// result has n violations and n that could not be judged, in one namespace and in none, with the longest and worst texts.
func result(n int) *scan.Result {
	tally := scan.NewTally(scan.Limits{}, nil)
	for i := range n {
		for _, namespace := range []string{"prod", ""} {
			o := scan.Object{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: fmt.Sprint("p", i)}
			worst := strings.Repeat("<\x00\"", 500)
			tally.Add(scan.Verdict{
				Violations: []scan.Violation{{Check: "account-use", Object: o, Certainty: scan.NobodyMay, Mode: []v1alpha1.Mode{v1alpha1.ModeEnforce, v1alpha1.ModeWarn}[i%2], Reason: worst, Field: worst, CanI: []string{worst, worst}, Grant: []string{worst}, Guards: []string{worst}}},
				Unjudged:   []scan.Unjudged{{Object: o, Reason: worst}},
			})
		}
	}
	return tally.Result()
}

// An object of etcd's must be less than 1.5 MiB; and what is left out is counted.
func TestReportsAreBounded(t *testing.T) {
	for _, n := range []int{1, 10, 600} {
		reports, cluster := report.Reports(result(n))
		if len(reports) != 1 || cluster == nil {
			t.Fatalf("%d: %d reports, cluster's %v", n, len(reports), cluster != nil)
		}
		for _, o := range []any{reports[0], cluster} {
			raw, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > 1_200_000 {
				t.Errorf("%d: %d bytes", n, len(raw))
			}
		}
		s := reports[0].Summary
		if s.Fail != (n+1)/2 || s.Warn != n/2 || s.Error != n {
			t.Errorf("%d: %+v", n, s)
		}
		if got := len(reports[0].Results); got == 0 || got > report.MaxResults || n == 1 && got != 2 {
			t.Errorf("%d: %d results", n, got)
		}
	}
}

// The same result gives the same reports, so that nothing is written in vain.
func TestReportsAreDeterministic(t *testing.T) {
	one, cluster := report.Reports(result(300))
	two, clusterTwo := report.Reports(result(300))
	if !reflect.DeepEqual(one, two) || !reflect.DeepEqual(cluster, clusterTwo) {
		t.Error("two reports of one result differ")
	}
	if reports, cluster := report.Reports(scan.NewTally(scan.Limits{}, nil).Result()); len(reports) > 0 || cluster != nil {
		t.Error("reports of nothing")
	}
}
