package selectorbench_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
)

// row is one selector of the corpus of policy/selector, with label sets to try it on.
type row struct {
	Selector string `json:"selector"`
	Matches  []struct {
		Labels map[string]string `json:"labels"`
	} `json:"matches"`
}

func corpus(tb testing.TB) []row {
	tb.Helper()
	f, err := os.Open("../../policy/selector/testdata/selectors.jsonl.gz")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var rows []row
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatal(err)
		}
		rows = append(rows, r)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	if len(rows) != 400 {
		tb.Fatalf("the corpus has %d rows, want 400", len(rows))
	}
	return rows
}

// forms are selectors of the forms that policies are written with, as they are evaluated: on an endpoint's own labels and those
// that it inherits.
func forms() []string {
	return []string{
		"role == 'intern'",
		"pcsa.role in {'intern', 'developer', 'security'}",
		"(projectcalico.org/namespace == 'prod') && (projectcalico.org/serviceaccount in {'web', 'api'})",
		"app == 'db' && tier != 'front' && !has(quarantine) || team starts with 'plat'",
		"(a == '1' || b == '2' || c == '3' || app == 'db') && env not in {'dev', 'test'}",
	}
}

func endpoint() map[string]string {
	return map[string]string{
		"app": "db", "tier": "back", "team": "platform", "env": "prod", "pod-template-hash": "5d4f8c7b9",
		"pcsa.role": "developer", "pcsa.projectcalico.org/name": "api", "pcns.projectcalico.org/name": "prod",
		"projectcalico.org/namespace": "prod", "projectcalico.org/serviceaccount": "api", "projectcalico.org/orchestrator": "k8s",
	}
}
