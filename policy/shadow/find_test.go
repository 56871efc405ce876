package shadow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/shadow"
)

func np(name, spec string) string {
	return fmt.Sprintf("{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: %q, namespace: prod}, spec: {%s}}", name, spec)
}

func gnp(name, spec string) string {
	return fmt.Sprintf("{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: %q}, spec: {%s}}", name, spec)
}

func knownTiers() decision.Fact[shadow.Tiers] {
	return decision.Known(shadow.Tiers{
		"security": {Name: "security", Order: 100},
		"open":     {Name: "open", Order: 200, DefaultAction: policy.ActionPass},
		"default":  {Name: "default", Order: policy.DefaultTierOrder},
		"late":     {Name: "late", Order: 2_000_000},
	})
}

// others sorts policies as memory does.
func others(t testing.TB, tiers decision.Fact[shadow.Tiers], texts ...string) shadow.Others {
	t.Helper()
	out := shadow.Others{Tiers: tiers}
	for _, text := range texts {
		p := shadow.New(decode(t, text))
		switch {
		case p == nil:
		case p.ID.Namespace == "":
			out.Global = append(out.Global, p)
		default:
			out.Own = append(out.Own, p)
		}
	}
	return out
}

func said(found []shadow.Finding) string {
	var parts []string
	for _, f := range found {
		parts = append(parts, fmt.Sprintf("%s by %s", f.Direction, f.By.Name()))
	}
	return strings.Join(parts, ", ")
}

