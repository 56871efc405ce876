package authz_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

// scenario is a line of testdata/authz.jsonl.gz.
type scenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Checks  []check           `json:"checks"`
}

type check struct {
	Server   string        `json:"server"`
	Request  authz.Request `json:"request"`
	Tags     []string      `json:"tags"`
	Decision string        `json:"decision"`
}

func (c *check) server() authz.ServerName {
	namespace, name, _ := strings.Cut(c.Server, "/")
	return authz.ServerName{Namespace: namespace, Name: name}
}

func corpus(t testing.TB) []scenario {
	t.Helper()
	packed, err := os.ReadFile("testdata/authz.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var out []scenario
	for decoder := json.NewDecoder(unpacked); decoder.More(); {
		var s scenario
		if err := decoder.Decode(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func (s *scenario) snapshot(t testing.TB, sem policy.Semantics) *policy.Snapshot {
	t.Helper()
	raws := make([][]byte, len(s.Objects))
	for i := range s.Objects {
		raws[i] = s.Objects[i]
	}
	return parse(t, sem, raws)
}

func parse(t testing.TB, sem policy.Semantics, raws [][]byte) *policy.Snapshot {
	t.Helper()
	var resources []policy.Resource
	for _, raw := range raws {
		o, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		r, _ := policy.Parse(o, sem)
		resources = append(resources, r)
	}
	return policy.NewSnapshot(1, sem, resources)
}

// The smallest number of scenarios and checks in the corpus: a truncated file must not pass.
const (
	corpusScenarios = 100
	corpusChecks    = 4232
)

func TestCalicoSemanticsAgreeWithCalicoOnEveryCheck(t *testing.T) {
	scenarios, checks := 0, 0
	for _, sc := range corpus(t) {
		scenarios++
		s := sc.snapshot(t, policy.Calico)
		for i := range sc.Checks {
			checks++
			c := &sc.Checks[i]
			d := authz.Decide(s, &authz.Config{}, c.server(), &c.Request)
			if d.Code() != c.Decision {
				t.Errorf("%s check %d to %s, %v, http %+v: got %s (%s by %s %s %d), want %s",
					sc.Name, i, c.Server, c.Tags, c.Request.HTTP, d.Code(), d.Reason, d.Tier, d.Policy, d.Rule, c.Decision)
			}
		}
	}
	if scenarios < corpusScenarios || checks < corpusChecks {
		t.Fatalf("the corpus has %d scenarios and %d checks, want %d and %d", scenarios, checks, corpusScenarios, corpusChecks)
	}
	t.Logf("%d scenarios, %d checks agree", scenarios, checks)
}
