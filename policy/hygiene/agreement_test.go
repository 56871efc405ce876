package hygiene

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
)

// row is one line of testdata/validation.jsonl.gz: a policy object, and whether
// Calico (master of August 2026: v3 validator, CRD schema, CEL) accepts it.
type row struct {
	Object json.RawMessage `json:"object"`
	Valid  bool            `json:"valid"`
	Reason string          `json:"reason"`
	Tags   []string        `json:"tags"`
}

func corpus(t testing.TB) []row {
	t.Helper()
	f, err := os.Open("testdata/validation.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 150 {
		t.Fatalf("corpus has %d rows, want 150: is testdata complete?", len(rows))
	}
	return rows
}

func TestCalicoSemanticsAgreeWithCalicoOnEveryRow(t *testing.T) {
	valid := 0
	for i, r := range corpus(t) {
		errs := Validate(r.Object, Calico)
		if (len(errs) == 0) != r.Valid {
			t.Errorf("row %d: got %v, Calico says valid = %v %s\n%s", i, errs.ToAggregate(), r.Valid, r.Reason, r.Object)
		}
		if r.Valid {
			valid++
		}
	}
	t.Logf("150 rows, %d valid", valid)
}

// Strict semantics refuse more, and only for what the table lists.
func TestStrictSemanticsDivergeAsListed(t *testing.T) {
	listed := map[string]bool{}
	for _, d := range Divergences() {
		listed[d.ID] = true
	}
	agree, rows := 0, map[string]int{}
	for i, r := range corpus(t) {
		errs := Validate(r.Object, Strict)
		if (len(errs) == 0) == r.Valid {
			agree++
			continue
		}
		if !r.Valid {
			t.Errorf("row %d: strict accepts what Calico refuses: %s", i, r.Reason)
			continue
		}
		obj, bad := Decode(r.Object)
		if len(bad) > 0 {
			t.Errorf("row %d: does not decode: %v", i, bad)
			continue
		}
		ids := map[string]bool{}
		for _, f := range findings(obj, Strict) {
			if !listed[f.divergence] {
				t.Errorf("row %d: %v is no listed divergence", i, f.err)
			}
			ids[f.divergence] = true
		}
		for id := range ids {
			rows[id]++
		}
		t.Logf("row %d: %v: %v", i, slices.Sorted(maps.Keys(ids)), errs.ToAggregate())
	}
	t.Logf("%d rows agree, %d diverge: %v", agree, 150-agree, rows)
	if agree < 100 {
		t.Errorf("only %d rows agree", agree)
	}
}
