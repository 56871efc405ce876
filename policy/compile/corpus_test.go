package compile_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// The smallest number of scenarios and verdicts of the corpus: a truncated file must not pass.
const (
	corpusScenarios = 380
	corpusVerdicts  = 20000
)

type scenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Flows   []struct {
		From       string  `json:"from"`
		To         string  `json:"to"`
		IPVersion  uint8   `json:"ipVersion"`
		Protocol   string  `json:"protocol"`
		Port       uint16  `json:"port"`
		SourcePort *uint16 `json:"sourcePort"`
		ICMPType   uint8   `json:"icmpType"`
		ICMPCode   uint8   `json:"icmpCode"`
		Egress     string  `json:"egress"`
		Ingress    string  `json:"ingress"`
	} `json:"flows"`
}

// corpus is what the reference evaluator is tested with: see its testdata.
func corpus(t testing.TB) []scenario {
	t.Helper()
	var out []scenario
	for _, file := range []string{"../eval/testdata/verdicts.jsonl.gz", "../eval/testdata/verdicts-ext.jsonl.gz"} {
		zipped, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		for decoder := json.NewDecoder(in); decoder.More(); {
			var s scenario
			if err := decoder.Decode(&s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
	}
	return out
}

func (sc scenario) resources(t testing.TB, sem policy.Semantics) []policy.Resource {
	t.Helper()
	var out []policy.Resource
	for _, raw := range sc.Objects {
		o, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%s: %v", sc.Name, err)
		}
		if r, _ := policy.Parse(o, sem); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// flows are those of the corpus with their ends as addresses.
func (sc scenario) flows(t testing.TB, s *policy.Snapshot) []ruleset.Flow {
	t.Helper()
	var out []ruleset.Flow
	for _, f := range sc.Flows {
		protocol, ok := policy.ProtocolNumber(f.Protocol)
		if !ok {
			t.Fatalf("%s: protocol %q", sc.Name, f.Protocol)
		}
		made := ruleset.Flow{Protocol: protocol, Port: f.Port, SourcePort: 40000, ICMPType: f.ICMPType, ICMPCode: f.ICMPCode}
		if f.SourcePort != nil {
			made.SourcePort = *f.SourcePort
		}
		version := f.IPVersion
		if version == 0 {
			version = 4
			if strings.Contains(f.From, ":") || strings.Contains(f.To, ":") {
				version = 6
			}
		}
		for text, end := range map[string]*netip.Addr{f.From: &made.Source, f.To: &made.Destination} {
			if a, err := netip.ParseAddr(text); err == nil {
				*end = a
				continue
			}
			namespace, name, _ := strings.Cut(text, "/")
			w := s.Workload(namespace, name)
			if w == nil {
				t.Fatalf("%s: %s is no endpoint", sc.Name, text)
			}
			if *end, ok = w.Address(version); !ok {
				t.Fatalf("%s: %s has no IPv%d address", sc.Name, text, version)
			}
		}
		out = append(out, made)
	}
	return out
}

func nodes(s *policy.Snapshot) map[string]bool {
	out := map[string]bool{}
	for _, w := range s.Workloads {
		out[w.Node] = true
	}
	return out
}

// In Calico's semantics, the compiled ruleset gives Calico's verdicts; in the strict ones, the evaluator's.
func TestCorpusVerdictsOfCompiledRules(t *testing.T) {
	scenarios, verdicts := 0, 0
	for _, sc := range corpus(t) {
		scenarios++
		for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
			s := policy.NewSnapshot(1, sem, sc.resources(t, sem))
			flows := sc.flows(t, s)
			for node := range nodes(s) {
				r, _ := compile.Compile(s, node)
				mustAgree(t, sc.Name, s, r, node, flows)
				for i, f := range sc.Flows {
					egress, ingress := r.Eval(flows[i])
					for want, got := range map[*string]ruleset.Decision{&f.Egress: egress, &f.Ingress: ingress} {
						if !got.Applies || sem != policy.Calico {
							continue
						}
						verdicts++
						if (*want == "Allow") != got.Allow {
							t.Errorf("%s flow %d on %s: got %+v, want %s", sc.Name, i, node, got, *want)
						}
					}
				}
			}
		}
	}
	if scenarios < corpusScenarios || verdicts < corpusVerdicts {
		t.Errorf("%d scenarios and %d verdicts, want %d and %d", scenarios, verdicts, corpusScenarios, corpusVerdicts)
	}
	t.Logf("%d scenarios, %d verdicts agree", scenarios, verdicts)
}
