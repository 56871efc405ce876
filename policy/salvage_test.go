package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
)

func TestWhatCannotBeDecodedDeniesInItsPlace(t *testing.T) {
	const v3 = "projectcalico.org/v3"
	cases := map[string]struct {
		apiVersion, kind, raw string
		unparsed              []int  // ingress rules that deny for want of being read
		rules                 int    // ingress rules in all
		err                   string // "" = salvaged
	}{
		"a port range that is reversed breaks its rule": {
			apiVersion: v3, kind: "NetworkPolicy", rules: 2, unparsed: []int{1},
			raw: `{"metadata":{"name":"p","namespace":"a"},"spec":{"selector":"x == 'y'","types":["Ingress"],"ingress":[{"action":"Allow"},{"action":"Allow","protocol":"TCP","destination":{"ports":["80:70"]}}]}}`,
		},
		"a port that is too large breaks its rule": {
			apiVersion: "crd.projectcalico.org/v1", kind: "GlobalNetworkPolicy", rules: 1, unparsed: []int{0},
			raw: `{"metadata":{"name":"default.p"},"spec":{"types":["Ingress"],"ingress":[{"action":"Allow","protocol":"TCP","destination":{"ports":[70000]}}]}}`,
		},
		"a Kubernetes rule that is a string": {
			apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", rules: 1, unparsed: []int{0},
			raw: `{"metadata":{"name":"p","namespace":"a"},"spec":{"podSelector":{},"ingress":["x"]}}`,
		},
		"a selector that is a number breaks the policy": {
			apiVersion: v3, kind: "NetworkPolicy", rules: 1, unparsed: []int{0},
			raw: `{"metadata":{"name":"p","namespace":"a"},"spec":{"selector":7,"types":["Ingress"],"ingress":[{"action":"Allow"},{"action":"Allow"}]}}`,
		},
		"what decodes is left alone": {
			apiVersion: v3, kind: "NetworkPolicy", rules: 1,
			raw: `{"metadata":{"name":"p","namespace":"a"},"spec":{"types":["Ingress"],"ingress":[{"action":"Allow"}]}}`,
		},
		"a tier is not guessed at":          {apiVersion: v3, kind: "Tier", raw: `{"metadata":{"name":"t"},"spec":{"order":"x"}}`, err: "Tier"},
		"metadata that cannot be read":      {apiVersion: v3, kind: "NetworkPolicy", raw: `{"metadata":7,"spec":{"order":"x"}}`, err: "decode"},
		"no object at all":                  {apiVersion: v3, kind: "NetworkPolicy", raw: `[]`, err: "decode"},
		"a kind that policy does not speak": {apiVersion: "v1", kind: "Secret", raw: `{}`, err: "not a kind"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o, err := policy.Salvage(tc.apiVersion, tc.kind, []byte(tc.raw))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%+v, %v, want an error about %q", o, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, problems := policy.Parse(o, policy.Strict)
			p, ok := r.(*policy.Policy)
			if !ok || len(p.Ingress) != tc.rules {
				t.Fatalf("%+v, %v", r, problems)
			}
			for i, rule := range p.Ingress {
				want := len(tc.unparsed) > 0 && tc.unparsed[0] == i
				if want {
					tc.unparsed = tc.unparsed[1:]
				}
				if rule.Unparsed != want || want && rule.Action != policy.ActionDeny {
					t.Errorf("rule %d is %+v", i, rule)
				}
			}
			if len(tc.unparsed) > 0 || o.Unknown != nil && len(problems) == 0 {
				t.Errorf("not denied: %v, problems %v", tc.unparsed, problems)
			}
		})
	}
}

func TestUnreadableNetsHoldEveryAddressForDeny(t *testing.T) {
	o, err := policy.Salvage("projectcalico.org/v3", "GlobalNetworkSet", []byte(`{"metadata":{"name":"s"},"spec":{"nets":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, problems := policy.Parse(o, policy.Strict)
	if n, ok := r.(*policy.NetworkSet); !ok || !n.Unparsed || len(problems) == 0 {
		t.Errorf("%+v, %v", r, problems)
	}
}

// FuzzSalvage: nothing panics, and what decodes is salvaged as itself.
func FuzzSalvage(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"p","namespace":"a"},"spec":{"ingress":[{"destination":{"ports":["2:1"]}},{}],"egress":7,"order":"x"}}`))
	f.Add([]byte(`{"metadata":{"name":"p"},"spec":{"nets":[1],"selector":{}}}`))
	f.Add([]byte(`{"spec":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, kind := range []string{"NetworkPolicy", "GlobalNetworkSet", "Tier"} {
			whole, decodeErr := policy.DecodeAs("projectcalico.org/v3", kind, raw)
			o, err := policy.Salvage("projectcalico.org/v3", kind, raw)
			if err != nil {
				if decodeErr == nil {
					t.Errorf("%s decodes and is not salvaged: %v", kind, err)
				}
				continue
			}
			if decodeErr == nil {
				a, aErr := json.Marshal(whole.Value)
				b, bErr := json.Marshal(o.Value)
				if aErr != nil || bErr != nil || string(a) != string(b) {
					t.Errorf("%s: %s became %s", kind, a, b)
				}
			} else if len(o.Unknown) == 0 && kind != "GlobalNetworkSet" {
				t.Errorf("%s: what cannot be decoded is not listed", kind)
			}
			policy.Parse(o, policy.Strict)
		}
	})
}
