package offline_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

// FuzzParseFlow: a flow is either refused with an error for each field at fault, or complete.
func FuzzParseFlow(f *testing.F) {
	for _, seed := range []string{
		`{"from":"a/b","to":"10.0.0.1","protocol":"TCP","port":80,"sourcePort":1,"ipVersion":4}`,
		`{"from":"::1","to":"a/b","protocol":"ICMPv6","icmpType":128,"icmpCode":0,"x":[1]}`,
		`{"from":"a/b","to":"a/c","protocol":132,"port":null}`, `{}`, `null`, `[]`, `{"protocol":1e2,"port":"80"}`, `{"from":1,"ipVersion":5}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		flow, errs := offline.ParseFlow(field.NewPath("flows").Index(0), raw)
		for _, err := range errs {
			if !strings.HasPrefix(err.Field, "flows[0]") {
				t.Errorf("the path of %v", err)
			}
		}
		if len(errs) == 0 && (flow.From == "" || flow.To == "" || flow.Protocol == 0) {
			t.Errorf("%+v is accepted", flow)
		}
	})
}

// FuzzVerdictLines: every line that is not blank has one answer, which is JSON, in both semantics.
func FuzzVerdictLines(f *testing.F) {
	f.Add([]byte(scenario("s", objects, `{"from":"prod/web","to":"prod/db","protocol":"TCP","port":80}`)))
	f.Add([]byte(scenario("s", `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[]}]}`, `{"from":"10.0.0.1","to":"fd00::1","protocol":"UDP","port":0}`)))
	f.Add([]byte("{\"name\":\"\\u0000\"}\n\n{\n[]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		want := 0
		for _, line := range bytes.Split(in, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				want++
			}
		}
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			var out, notes bytes.Buffer
			if err := offline.VerdictLines(bytes.NewReader(in), &out, &notes, sem); err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, line := range bytes.Split(out.Bytes(), []byte("\n")) {
				if len(line) == 0 {
					continue
				}
				got++
				if !json.Valid(line) {
					t.Errorf("answer %q is not JSON", line)
				}
			}
			if got != want {
				t.Errorf("%d answers to %d lines", got, want)
			}
		}
	})
}
