package eval_test

import (
	"reflect"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// A narrowed snapshot decides every flow of the corpus as the whole one does, whatever the ports: each flow is judged again
// with the ports of a few others, by what was narrowed for the first.
func TestNarrowedSnapshotsDecideAlike(t *testing.T) {
	const others = 6
	judged, smaller := 0, 0
	for _, sc := range corpus(t) {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			s := snapshot(t, sem, sc.raws())
			for i, line := range sc.Flows {
				f := line.resolve(t, s)
				for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
					w := f.Destination.Workload
					if d == policy.Egress {
						w = f.Source.Workload
					}
					if w == nil {
						continue
					}
					selecting := eval.Selecting(s, w, d)
					narrow := eval.Between(selecting, f, d, nil)
					if rules(narrow, d) < rules(s, d) {
						smaller++
					}
					for n := range others {
						g := f
						if n > 0 && !g.Destination.Port.IsAbsent() {
							o := sc.Flows[(i+n)%len(sc.Flows)]
							g.Destination.Port, g.Source.Port = decision.Known(o.Port), decision.Known(o.Port+uint16(n))
						}
						judged++
						want := untraced(eval.Judge(s, g, d, nil))
						if got := untraced(eval.Judge(selecting, g, d, nil)); !reflect.DeepEqual(got, want) {
							t.Fatalf("%s flow %d %s: among those that select the pod %+v, else %+v", sc.Name, i, d, got, want)
						}
						if got := untraced(eval.Judge(narrow, g, d, nil)); !reflect.DeepEqual(got, want) {
							t.Fatalf("%s flow %d %s, ports of %d: narrowed %+v, else %+v", sc.Name, i, d, n, got, want)
						}
						for _, action := range []policy.Action{policy.ActionAllow, policy.ActionDeny} {
							also := func(_ policy.Direction, r *policy.Rule) bool { return r.Action != action }
							want := untraced(eval.Judge(s, g, d, also))
							if got := untraced(eval.Judge(narrow, g, d, also)); !reflect.DeepEqual(got, want) {
								t.Fatalf("%s flow %d %s without %v: narrowed %+v, else %+v", sc.Name, i, d, action, got, want)
							}
						}
					}
				}
			}
		}
	}
	if judged == 0 || smaller == 0 {
		t.Fatalf("%d flows judged, %d snapshots narrowed: the test proves nothing", judged, smaller)
	}
	t.Logf("%d judged, %d snapshots narrowed", judged, smaller)
}

func untraced(d eval.Decision) eval.Decision {
	d.Trace = nil
	return d
}

func rules(s *policy.Snapshot, d policy.Direction) int {
	n := 0
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			n += len(p.Rules(d))
		}
	}
	return n
}
