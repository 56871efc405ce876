package selector

import (
	"slices"
	"strings"
	"testing"
)

// benchSelectors are of the forms that policies are written with.
func benchSelectors() []string {
	return []string{
		"role == 'intern'",
		"pcsa.role in {'intern', 'developer', 'security'}",
		"(projectcalico.org/namespace == 'prod') && (projectcalico.org/serviceaccount in {'web', 'api'})",
		"app == 'db' && tier != 'front' && !has(quarantine) || team starts with 'plat'",
		"(a == '1' || b == '2' || c == '3' || app == 'db') && env not in {'dev', 'test'}",
	}
}

func benchLabels() map[string]string {
	return map[string]string{
		"app": "db", "tier": "back", "team": "platform", "env": "prod", "pod-template-hash": "5d4f8c7b9",
		"pcsa.role": "developer", "pcsa.projectcalico.org/name": "api", "pcns.projectcalico.org/name": "prod",
		"projectcalico.org/namespace": "prod", "projectcalico.org/serviceaccount": "api", "projectcalico.org/orchestrator": "k8s",
	}
}

func BenchmarkParse(b *testing.B) {
	texts := benchSelectors()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := Parse(texts[i%len(texts)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatches prints, per form of labels, how much faster the flattened
// program is than the baseline of the same run: walking the tree over the same
// map, one virtual call a node, which is the shape of Calico's evaluator. The
// comparison with Calico itself is in e2e.
func BenchmarkMatches(b *testing.B) {
	var (
		programs []evaluator
		trees    []evaluator
		m        = Map(benchLabels())
	)
	for _, text := range benchSelectors() {
		s := mustParse(b, text)
		programs, trees = append(programs, s), append(trees, tree(s.Root()))
		if trees[len(trees)-1].Matches(m) != s.Matches(m) {
			b.Fatalf("%s: tree and program differ", s)
		}
	}
	var baseline float64
	for _, run := range []struct {
		name   string
		on     []evaluator
		labels Labels
	}{
		{name: "baseline-tree-over-Map", on: trees, labels: m},
		{name: "Set", on: programs, labels: NewSet(m)},
		{name: "Map", on: programs, labels: m},
		{name: "other", on: programs, labels: custom{Map: m}},
	} {
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				run.on[i].Matches(run.labels)
				if i++; i == len(run.on) {
					i = 0
				}
			}
			perOp := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if baseline == 0 {
				baseline = perOp
			}
			b.ReportMetric(baseline/perOp, "x-baseline")
		})
	}
}

type evaluator interface{ Matches(Labels) bool }

type (
	treeLeaf struct{ *Node }
	treeNot  struct{ operand evaluator }
	treeAnd  struct{ operands []evaluator }
	treeOr   struct{ operands []evaluator }
)

func (t *treeLeaf) Matches(l Labels) bool {
	v, ok := l.Get(t.key)
	if !ok {
		return t.kind == KindNe || t.kind == KindNotIn
	}
	switch t.kind {
	case KindEq:
		return v == t.value
	case KindNe:
		return v != t.value
	case KindIn, KindNotIn:
		_, in := slices.BinarySearch(t.values, v)
		return in == (t.kind == KindIn)
	case KindHas:
		return true
	default:
		return strings.HasPrefix(v, t.value)
	}
}

func (t *treeNot) Matches(l Labels) bool { return !t.operand.Matches(l) }

func (t *treeAnd) Matches(l Labels) bool {
	for _, o := range t.operands {
		if !o.Matches(l) {
			return false
		}
	}
	return true
}

func (t *treeOr) Matches(l Labels) bool {
	for _, o := range t.operands {
		if o.Matches(l) {
			return true
		}
	}
	return false
}

func tree(n *Node) evaluator {
	var operands []evaluator
	for _, o := range n.operands {
		operands = append(operands, tree(o))
	}
	switch n.kind {
	case KindNot:
		return &treeNot{operand: operands[0]}
	case KindAnd:
		return &treeAnd{operands: operands}
	case KindOr:
		return &treeOr{operands: operands}
	default:
		return &treeLeaf{n}
	}
}
