package nodeapi_test

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/nodeapi"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
)

// kernel does what the rules say, or the contrary.
type kernel struct {
	rules  *ruleset.Ruleset
	rebels bool
	broken string
}

func (k *kernel) Explain(_ context.Context, f ruleset.Flow) (enforce.Explanation, error) {
	e := enforce.Explanation{
		Source: enforce.Party{Address: f.Source}, Target: enforce.Party{Address: f.Destination}, KernelError: k.broken, Revision: k.rules.Revision,
	}
	e.WantedEgress, e.WantedIngress = k.rules.Eval(f)
	if k.broken != "" {
		return e, nil
	}
	for _, x := range []struct {
		to   *enforce.KernelDecision
		rule *ruleset.Rule
		from ruleset.Decision
	}{{&e.Egress, &e.EgressRule, e.WantedEgress}, {&e.Ingress, &e.IngressRule, e.WantedIngress}} {
		*x.to = enforce.KernelDecision{Applies: x.from.Applies, Allow: x.from.Allow != k.rebels, Rule: x.from.ID}
		*x.rule = x.from.Rule
	}
	e.Agree = !k.rebels
	return e, nil
}

func snapshot(t *testing.T) *policy.Snapshot {
	t.Helper()
	var all []policy.Resource
	for kind, texts := range map[[2]string][]string{
		{"v1", "Namespace"}: {`{"metadata":{"name":"prod"}}`},
		{"v1", "Pod"}: {
			`{"metadata":{"name":"web","namespace":"prod"},"spec":{"nodeName":"node","serviceAccountName":"web"},"status":{"podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}}`,
			`{"metadata":{"name":"db","namespace":"prod","labels":{"app":"db"}},"spec":{"nodeName":"node","serviceAccountName":"db"},"status":{"podIPs":[{"ip":"10.0.0.2"}]}}`,
			`{"metadata":{"name":"far","namespace":"prod"},"spec":{"nodeName":"other"},"status":{"podIPs":[{"ip":"fd00::9"}]}}`,
		},
		{"projectcalico.org/v3", "NetworkPolicy"}: {
			`{"metadata":{"name":"db","namespace":"prod"},"spec":{"selector":"app == 'db'","ingress":[{"action":"Allow","protocol":"TCP","source":{"serviceAccounts":{"names":["web"]}},"destination":{"ports":[5432]}}]}}`,
		},
	} {
		for _, text := range texts {
			o, err := policy.DecodeAs(kind[0], kind[1], []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			r, problems := policy.Parse(o, policy.Strict)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			all = append(all, r)
		}
	}
	return policy.NewSnapshot(4, policy.Strict, all)
}

// serve runs a server for the length of a test.
func serve(t *testing.T, k *kernel, s *policy.Snapshot) (*nodeapi.Client, string) {
	t.Helper()
	if s != nil {
		k.rules, _ = compile.Compile(s, "node")
	}
	socket := filepath.Join(t.TempDir(), "run", "agent.sock")
	server := &nodeapi.Server{
		Socket: socket, Explainer: k, Snapshot: func() *policy.Snapshot { return s },
		Status: func() nodeapi.Status {
			return nodeapi.Status{Node: "node", Version: "dev", Enforcement: enforce.Status{State: enforce.Stale, Message: "pods not heard of"}, WhyNotReady: "Stale"}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := nodeapi.NewClient(socket)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := c.Status(t.Context()); err == nil {
			return c, socket
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestExplain(t *testing.T) {
	cases := map[string]struct {
		question nodeapi.Question
		kernel   kernel
		verdict  string
		says     []string // in what people are told
	}{
		"allowed by a rule": {
			question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 5432}, verdict: "Allow",
			says: []string{"NetworkPolicy prod/db, rule 0: Allow", "ingress, judged on this node"},
		},
		"denied at the end of the tier": {
			question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "tcp", Port: 80}, verdict: "Deny",
			says: []string{"end of tier default: Deny"},
		},
		"by address":                     {question: nodeapi.Question{From: "10.0.0.1", To: "10.0.0.2", Protocol: "6", Port: 5432}, verdict: "Allow", says: []string{"rule 0: Allow"}},
		"from outside":                   {question: nodeapi.Question{From: "192.0.2.1", To: "prod/db", Protocol: "TCP", Port: 5432}, verdict: "Deny", says: []string{"egress, not judged: no pod"}},
		"the other IP version":           {question: nodeapi.Question{From: "prod/web", To: "prod/far", Protocol: "UDP", Port: 53}, verdict: "Allow", says: []string{"fd00::1", "ingress, judged on another node"}},
		"ICMP":                           {question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "ICMP", ICMPType: 8}, verdict: "Deny"},
		"neither end is here":            {question: nodeapi.Question{From: "192.0.2.1", To: "192.0.2.2", Protocol: "TCP", Port: 1}, verdict: "NotJudged"},
		"the kernel does something else": {question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 80}, kernel: kernel{rebels: true}, verdict: "Deny", says: []string{"WARNING  the kernel does not"}},
		"the kernel cannot be asked":     {question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "TCP", Port: 80}, kernel: kernel{broken: "nothing is programmed"}, verdict: "Deny", says: []string{"could not be asked: nothing is programmed"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, &tc.kernel, snapshot(t))
			a, err := c.Explain(t.Context(), tc.question)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := a.Render(&out); err != nil || a.Verdict != tc.verdict {
				t.Errorf("verdict %s, want %s, %v\n%s", a.Verdict, tc.verdict, err, out.String())
			}
			for _, part := range tc.says {
				if !strings.Contains(out.String(), part) {
					t.Errorf("says\n%s\nand not %q", out.String(), part)
				}
			}
		})
	}
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	c, _ := serve(t, &kernel{}, snapshot(t))
	for name, tc := range map[string]struct {
		question nodeapi.Question
		want     string
	}{
		"no such pod":             {question: nodeapi.Question{From: "prod/none", To: "prod/db", Protocol: "TCP", Port: 1}, want: "no such pod"},
		"neither pod nor addr":    {question: nodeapi.Question{From: "web", To: "prod/db", Protocol: "TCP", Port: 1}, want: "namespace/pod"},
		"no protocol":             {question: nodeapi.Question{From: "prod/web", To: "prod/db", Port: 1}, want: "protocol"},
		"a protocol of 256":       {question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "256", Port: 1}, want: "protocol"},
		"no port":                 {question: nodeapi.Question{From: "prod/web", To: "prod/db", Protocol: "TCP"}, want: "port"},
		"no IP version in common": {question: nodeapi.Question{From: "prod/db", To: "prod/far", Protocol: "TCP", Port: 1}, want: "IP version"},
	} {
		if a, err := c.Explain(t.Context(), tc.question); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	unread, _ := serve(t, &kernel{}, nil)
	if _, err := unread.Explain(t.Context(), nodeapi.Question{}); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("before everything is read: %v", err)
	}
}