func TestFind(t *testing.T) {
	const intern = "serviceAccountSelector: role == 'intern'"
	mine := np("mine", "order: 1500, "+intern+", ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}}}]")
	denyInterns := gnp("security.deny-intern", "tier: security, order: 10, serviceAccountSelector: role == 'intern', types: [Ingress, Egress], ingress: [{action: Deny}], egress: [{action: Deny}]")
	cases := map[string]struct {
		policy string
		others []string
		tiers  decision.Fact[shadow.Tiers]
		want   string
	}{
		"nothing else":                            {policy: mine},
		"a deny in an earlier tier":               {policy: mine, others: []string{denyInterns}, want: "Ingress by security/deny-intern"},
		"tiers that are not known":                {policy: mine, others: []string{denyInterns}, tiers: decision.Unknown[shadow.Tiers]("not read")},
		"a tier that is not there":                {policy: mine, others: []string{denyInterns}, tiers: decision.Known(shadow.Tiers{})},
		"a deny in a later tier":                  {policy: mine, others: []string{strings.ReplaceAll(denyInterns, "security", "late")}},
		"both directions":                         {policy: np("mine", intern+", types: [Ingress, Egress], ingress: [{action: Allow}], egress: [{action: Allow}]"), others: []string{denyInterns}, want: "Ingress by security/deny-intern, Egress by security/deny-intern"},
		"only the direction that it speaks of":    {policy: mine, others: []string{gnp("security.e", "tier: security, order: 1, "+intern+", egress: [{action: Deny}]")}},
		"another subject":                         {policy: np("mine", "serviceAccountSelector: role == 'developer', ingress: [{action: Allow}]"), others: []string{denyInterns}},
		"a wider subject":                         {policy: np("mine", "ingress: [{action: Allow}]"), others: []string{denyInterns}},
		"a subject that may be of other accounts": {policy: np("mine", "selector: app == 'x', ingress: [{action: Allow}]"), others: []string{denyInterns}},
		"a pass before it in the tier":            {policy: mine, others: []string{denyInterns, gnp("security.early", "tier: security, order: 5, ingress: [{action: Pass, source: {nets: [10.0.0.0/8]}}]")}},
		"a pass at the same order":                {policy: mine, others: []string{denyInterns, gnp("security.a", "tier: security, order: 10, ingress: [{action: Pass}]")}},
		"a pass of egress before it":              {policy: mine, others: []string{denyInterns, gnp("security.early", "tier: security, order: 5, egress: [{action: Pass}]")}, want: "Ingress by security/deny-intern"},
		"a pass after it":                         {policy: mine, others: []string{denyInterns, gnp("security.rest", "tier: security, order: 500, ingress: [{action: Pass}]")}, want: "Ingress by security/deny-intern"},
		"a pass of the namespace's own before it": {policy: mine, others: []string{denyInterns, np("security.early", "tier: security, order: 5, ingress: [{action: Pass}]")}},
		"a policy that cannot be read in the way": {policy: mine, others: []string{denyInterns, gnp("security.bad", "tier: security, order: 500, selector: a ==, ingress: [{action: Deny}]")}},
		"its own pass after the deny":             {policy: mine, others: []string{gnp("security.q", "tier: security, order: 10, "+intern+", ingress: [{action: Deny}, {action: Pass}]")}, want: "Ingress by security/q"},
		"its own pass before the deny":            {policy: mine, others: []string{gnp("security.q", "tier: security, order: 10, "+intern+", ingress: [{action: Pass, source: {nets: [10.0.0.0/8]}}, {action: Deny}]")}},
		"the end of an earlier tier that denies":  {policy: mine, others: []string{gnp("security.q", "tier: security, order: 10, "+intern+", ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]")}, want: "Ingress by security/q"},
		"the end of a tier that passes":           {policy: mine, others: []string{gnp("open.q", "tier: open, order: 10, "+intern+", ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]")}},
		"the end of a tier that some pass":        {policy: mine, others: []string{gnp("security.q", "tier: security, order: 10, "+intern+", ingress: [{action: Allow, source: {nets: [10.0.0.0/8]}}]"), gnp("security.r", "tier: security, order: 20, ingress: [{action: Pass}]")}},

		"an earlier policy of the same tier":  {policy: mine, others: []string{np("first", "order: 10, ingress: [{action: Deny}]")}, tiers: decision.Unknown[shadow.Tiers]("not read"), want: "Ingress by default/prod/first"},
		"the earliest of several":             {policy: mine, others: []string{np("second", "order: 20, ingress: [{action: Deny}]"), np("first", "order: 10, ingress: [{action: Deny}]"), np("third", "order: 30, ingress: [{action: Deny}]")}, want: "Ingress by default/prod/first"},
		"a pass of the same tier skips it":    {policy: mine, others: []string{np("first", "order: 10, ingress: [{action: Pass}]")}, want: "Ingress by default/prod/first"},
		"a log decides nothing":               {policy: mine, others: []string{np("first", "order: 10, ingress: [{action: Log}]")}},
		"a later policy":                      {policy: mine, others: []string{np("later", "order: 2000, ingress: [{action: Deny}]")}},
		"a policy without order":              {policy: mine, others: []string{np("later", "ingress: [{action: Deny}]")}},
		"a tie, which names decide":           {policy: mine, others: []string{np("a", "order: 1500, ingress: [{action: Deny}]")}},
		"itself as it was":                    {policy: mine, others: []string{np("mine", "order: 1, ingress: [{action: Deny}]")}},
		"itself in Calico's store":            {policy: mine, others: []string{strings.Replace(np("default.mine", "order: 1, ingress: [{action: Deny}]"), "projectcalico.org/v3", "crd.projectcalico.org/v1", 1)}},
		"a policy without rules":              {policy: np("mine", "order: 5, types: [Ingress]"), others: []string{np("first", "order: 1, ingress: [{action: Allow}]")}, want: "Ingress by default/prod/first"},
		"a policy without rules, some":        {policy: np("mine", "order: 5, types: [Ingress]"), others: []string{np("first", "order: 1, ingress: [{action: Allow, protocol: TCP}]")}},
		"a policy whose rules are all there":  {policy: mine, others: []string{np("first", "order: 1, ingress: [{action: Allow, source: {serviceAccounts: {names: [api, web]}}}]")}, want: "Ingress by default/prod/first"},
		"a policy of which one rule is left":  {policy: np("mine", "order: 5, ingress: [{action: Allow, protocol: TCP}, {action: Allow, protocol: UDP}]"), others: []string{np("first", "order: 1, ingress: [{action: Allow, protocol: TCP}]")}},
		"doNotTrack is for hosts":             {policy: mine, others: []string{gnp("first", "order: 1, doNotTrack: true, applyOnForward: true, ingress: [{action: Deny}]")}},
		"applyOnForward is for hosts, too":    {policy: gnp("mine", "order: 5, applyOnForward: true, ingress: [{action: Allow}]"), others: []string{gnp("first", "order: 1, ingress: [{action: Deny}]")}},
		"a global policy in the same tier":    {policy: gnp("mine", "order: 5, ingress: [{action: Allow}]"), others: []string{gnp("first", "order: 1, ingress: [{action: Deny}]")}, want: "Ingress by default/first"},
		"a global policy in another tier":     {policy: gnp("mine", "ingress: [{action: Allow}]"), others: []string{gnp("security.q", "tier: security, order: 1, ingress: [{action: Deny}]")}},
		"a policy that cannot be read itself": {policy: np("mine", "order: 5, ingress: [{action: Allow, source: {selector: a ==}}]"), others: []string{np("first", "order: 1, ingress: [{action: Deny}]")}},
		"many rules and a deny of everything": {policy: np("mine", "order: 5, ingress: ["+strings.Repeat("{action: Allow, protocol: TCP},", 100)+"]"), others: []string{np("first", "order: 1, ingress: [{action: Deny}]")}, want: "Ingress by default/prod/first"},
		"many rules and an allow of some":     {policy: np("mine", "order: 5, ingress: ["+strings.Repeat("{action: Allow, protocol: TCP},", 100)+"]"), others: []string{np("first", "order: 1, ingress: [{action: Allow, protocol: TCP}]")}},
		"an empty account match":              {policy: np("mine", "order: 5, ingress: [{action: Allow, source: {serviceAccounts: {}}}]"), others: []string{np("first", "order: 1, ingress: [{action: Deny}]")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tiers := tc.tiers
			if tiers.WhyUnknown() == "not gathered" {
				tiers = knownTiers()
			}
			got := said(shadow.Find(shadow.Candidate(decode(t, tc.policy)), others(t, tiers, tc.others...)))
			if !strings.EqualFold(got, tc.want) {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
	if shadow.Find(nil, shadow.Others{}) != nil || shadow.New(decode(t, "{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: x}}")) != nil {
		t.Error("something is found of nothing")
	}
}

// One rule against another, each in a policy of its own.
func TestRulesThatDecideAllOfAnother(t *testing.T) {
	cases := map[string]struct {
		first, second string
		want          bool
	}{
		"the same":                                   {first: "{action: Allow, protocol: TCP}", second: "{action: Allow, protocol: TCP}", want: true},
		"of all protocols":                           {first: "{action: Deny, source: {nets: [10.0.0.0/8]}}", second: "{action: Allow, protocol: TCP, source: {nets: [10.1.0.0/16]}}", want: true},
		"of another protocol":                        {first: "{action: Deny, protocol: UDP}", second: "{action: Allow, protocol: TCP}"},
		"of all protocols but this":                  {first: "{action: Deny, notProtocol: TCP}", second: "{action: Allow, protocol: TCP}"},
		"of all protocols but another":               {first: "{action: Deny, notProtocol: UDP}", second: "{action: Allow, protocol: TCP}", want: true},
		"of both IP versions":                        {first: "{action: Deny, protocol: TCP}", second: "{action: Allow, protocol: TCP, ipVersion: 6}", want: true},
		"of one IP version":                          {first: "{action: Deny, protocol: TCP, ipVersion: 4}", second: "{action: Allow, protocol: TCP}"},
		"a wider range of ports":                     {first: "{action: Deny, protocol: TCP, destination: {ports: ['1:100']}}", second: "{action: Allow, protocol: TCP, destination: {ports: [80, '90:95']}}", want: true},
		"a port beyond the range":                    {first: "{action: Deny, protocol: TCP, destination: {ports: ['1:100']}}", second: "{action: Allow, protocol: TCP, destination: {ports: [80, 443]}}"},
		"all ports":                                  {first: "{action: Deny, protocol: TCP, destination: {ports: ['1:100']}}", second: "{action: Allow, protocol: TCP}"},
		"a named port":                               {first: "{action: Deny, protocol: TCP, destination: {ports: ['1:65535']}}", second: "{action: Allow, protocol: TCP, destination: {ports: [http]}}"},
		"a net inside":                               {first: "{action: Deny, destination: {nets: [10.0.0.0/8]}}", second: "{action: Allow, destination: {nets: [10.1.0.0/16, 10.9.9.9]}}", want: true},
		"a net outside":                              {first: "{action: Deny, destination: {nets: [10.0.0.0/8]}}", second: "{action: Allow, destination: {nets: [10.1.0.0/16, 11.0.0.0/8]}}"},
		"a wider net":                                {first: "{action: Deny, destination: {nets: [10.1.0.0/16]}}", second: "{action: Allow, destination: {nets: [10.0.0.0/8]}}"},
		"the same excluded nets":                     {first: "{action: Deny, destination: {notNets: [10.1.0.0/16]}}", second: "{action: Allow, destination: {notNets: [10.1.0.0/16]}}", want: true},
		"other excluded nets":                        {first: "{action: Deny, destination: {notNets: [10.1.0.0/16]}}", second: "{action: Allow, destination: {notNets: [10.2.0.0/16]}}"},
		"a label among accounts":                     {first: "{action: Deny, source: {serviceAccounts: {selector: has(role)}}}", second: "{action: Allow, source: {serviceAccounts: {selector: role == 'intern'}}}", want: true},
		"an account among labels":                    {first: "{action: Deny, source: {serviceAccounts: {selector: has(role)}}}", second: "{action: Allow, source: {serviceAccounts: {names: [web]}}}"},
		"anybody among accounts":                     {first: "{action: Deny, source: {serviceAccounts: {selector: has(role)}}}", second: "{action: Allow}"},
		"a deny of whom an allow lets in":            {first: "{action: Allow, source: {selector: a == 'x'}}", second: "{action: Deny, source: {selector: a == 'x'}}"},
		"an allow of whom a deny keeps out":          {first: "{action: Deny, source: {selector: a == 'x'}}", second: "{action: Allow, source: {selector: a == 'x'}}", want: true},
		"a deny of a port that an allow lets in":     {first: "{action: Allow, protocol: TCP, source: {ports: [80]}}", second: "{action: Deny, protocol: TCP, source: {ports: [80]}}"},
		"excluding less":                             {first: "{action: Deny, source: {notSelector: a == 'x' && b == 'y'}}", second: "{action: Allow, source: {notSelector: a == 'x'}}", want: true},
		"excluding more":                             {first: "{action: Deny, source: {notSelector: a == 'x'}}", second: "{action: Allow, source: {notSelector: a == 'x' && b == 'y'}}"},
		"the same kind of ICMP":                      {first: "{action: Deny, protocol: ICMP, icmp: {type: 8}}", second: "{action: Allow, protocol: ICMP, icmp: {type: 8}}", want: true},
		"another kind":                               {first: "{action: Deny, protocol: ICMP, icmp: {type: 8}}", second: "{action: Allow, protocol: ICMP}"},
		"of HTTP, which packets are not asked about": {first: "{action: Allow, protocol: TCP, http: {methods: [GET]}}", second: "{action: Allow, protocol: TCP}"},
		"HTTP among all of TCP":                      {first: "{action: Allow, protocol: TCP}", second: "{action: Allow, protocol: TCP, http: {methods: [GET]}}", want: true},
		"a namespace among all":                      {first: "{action: Deny, source: {namespaceSelector: all()}}", second: "{action: Allow, source: {namespaceSelector: env == 'dev', selector: a == 'x'}}"},
		"the policy's own among all":                 {first: "{action: Deny, source: {namespaceSelector: all()}}", second: "{action: Allow, source: {selector: a == 'x'}}", want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			found := shadow.Find(shadow.Candidate(decode(t, np("second", "order: 2, ingress: ["+tc.second+"]"))),
				others(t, knownTiers(), np("first", "order: 1, ingress: ["+tc.first+"]")))
			if (len(found) > 0) != tc.want {
				t.Errorf("found %q, want %v", said(found), tc.want)
			}
		})
	}
}
