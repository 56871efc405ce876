package offline_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

func authzConfig(t testing.TB) *authz.Config {
	t.Helper()
	c, err := authz.NewConfig(authz.ConfigOptions{TrustDomains: []string{"cluster.local"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func checks(t testing.TB, sem policy.Semantics, in string) (lines []string, notes string) {
	t.Helper()
	var out, noted bytes.Buffer
	if err := offline.AuthzLines(strings.NewReader(in), &out, &noted, sem, authzConfig(t)); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), noted.String()
}

func authzScenario(name, checks string) string {
	account := `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"web","namespace":"prod"}}`
	return strings.ReplaceAll(`{"name":"`+name+`","objects":[`+account+`,`+objects+`],"checks":[`+checks+`]}`, "\n", " ")
}

const honest = `{"server":"prod/db","request":{"source":{"address":"10.0.0.1","port":1,"principal":"spiffe://cluster.local/ns/prod/sa/web"},"destination":{"address":"10.0.0.2","port":80},"http":{"method":"GET","path":"/","host":"db"}}}`

func TestAuthzLines(t *testing.T) {
	cases := map[string]struct{ line, strict, calico string }{
		"honest": {
			line:   authzScenario("s", honest),
			strict: `{"name":"s","checks":[{"decision":"OK","reason":"policy-rule"}]}`,
		},
		"answers in the order of checks": {
			line:   authzScenario("s", honest+","+strings.Replace(honest, "10.0.0.1", "192.0.2.1", 1)+","+honest),
			strict: `{"name":"s","checks":[{"decision":"OK","reason":"policy-rule"},{"decision":"PERMISSION_DENIED","reason":"unknown-address"},{"decision":"OK","reason":"policy-rule"}]}`,
			calico: `{"name":"s","checks":[{"decision":"OK","reason":"policy-rule"},{"decision":"PERMISSION_DENIED","reason":"end-of-tier"},{"decision":"OK","reason":"policy-rule"}]}`,
		},
		"no certificate": {
			line:   authzScenario("s", strings.Replace(honest, `,"principal":"spiffe://cluster.local/ns/prod/sa/web"`, "", 1)),
			strict: `{"name":"s","checks":[{"decision":"PERMISSION_DENIED","reason":"missing-identity"}]}`,
			calico: `{"name":"s","checks":[{"decision":"OK","reason":"policy-rule"}]}`,
		},
		"no checks":               {line: authzScenario("s", ""), strict: `{"name":"s","checks":[]}`},
		"a pod that has finished": {line: authzScenario("s", strings.Replace(honest, "prod/db", "prod/done", 1)), strict: `{"name":"s","error":"checks[0].server: Invalid value: \"prod/done\": the pod is finished"}`},
		"no such pod":             {line: authzScenario("s", strings.Replace(honest, "prod/db", "prod/x", 1)), strict: `{"name":"s","error":"checks[0].server: Not found: \"prod/x\""}`},
		"not a pod":               {line: authzScenario("s", strings.Replace(honest, "prod/db", "db", 1)), strict: `{"name":"s","error":"checks[0].server: Invalid value: \"db\"`},
		"no server":               {line: authzScenario("s", strings.Replace(honest, "prod/db", "", 1)), strict: `{"name":"s","error":"checks[0].server: Required value`},
		"no request":              {line: authzScenario("s", `{"server":"prod/db"}`), strict: `{"name":"s","error":"checks[0].request: Required value`},
		"every error at once":     {line: authzScenario("s", `{"server":"prod/db"},{"server":"prod/x","request":{}}`), strict: `checks[1].server: Not found`},
		"a check of a wrong type": {line: authzScenario("s", `7`), strict: `{"name":"s","error":"checks[0]: json`},
		"an object of no kind":    {line: `{"name":"s","objects":[7]}`, strict: `{"name":"s","error":"objects[0]`},
		"not JSON":                {line: `{`, strict: `{"name":"","error":"read line 1`},
		"a name of a wrong type":  {line: `{"name":7}`, strict: `{"name":"","error":"read line 1`},
		"a wrong type elsewhere":  {line: `{"name":"s","checks":7}`, strict: `{"name":"s","error":"read line 1`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.calico == "" {
				tc.calico = tc.strict
			}
			for sem, want := range map[policy.Semantics]string{policy.Strict: tc.strict, policy.Calico: tc.calico} {
				lines, _ := checks(t, sem, tc.line+"\n"+authzScenario("next", honest))
				if len(lines) != 2 || !strings.Contains(lines[0], want) || !strings.Contains(lines[1], `{"name":"next","checks":[{"decision":"OK"`) {
					t.Errorf("%s: got %s, want %s", sem, lines, want)
				}
			}
		})
	}
}

func TestAuthzLinesAgreeWithCalicoOnTheCorpus(t *testing.T) {
	packed, err := os.Open(filepath.Join("..", "..", "authz", "testdata", "authz.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	if _, err := in.ReadFrom(unpacked); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Name   string
		Error  string
		Checks []struct{ Decision string }
	}
	asked := strings.Split(strings.TrimSpace(in.String()), "\n")
	answered, _ := checks(t, policy.Calico, in.String())
	if len(asked) != len(answered) || len(asked) < 100 {
		t.Fatalf("%d lines answered of %d", len(answered), len(asked))
	}
	for i := range asked {
		var want, got line
		if err := json.Unmarshal([]byte(asked[i]), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(answered[i]), &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != want.Name || got.Error != "" || len(got.Checks) != len(want.Checks) {
			t.Fatalf("%s: got %s", want.Name, answered[i])
		}
		for n := range want.Checks {
			if got.Checks[n] != want.Checks[n] {
				t.Errorf("%s check %d: got %v, want %v", want.Name, n, got.Checks[n], want.Checks[n])
			}
		}
	}
}

func FuzzAuthzLines(f *testing.F) {
	f.Add(authzScenario("s", honest))
	f.Add(`{"name":"s","checks":[{"server":"a/b","request":{"http":null}}]}`)
	f.Add("{}\n\n[]\nnull\n7")
	f.Fuzz(func(t *testing.T, in string) {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			lines, _ := checks(t, sem, in)
			for _, line := range lines {
				if line != "" && !json.Valid([]byte(line)) {
					t.Errorf("%q is answered by %q", in, line)
				}
			}
		}
	})
}