func TestSocketIsItsOwnersAlone(t *testing.T) {
	_, socket := serve(t, &kernel{}, snapshot(t))
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestStatusForPeople(t *testing.T) {
	c, _ := serve(t, &kernel{}, snapshot(t))
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Enforcement.Addresses, s.Enforcement.AppliedAt = 7, time.Unix(100, 0)
	s.Problems, s.Remarks = []string{"NetworkPolicy prod/x: bad"}, []string{"strange"}
	s.Sources = []nodeapi.Source{{Name: "pods", State: "read", AgeSeconds: 3}}
	var out bytes.Buffer
	if err := s.Render(&out, time.Unix(160, 0)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Stale", "pods not heard of", "7 addresses", "1m0s ago", "NetworkPolicy prod/x: bad", "strange", "SOURCE"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("says\n%s\nand not %q", out.String(), part)
		}
	}
}

// FuzzQuestion: whatever is asked, nothing panics.
func FuzzQuestion(f *testing.F) {
	f.Add("prod/web", "10.0.0.2", "TCP", uint16(80))
	f.Add("/", "::ffff:1.2.3.4%eth0", "icmp", uint16(0))
	f.Fuzz(func(t *testing.T, from, to, protocol string, port uint16) {
		s := snapshot(t)
		rules, _ := compile.Compile(s, "node")
		server := &nodeapi.Server{Explainer: &kernel{rules: rules}, Snapshot: func() *policy.Snapshot { return s }}
		a, err := server.Answer(t.Context(), nodeapi.Question{From: from, To: to, Protocol: protocol, Port: port})
		if _, parseErr := netip.ParseAddr(from); err == nil && parseErr != nil && !strings.Contains(from, "/") {
			t.Errorf("%q was answered: %+v", from, a)
		}
	})
}
