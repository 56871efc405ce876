package selectorbench_test

import (
	"testing"

	calico "github.com/projectcalico/calico/libcalico-go/lib/selector"

	"github.com/saguard/saguard/policy/selector"
)

// Both parsers accept the same texts, make the same canonical form of them, and select the same label sets.
func TestBothParsersAgree(t *testing.T) {
	rows := corpus(t)
	for _, text := range forms() {
		rows = append(rows, row{Selector: text})
	}
	accepted, evaluations, selected := 0, 0, 0
	for _, r := range rows {
		theirs, theirErr := calico.Parse(r.Selector)
		ours, err := selector.ParseLimits(r.Selector, selector.CalicoLimits())
		if (err == nil) != (theirErr == nil) {
			t.Errorf("%q: %v, Calico says %v", r.Selector, err, theirErr)
			continue
		}
		if err != nil {
			continue
		}
		accepted++
		if ours.String() != theirs.String() {
			t.Errorf("%q is %q, Calico says %q", r.Selector, ours, theirs)
		}
		sets := []map[string]string{nil, endpoint()}
		for _, m := range r.Matches {
			sets = append(sets, m.Labels)
		}
		for _, labels := range sets {
			want := theirs.Evaluate(labels)
			for _, l := range []selector.Labels{selector.NewSet(labels), selector.Map(labels)} {
				if got := ours.Matches(l); got != want {
					t.Errorf("%q on %T %v: %v, Calico says %v", r.Selector, l, labels, got, want)
				}
			}
			evaluations++
			if want {
				selected++
			}
		}
	}
	t.Logf("%d of %d texts accepted, %d evaluations, %d of them true", accepted, len(rows), evaluations, selected)
	if accepted < 200 || selected < 200 || evaluations-selected < 200 {
		t.Error("the corpus decides too little")
	}
}
