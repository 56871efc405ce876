package selector

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// smallLabels returns every label set over keys in which each key is absent,
// "x" or "y".
func smallLabels(keys ...string) []Map {
	sets := []Map{{}}
	for _, k := range keys {
		for _, s := range slices.Clone(sets) {
			for _, v := range []string{"x", "y"} {
				m := Map{k: v}
				for a, b := range s {
					m[a] = b
				}
				sets = append(sets, m)
			}
		}
	}
	return sets
}

// randomNode draws a tree; leaves read keys and compare with x, y, xy or "".
func randomNode(r *rand.Rand, depth int, keys []string) *Node {
	if depth > 0 && r.IntN(4) > 0 {
		k := []Kind{KindNot, KindAnd, KindOr}[r.IntN(3)]
		n := 1
		if k != KindNot {
			n = 2 + r.IntN(2)
		}
		var operands []*Node
		for range n {
			operands = append(operands, randomNode(r, depth-1, keys))
		}
		return &Node{kind: k, operands: operands}
	}
	values := []string{"x", "y", "xy", ""}
	leaf := &Node{kind: KindEq + Kind(r.IntN(int(KindGlobal-KindEq)+1))}
	if leaf.kind == KindAll || leaf.kind == KindGlobal {
		if r.IntN(3) > 0 {
			leaf.kind = KindHas
		} else {
			return leaf
		}
	}
	leaf.key = keys[r.IntN(len(keys))]
	switch leaf.kind {
	case KindIn, KindNotIn:
		for _, v := range values {
			if r.IntN(3) == 0 {
				leaf.values = append(leaf.values, v)
			}
		}
		slices.Sort(leaf.values)
	case KindHas:
	default:
		leaf.value = values[r.IntN(len(values))]
	}
	return leaf
}

// oracle evaluates the tree as the language is worded (doc.go, Kind), without the
// flattened program.
func oracle(n *Node, m Map) bool {
	v, ok := m[n.key]
	switch n.kind {
	case KindEq:
		return ok && v == n.value
	case KindNe:
		return !ok || v != n.value
	case KindIn:
		return ok && slices.Contains(n.values, v)
	case KindNotIn:
		return !ok || !slices.Contains(n.values, v)
	case KindHas:
		return ok
	case KindContains:
		return ok && strings.Contains(v, n.value)
	case KindStartsWith:
		return ok && strings.HasPrefix(v, n.value)
	case KindEndsWith:
		return ok && strings.HasSuffix(v, n.value)
	case KindAll, KindGlobal:
		return true
	case KindNot:
		return !oracle(n.operands[0], m)
	case KindAnd:
		return !slices.ContainsFunc(n.operands, func(o *Node) bool { return !oracle(o, m) })
	case KindOr:
		return slices.ContainsFunc(n.operands, func(o *Node) bool { return oracle(o, m) })
	case KindInvalid:
	}
	return false
}

func TestTheProgramDecidesAsTheTreeDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := []string{"a", "b", "c"}
	labels := smallLabels(keys...)
	var yes, no int
	for range 20_000 {
		root := randomNode(r, 4, keys)
		s := newSelector(root)
		again, err := ParseLimits(s.String(), CalicoLimits())
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if got := s.MatchesUnlabelled(); got != oracle(root, nil) {
			t.Fatalf("%s: MatchesUnlabelled = %v", s, got)
		}
		for _, m := range labels {
			want := oracle(root, m)
			for _, l := range allForms(m) {
				if s.Matches(l) != want {
					t.Fatalf("%s on %T %v: got %v, want %v", s, l, m, !want, want)
				}
			}
			if again.Matches(m) != want {
				t.Fatalf("%s reparsed differs on %v", s, m)
			}
			if want {
				yes++
			} else {
				no++
			}
		}
	}
	if yes < 100_000 || no < 100_000 {
		t.Errorf("lopsided sample: %d matches, %d others", yes, no)
	}
}

func TestMatchesDoesNotAllocate(t *testing.T) {
	s := mustParse(t, "(a == 'x' || b in {'1','2','3'}) && c not in {'q'} && !has(d) && e contains 'mid' && f starts with 'p' && g ends with 's'")
	labels := map[string]string{"b": "2", "e": "amidst", "f": "pq", "g": "rs", "other": "z"}
	for _, l := range append(allForms(labels), nil) {
		if want := l != nil; s.Matches(l) != want {
			t.Fatalf("Matches(%v) = %v", l, !want)
		}
		if n := testing.AllocsPerRun(100, func() { s.Matches(l) }); n != 0 {
			t.Errorf("%T: %v allocations", l, n)
		}
	}
}

func TestLargeSetsAreSearchedAsSmallOnesAre(t *testing.T) {
	var values []string
	for i := range 3 * scanBelow {
		values = append(values, strconv.Itoa(i))
		s := must(In("k", values...))
		for j := range 4 * scanBelow {
			v := strconv.Itoa(j)
			if got := s.Matches(Map{"k": v}); got != (j <= i) {
				t.Fatalf("%d values: %s = %v", len(values), v, got)
			}
			if got := Not(s).Matches(Map{"k": v}); got != (j > i) {
				t.Fatalf("not, %d values: %s = %v", len(values), v, got)
			}
		}
	}
}

func TestSetHoldsWhatTheMapHolds(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 8, 100, 1000} {
		m := map[string]string{}
		for i := range n {
			m["key"+strconv.Itoa(i)] = strconv.Itoa(i)
		}
		s := NewSet(m)
		clear(m)
		for i := range n + 100 {
			v, ok := s.Get("key" + strconv.Itoa(i))
			if ok != (i < n) || ok && v != strconv.Itoa(i) {
				t.Fatalf("%d labels: key%d = %q, %v", n, i, v, ok)
			}
		}
	}
	if _, ok := new(Set).Get("a"); ok {
		t.Error("the zero Set has a label")
	}
}
