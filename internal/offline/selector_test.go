package offline_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

func TestSelectorLines(t *testing.T) {
	long := strings.Repeat("has(a) || ", 200) + "has(a)"
	cases := map[string]struct {
		line     string
		strict   string // a part of the answer
		calico   string // if other
		notInOut string
	}{
		"matches in the order of labels": {
			line:   `{"selector":"a in {'c','b'}","labels":[{"a":"b"},{},{"a":"d"}]}`,
			strict: `{"valid":true,"normalized":"a in {\"b\", \"c\"}","error":"","matches":[true,false,false]}`,
		},
		"no labels":              {line: `{"selector":""}`, strict: `{"valid":true,"normalized":"all()","error":"","matches":[]}`},
		"global() is all()":      {line: `{"selector":"global()","labels":[{}]}`, strict: `"matches":[true]}`},
		"invalid":                {line: `{"selector":"a ==","labels":[{}]}`, strict: `{"valid":false,"normalized":"","error":"at byte`},
		"too long strictly":      {line: `{"selector":"` + long + `","labels":[{"a":""}]}`, strict: `"valid":false`, calico: `"valid":true`},
		"not JSON":               {line: `{`, strict: `{"valid":false,"normalized":"","error":"read line 1`},
		"without selector":       {line: `{"labels":[{}]}`, strict: `selector is required`},
		"labels of a wrong type": {line: `{"selector":"a","labels":[{"a":1}]}`, strict: `"valid":false`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.calico == "" {
				tc.calico = tc.strict
			}
			for sem, want := range map[policy.Semantics]string{policy.Strict: tc.strict, policy.Calico: tc.calico} {
				var out bytes.Buffer
				if err := offline.SelectorLines(strings.NewReader(tc.line+"\n"+`{"selector":"all()"}`), &out, sem); err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				if len(lines) != 2 || !strings.Contains(lines[0], want) || !strings.Contains(lines[1], `"valid":true`) {
					t.Errorf("%s: got %s, want %s", sem, lines, want)
				}
			}
		})
	}
}
