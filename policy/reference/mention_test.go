package reference_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/saguard/saguard/policy/reference"
)

func TestMentions(t *testing.T) {
	accounts := func(names []string, selector string) *v3.ServiceAccountMatch {
		return &v3.ServiceAccountMatch{Names: names, Selector: selector}
	}
	rule := func(action v3.Action, source v3.EntityRule) []v3.Rule {
		return []v3.Rule{{Action: action, Source: source}}
	}
	cases := map[string]struct {
		spec v3.NetworkPolicySpec
		want []string
	}{
		"nothing":                              {},
		"names":                                {spec: v3.NetworkPolicySpec{Ingress: rule(v3.Allow, v3.EntityRule{ServiceAccounts: accounts([]string{"a", "b", "a"}, "")})}, want: []string{"service account a in [prod] at spec.ingress[0].source.serviceAccounts.names[0]", "service account b in [prod] at spec.ingress[0].source.serviceAccounts.names[1]"}},
		"of a Deny rule, too":                  {spec: v3.NetworkPolicySpec{Egress: []v3.Rule{{Action: v3.Deny, Destination: v3.EntityRule{ServiceAccounts: accounts([]string{"a"}, "")}}}}, want: []string{"service account a in [prod] at spec.egress[0].destination.serviceAccounts.names[0]"}},
		"labels and keys":                      {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "role == 'x' || has(team)"}, want: []string{"service accounts labelled role=x in [prod] at spec.serviceAccountSelector", "service accounts that have label team in [prod] at spec.serviceAccountSelector"}},
		"both sides of a conjunction":          {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "role == 'x' && team == 'y'"}, want: []string{"service accounts labelled role=x in [prod] at spec.serviceAccountSelector", "service accounts labelled team=y in [prod] at spec.serviceAccountSelector"}},
		"by a plain selector":                  {spec: v3.NetworkPolicySpec{Selector: "pcsa.role == 'x' && app == 'y'"}, want: []string{"service accounts labelled role=x in [prod] at spec.selector"}},
		"of namespaces by name":                {spec: v3.NetworkPolicySpec{Ingress: rule(v3.Allow, v3.EntityRule{NamespaceSelector: "projectcalico.org/name in {'b','a'}", ServiceAccounts: accounts([]string{"x"}, "")})}, want: []string{"service account x in [a b] at spec.ingress[0].source.serviceAccounts.names[0]"}},
		"of any namespace":                     {spec: v3.NetworkPolicySpec{Ingress: rule(v3.Allow, v3.EntityRule{NamespaceSelector: "env == 'x'", ServiceAccounts: accounts([]string{"x"}, "")})}, want: []string{"service account x in [] at spec.ingress[0].source.serviceAccounts.names[0]"}},
		"what is excluded is none":             {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "has(role) && role != 'x'", Ingress: rule(v3.Allow, v3.EntityRule{NotSelector: "pcsa.role == 'z'"})}, want: []string{"service accounts that have label role in [prod] at spec.serviceAccountSelector"}},
		"what does not parse is none":          {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "role =="}},
		"an injection is none":                 {spec: v3.NetworkPolicySpec{Ingress: rule(v3.Allow, v3.EntityRule{ServiceAccounts: accounts([]string{"a' } || all()"}, "")})}},
		"everybody is nobody in particular":    {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "all()"}},
		"a label of pods is none":              {spec: v3.NetworkPolicySpec{Selector: "role == 'x'"}},
		"the name of an account in a selector": {spec: v3.NetworkPolicySpec{ServiceAccountSelector: "projectcalico.org/name == 'web'"}, want: []string{"service account web in [prod] at spec.serviceAccountSelector"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, m := range reference.Mentions(reference.Read(&v3.NetworkPolicy{Spec: tc.spec}, "prod"), 100) {
				got = append(got, fmt.Sprintf("%s in %v at %s", m.Grant, m.Namespaces, m.Field))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("a%d", i))
	}
	var rules []v3.Rule
	for i := range 500 {
		rules = append(rules, v3.Rule{Action: v3.Allow, Source: v3.EntityRule{ServiceAccounts: accounts(names[i:i+1], "")}})
	}
	if n := len(reference.Mentions(reference.Read(&v3.NetworkPolicy{Spec: v3.NetworkPolicySpec{Ingress: rules}}, "prod"), 10)); n != 10 {
		t.Errorf("%d mentions of a long policy, want 10", n)
	}
	if reference.Mentions(reference.Read(nil, "prod"), 10) != nil || reference.Mentions(nil, 10) != nil {
		t.Error("a policy that cannot be read mentions something")
	}
}
