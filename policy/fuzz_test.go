package policy_test

import (
	"errors"
	"testing"

	"github.com/saguard/saguard/policy"
)

// FuzzParse: nothing panics, what parses without a problem is the same in both semantics but for the sets' reading, and
// strict semantics never lose a policy.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"apiVersion":"projectcalico.org/v3","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"a"},"spec":{"selector":"a == 'b'","types":["Ingress"],"ingress":[{"action":"Pass","protocol":"TCP","source":{"serviceAccounts":{"names":["x"],"selector":"has(y)"},"notSelector":"z in {'q'}"},"destination":{"ports":[80,"1:2","http"],"notNets":["10.0.0.0/8"]}}]}}`,
		`{"apiVersion":"crd.projectcalico.org/v1","kind":"GlobalNetworkPolicy","metadata":{"name":"default.p"},"spec":{"order":-1.5,"namespaceSelector":"all()","serviceAccountSelector":"all(","egress":[{"action":"Deny","icmp":{"type":8,"code":0},"protocol":1},{"action":"Allow","bogus":1}]}}`,
		`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","namespace":"a"},"spec":{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Egress"],"egress":[{"to":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["10.0.0.0/8"]}},{"namespaceSelector":{}}],"ports":[{"port":80,"endPort":90},{"port":"http","protocol":"UDP"}]}]}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"a","labels":{"pcsa.x":"y"}},"spec":{"nodeName":"n","containers":[{"name":"c","ports":[{"containerPort":80,"name":"http"}]}]},"status":{"phase":"Running","podIPs":[{"ip":"10.0.0.1"},{"ip":"::1%eth0"}]}}`,
		`{"apiVersion":"projectcalico.org/v3","kind":"NetworkSet","metadata":{"name":"s","namespace":"a"},"spec":{"nets":["10.0.0.0/8","x","::ffff:1.2.3.4"]}}`,
		`{"apiVersion":"crd.projectcalico.org/v1","kind":"GlobalNetworkSet","metadata":{"name":"s","annotations":{"projectcalico.org/metadata":"{"}},"spec":{"nets":["::/0"]}}`,
		`{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"t"},"spec":{"defaultAction":"Log"}}`,
		`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"t"}}`,
		`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"t"}}`,
		`{"apiVersion":"v1","kind":"PodList","items":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := policy.Decode(raw)
		if err != nil {
			if errors.Is(err, policy.ErrUnknownKind) && o.Value != nil {
				t.Error("an unknown kind has a value")
			}
			return
		}
		calico, calicoProblems := policy.Parse(o, policy.Calico)
		strict, strictProblems := policy.Parse(o, policy.Strict)
		if calico != nil && strict == nil {
			if _, pod := calico.(*policy.Workload); !pod {
				t.Errorf("strict semantics lose %s", calico.Ref())
			}
		}
		if len(strictProblems) == 0 && len(calicoProblems) > 0 {
			t.Errorf("strict semantics lose problems: %v", calicoProblems)
		}
		if p, ok := strict.(*policy.Policy); ok {
			if p.Selector == nil || len(p.Rules(policy.Ingress))+len(p.Rules(policy.Egress)) > 0 && !p.AppliesIngress && !p.AppliesEgress {
				t.Errorf("%+v does not apply to anything", p)
			}
			if c, ok := calico.(*policy.Policy); ok && len(strictProblems) == 0 && c.Selector.String() != p.Selector.String() {
				t.Errorf("without problems, %s and %s differ", c.Selector, p.Selector)
			}
		}
		s := policy.NewSnapshot(1, policy.Strict, []policy.Resource{strict})
		_ = s.String()
	})
}
