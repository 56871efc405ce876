package offline_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/offline"
	"github.com/saguard/saguard/policy"
)

// objects: prod/web and prod/db, of which db lets web alone in, and a pod that has finished.
const objects = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"prod"}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"prod"},"spec":{"nodeName":"a","serviceAccountName":"web"},"status":{"podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"db","namespace":"prod"},"spec":{"nodeName":"a","serviceAccountName":"db"},"status":{"podIPs":[{"ip":"10.0.0.2"}]}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"six","namespace":"prod"},"spec":{"nodeName":"a","serviceAccountName":"six"},"status":{"podIPs":[{"ip":"fd00::6"}]}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"done","namespace":"prod"},"spec":{"nodeName":"a"},"status":{"phase":"Succeeded","podIPs":[{"ip":"10.0.0.3"}]}},
 {"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"prod"},"spec":{"selector":"projectcalico.org/serviceaccount == 'db'","ingress":[{"action":"Log"},{"action":"Allow","protocol":"TCP","source":{"serviceAccounts":{"names":["web"]}}}]}}`

func stream(t testing.TB, sem policy.Semantics, in string) (lines []string, notes string) {
	t.Helper()
	var out, noted bytes.Buffer
	if err := offline.VerdictLines(strings.NewReader(in), &out, &noted, sem); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), noted.String()
}

func scenario(name, objects, flows string) string {
	return strings.ReplaceAll(`{"name":"`+name+`","objects":[`+objects+`],"flows":[`+flows+`]}`, "\n", " ")
}

func TestAnswersHaveTheFieldsOfTheFlowAndFiveMore(t *testing.T) {
	cases := map[string]struct{ flow, want string }{
		"pod to pod": {
			flow: `{"port":80,"to":"prod/db","from":"prod/web","protocol":"TCP","sourcePort":40000}`,
			want: `{"from":"prod/web","to":"prod/db","protocol":"TCP","port":80,"sourcePort":40000,"egress":"Allow","ingress":"Allow","verdict":"Allow","egressBy":{"tier":"","policy":"","rule":0},"ingressBy":{"tier":"default","policy":"prod/p","rule":1}}`,
		},
		"an address as source": {
			flow: `{"from":"192.0.2.1","to":"prod/db","ipVersion":4,"protocol":"tcp","port":80}`,
			want: `{"from":"192.0.2.1","to":"prod/db","ipVersion":4,"protocol":"tcp","port":80,"egress":"","ingress":"Deny","verdict":"Deny","egressBy":null,"ingressBy":{"tier":"default","policy":"prod/p","rule":-1}}`,
		},
		"an address as destination, ICMP by number": {
			flow: `{"from":"prod/db","to":"192.0.2.1","protocol":1,"icmpType":8,"icmpCode":0}`,
			want: `{"from":"prod/db","to":"192.0.2.1","protocol":1,"icmpType":8,"icmpCode":0,"egress":"Allow","ingress":"","verdict":"Allow","egressBy":{"tier":"","policy":"","rule":0},"ingressBy":null}`,
		},
		"an old verdict is replaced, an unknown field kept": {
			flow: `{"id":7,"from":"192.0.2.1","to":"192.0.2.2","protocol":"UDP","port":53,"verdict":"Deny","egress":"Deny","ingress":"x","egressBy":1}`,
			want: `{"from":"192.0.2.1","to":"192.0.2.2","protocol":"UDP","port":53,"id":7,"egress":"","ingress":"","verdict":"Allow","egressBy":null,"ingressBy":null}`,
		},
		"IPv6 because of a literal": {
			flow: `{"from":"2001:db8::1","to":"prod/web","protocol":"SCTP","port":1}`,
			want: `{"from":"2001:db8::1","to":"prod/web","protocol":"SCTP","port":1,"egress":"","ingress":"Allow","verdict":"Allow","egressBy":null,"ingressBy":{"tier":"","policy":"","rule":0}}`,
		},
		"IPv6 because a pod has nothing else": {
			flow: `{"from":"prod/web","to":"prod/six","protocol":"TCP","port":1}`,
			want: `{"from":"prod/web","to":"prod/six","protocol":"TCP","port":1,"egress":"Allow","ingress":"Allow","verdict":"Allow","egressBy":{"tier":"","policy":"","rule":0},"ingressBy":{"tier":"","policy":"","rule":0}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lines, notes := stream(t, policy.Strict, scenario("s", objects, tc.flow))
			if want := `{"name":"s","flows":[` + tc.want + `]}`; len(lines) != 1 || lines[0] != want || notes != "" {
				t.Errorf("got\n%s\nwant\n%s\nnotes %q", lines, want, notes)
			}
		})
	}
}

func TestAScenarioThatCannotBeReadDoesNotEndTheStream(t *testing.T) {
	good := scenario("good", objects, `{"from":"prod/web","to":"prod/db","protocol":"TCP","port":80}`)
	flow := func(text string) string { return scenario("bad", objects, text) }
	cases := map[string]struct {
		line, name string
		errors     []string
	}{
		"not JSON":                   {line: `{"name":"bad",`, errors: []string{"line 2"}},
		"not an object":              {line: `[1]`, errors: []string{"line 2"}},
		"objects that are no list":   {line: `{"name":"bad","objects":1}`, name: "bad", errors: []string{"objects"}},
		"a name that is no string":   {line: `{"name":1}`, errors: []string{"name"}},
		"two objects at once":        {line: `{"name":"bad","objects":[{"apiVersion":"v1","kind":"Pod","metadata":{}},{"kind":"Pod"}]}`, name: "bad", errors: []string{"objects[0]", "metadata.name", "objects[1]", "apiVersion"}},
		"an object of a wrong type":  {line: `{"name":"bad","objects":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"nodeName":1}}]}`, name: "bad", errors: []string{"objects[0]", "nodeName"}},
		"the same object twice":      {line: scenario("bad", objects+","+objects, ""), name: "bad", errors: []string{"objects[6]", "prod", "objects[0]"}},
		"a pod that does not exist":  {line: flow(`{"from":"prod/nobody","to":"prod/db","protocol":"TCP","port":80}`), name: "bad", errors: []string{"flows[0].from", "Not found", "prod/nobody"}},
		"a pod that has finished":    {line: flow(`{"from":"prod/web","to":"prod/done","protocol":"TCP","port":80}`), name: "bad", errors: []string{"flows[0].to", "is finished"}},
		"no pod and no address":      {line: flow(`{"from":"web","to":"a/b/c","protocol":"TCP","port":80}`), name: "bad", errors: []string{"flows[0].from", "flows[0].to"}},
		"addresses of two versions":  {line: flow(`{"from":"2001:db8::1","to":"10.0.0.9","protocol":"TCP","port":80}`), name: "bad", errors: []string{"flows[0].to"}},
		"a pod without that version": {line: flow(`{"from":"prod/web","to":"prod/db","ipVersion":6,"protocol":"TCP","port":80}`), name: "bad", errors: []string{"flows[0].to", "IPv6"}},
		"every error of every flow":  {line: flow(`{"from":"prod/web","to":"prod/db"},{"protocol":"X","port":-1,"ipVersion":5}`), name: "bad", errors: []string{"flows[0].protocol", "flows[1].from", "flows[1].to", "flows[1].protocol", "flows[1].ipVersion"}},
		"no port":                    {line: flow(`{"from":"prod/web","to":"prod/db","protocol":"TCP"}`), name: "bad", errors: []string{"flows[0].port", "Required"}},
		"a port that is none":        {line: flow(`{"from":"prod/web","to":"prod/db","protocol":"TCP","port":65536,"sourcePort":"1"}`), name: "bad", errors: []string{"flows[0].port", "flows[0].sourcePort"}},
		"an ICMP type that is none":  {line: flow(`{"from":"prod/web","to":"prod/db","protocol":"ICMP","icmpType":256}`), name: "bad", errors: []string{"flows[0].icmpType"}},
		"a flow that is no object":   {line: flow(`null`), name: "bad", errors: []string{"flows[0]"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lines, _ := stream(t, policy.Strict, good+"\n"+tc.line+"\n\n \n"+good)
			if len(lines) != 3 || lines[0] != lines[2] || !strings.Contains(lines[0], `"verdict":"Allow"`) {
				t.Fatalf("got %d lines, want the good scenario before and after:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			var got map[string]string
			if err := json.Unmarshal([]byte(lines[1]), &got); err != nil || len(got) != 2 || got["name"] != tc.name {
				t.Fatalf("got %s, want name %q and error", lines[1], tc.name)
			}
			for _, want := range tc.errors {
				if !strings.Contains(got["error"], want) {
					t.Errorf("the error %q does not contain %q", got["error"], want)
				}
			}
		})
	}
}

func TestProblemsAndIgnoredKindsAreNoted(t *testing.T) {
	extra := `,{"apiVersion":"v1","kind":"Service","metadata":{"name":"x"}},{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"g"},"spec":{"selector":"a =="}}`
	lines, notes := stream(t, policy.Strict, scenario("s", objects+extra, `{"from":"prod/web","to":"prod/db","protocol":"TCP","port":80}`))
	if !strings.Contains(lines[0], `"ingressBy":{"tier":"default","policy":"g","rule":0}`) {
		t.Errorf("got %s, want the broken policy to deny", lines[0])
	}
	for _, want := range []string{"s: problem: GlobalNetworkPolicy g: spec.selector", "s: ignored: 1 of v1 Service"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q lack %q", notes, want)
		}
	}
}

// The whole corpus through the stream, as others drive it.
func TestStreamAgreesWithCalicoOnTheCorpus(t *testing.T) {
	for _, file := range []string{"verdicts.jsonl.gz", "verdicts-ext.jsonl.gz"} {
		zipped, err := os.ReadFile(filepath.Join("..", "..", "policy", "eval", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		in, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		lines, _ := stream(t, policy.Calico, string(text))
		wants := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(wants) {
			t.Fatalf("%s: %d answers to %d scenarios", file, len(lines), len(wants))
		}
		for i := range lines {
			type flow struct{ From, To, Egress, Ingress, Verdict string }
			var got, want struct {
				Name  string
				Error string
				Flows []flow
			}
			if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(wants[i]), &want); err != nil {
				t.Fatal(err)
			}
			if got.Name != want.Name || got.Error != "" || !slices.Equal(got.Flows, want.Flows) {
				t.Errorf("%s: got %+v, want %+v", want.Name, got, want)
			}
		}
	}
}
