package eval_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// world parses YAML documents.
func world(t testing.TB, sem policy.Semantics, docs ...string) *policy.Snapshot {
	t.Helper()
	var raws [][]byte
	for _, doc := range docs {
		for _, one := range strings.Split(doc, "\n---\n") {
			raw, err := yaml.YAMLToJSONStrict([]byte(one))
			if err != nil {
				t.Fatalf("read YAML: %v\n%s", err, one)
			}
			raws = append(raws, raw)
		}
	}
	return snapshot(t, sem, raws)
}

func snapshot(t testing.TB, sem policy.Semantics, raws [][]byte) *policy.Snapshot {
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

// flow is a line of the corpus, and what tables write.
type flow struct {
	From       string  `json:"from"`
	To         string  `json:"to"`
	IPVersion  uint8   `json:"ipVersion"`
	Protocol   string  `json:"protocol"`
	Port       uint16  `json:"port"`
	SourcePort *uint16 `json:"sourcePort"`
	ICMPType   *uint8  `json:"icmpType"`
	ICMPCode   *uint8  `json:"icmpCode"`

	Egress  string `json:"egress"`
	Ingress string `json:"ingress"`
	Verdict string `json:"verdict"`
}

func (f flow) resolve(t testing.TB, s *policy.Snapshot) eval.Flow {
	t.Helper()
	protocol, ok := policy.ProtocolNumber(f.Protocol)
	if !ok {
		t.Fatalf("protocol %q", f.Protocol)
	}
	out := eval.Flow{Protocol: protocol, ICMP: decision.Unknown[policy.ICMP]("not given")}
	out.Source.Port, out.Destination.Port = decision.Absent[uint16](), decision.Absent[uint16]()
	if f.ICMPType != nil {
		icmp := policy.ICMP{Type: *f.ICMPType}
		if f.ICMPCode != nil {
			icmp.Code, icmp.HasCode = *f.ICMPCode, true
		}
		out.ICMP = decision.Known(icmp)
	} else if !strings.HasPrefix(f.Protocol, "ICMP") {
		out.Destination.Port, out.Source.Port = decision.Known(f.Port), decision.Unknown[uint16]("not given")
		if f.SourcePort != nil {
			out.Source.Port = decision.Known(*f.SourcePort)
		}
	}
	version := f.IPVersion
	if version == 0 {
		version = 4
		for _, end := range []string{f.From, f.To} {
			if a, err := netip.ParseAddr(end); err == nil && a.Is6() {
				version = 6
			}
		}
	}
	for text, end := range map[string]*eval.End{f.From: &out.Source, f.To: &out.Destination} {
		if a, err := netip.ParseAddr(text); err == nil {
			end.Addr = a
			continue
		}
		namespace, name, _ := strings.Cut(text, "/")
		if end.Workload = s.Workload(namespace, name); end.Workload == nil {
			t.Fatalf("%s is no endpoint", text)
		}
		if end.Addr, ok = end.Workload.Address(version); !ok {
			t.Fatalf("%s has no IPv%d address", text, version)
		}
	}
	return out
}

// said is a verdict as the corpus spells it.
func said(d eval.Decision) string {
	if !d.Applies {
		return ""
	}
	return d.Verdict.String()
}

type scenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Flows   []flow            `json:"flows"`
}

func (s scenario) raws() [][]byte {
	var out [][]byte
	for _, o := range s.Objects {
		out = append(out, o)
	}
	return out
}

// corpus reads verdicts of Calico's own engine: see testdata/README.md.
func corpus(t testing.TB) []scenario {
	t.Helper()
	var out []scenario
	for _, file := range []string{"testdata/verdicts.jsonl.gz", "testdata/verdicts-ext.jsonl.gz"} {
		zipped, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(in)
		for decoder.More() {
			var s scenario
			if err := decoder.Decode(&s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
	}
	return out
}
