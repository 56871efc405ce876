package eval_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Each row of the difference table by example. With the row alone strict the verdict is the strict one, too.
func TestRowsOfTheDifferenceTable(t *testing.T) {
	long := strings.Repeat("role == 'web' || ", 70) + "role == 'web'"
	deep := strings.Repeat("(", 65) + "role == 'web'" + strings.Repeat(")", 65)
	webSet := `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: g, labels: {projectcalico.org/serviceaccount: web, pcsa.role: web}}, spec: {nets: [192.0.2.0/24]}}`
	broken := `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: g, labels: {set: x}}, spec: {nets: [198.51.100.0/24, 192.0.2.0/33]}}`
	onDB := func(ingress string) string {
		return gnp("p", `{selector: "app == 'db'", types: [Ingress], ingress: `+ingress+`}`)
	}
	cases := map[string][]struct {
		name           string
		docs           []string
		from           string
		calico, strict string
	}{
		"account-name": {
			{name: "a quote makes it everybody", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: ["web'"]}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a quote drops the selector beside it", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: ["web'"], selector: role == 'web'}}}]`)}, from: "prod/api", calico: "Allow", strict: "Deny"},
			{name: "an injected selector", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: ["x' } || all() || a in {'y"]}}}]`)}, from: "prod/api", calico: "Allow", strict: "Deny"},
			{name: "upper case matches nobody, and denies what follows", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: [Web]}}}, {action: Allow}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "rules before it hold", docs: []string{np("p", `[{action: Allow}, {action: Allow, source: {serviceAccounts: {names: ["web'"]}}}]`)}, from: "prod/web", calico: "Allow", strict: "Allow"},
		},
		"selector-syntax": {
			{name: "a rule's selector", docs: []string{np("p", `[{action: Allow, protocol: UDP, source: {selector: "role =="}}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "a rule's notSelector", docs: []string{np("p", `[{action: Deny, source: {notSelector: "role =="}}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "a rule's namespaceSelector", docs: []string{np("p", `[{action: Allow, source: {namespaceSelector: "role ==", selector: all()}}]`)}, from: "dev/web", calico: "Allow", strict: "Deny"},
			{name: "a rule's account selector", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {selector: "role =="}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "the policy's selector", docs: []string{gnp("p", `{selector: "app ==", ingress: [{action: Allow, protocol: UDP}]}`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "the policy's account selector: it applies to more", docs: []string{gnp("p", `{serviceAccountSelector: "role ==", ingress: [{action: Allow}]}`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "the policy's namespace selector", docs: []string{gnp("p", `{namespaceSelector: "env ==", ingress: [{action: Allow}]}`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "what parses still confines it", docs: []string{gnp("p", `{namespaceSelector: env == 'dev', serviceAccountSelector: "role ==", ingress: [{action: Allow}]}`)}, from: "prod/web", calico: "Allow", strict: "Allow"},
			{name: "a label selector that the API refuses", docs: []string{knp("p", `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: "a' || app == 'web"}}}]}]}`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "of a policy", docs: []string{knp("p", `{podSelector: {matchLabels: {app: "a' || app == 'c"}}, ingress: [{}]}`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
		},
		"selector-bounds": {
			{name: "length", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {selector: "`+long+`"}}}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "depth", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {selector: "`+deep+`"}}}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
		},
		"account-sets": {
			{name: "a network set that says it is an account", docs: []string{webSet, onDB(`[{action: Allow, source: {serviceAccounts: {names: [web]}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "one that says it has an account's label", docs: []string{webSet, onDB(`[{action: Allow, source: {serviceAccounts: {selector: role == 'web'}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "through a plain selector", docs: []string{webSet, onDB(`[{action: Allow, source: {selector: pcsa.role == 'web'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a negative selector", docs: []string{webSet, onDB(`[{action: Allow, source: {serviceAccounts: {selector: role != 'api'}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "all()", docs: []string{webSet, onDB(`[{action: Allow, source: {serviceAccounts: {selector: all()}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a selector that excludes accounts", docs: []string{webSet, onDB(`[{action: Allow, source: {selector: all(), notSelector: pcsa.role == 'api'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "Deny is Calico's", docs: []string{webSet, onDB(`[{action: Deny, source: {serviceAccounts: {names: [web]}}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Deny", strict: "Deny"},
			{name: "Pass is denied", docs: []string{webSet, onDB(`[{action: Pass, source: {serviceAccounts: {names: [web]}}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "Pass of a pod passes", docs: []string{webSet, onDB(`[{action: Pass, source: {serviceAccounts: {names: [web]}}}, {action: Deny}]`)}, from: "prod/web", calico: "Allow", strict: "Allow"},
			{name: "a set of addresses is none of this", docs: []string{strings.Replace(webSet, "labels: {", "labels: {set: x, ", 1), onDB(`[{action: Allow, source: {selector: set == 'x'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Allow"},
			{name: "excluding an account alone lets the rest of the world in", docs: []string{onDB(`[{action: Allow, source: {notSelector: pcsa.role == 'api'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Allow"},
		},
		"empty-account-match": {
			{name: "from outside", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {}}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "from another namespace", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {names: []}}}]`)}, from: "dev/web", calico: "Allow", strict: "Deny"},
			{name: "from its own", docs: []string{np("p", `[{action: Allow, source: {serviceAccounts: {}}}]`)}, from: "prod/web", calico: "Allow", strict: "Allow"},
			{name: "global", docs: []string{onDB(`[{action: Allow, source: {serviceAccounts: {}}}]`)}, from: "dev/web", calico: "Allow", strict: "Allow"},
			{name: "Deny", docs: []string{np("p", `[{action: Deny, source: {serviceAccounts: {}}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Deny", strict: "Deny"},
			{name: "Pass", docs: []string{np("p", `[{action: Pass, source: {serviceAccounts: {}}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
		},
		"rule-fields": {
			{name: "a net that does not parse is gone", docs: []string{np("p", `[{action: Allow, source: {nets: [10.0.0.0/99]}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "no action is Allow", docs: []string{np("p", `[{}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an action in lower case", docs: []string{np("p", `[{action: allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an unknown action drops the policy", docs: []string{np("p", `[{action: Reject}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an unknown field", docs: []string{np("p", `[{action: Allow, source: {selecter: app == 'web'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an unknown field of the policy", docs: []string{gnp("p", `{namespaceSelecter: env == 'dev', ingress: [{action: Allow}]}`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "ports without protocol", docs: []string{np("p", `[{action: Allow, destination: {ports: [1]}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "ports of a protocol without ports", docs: []string{np("p", `[{action: Allow, protocol: ICMP, destination: {notPorts: [1]}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "port 0", docs: []string{np("p", `[{action: Allow, protocol: TCP, destination: {ports: [0]}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an unknown protocol", docs: []string{np("p", `[{action: Allow, protocol: FOO}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "protocol 0", docs: []string{np("p", `[{action: Allow, protocol: 0}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "ipVersion 5", docs: []string{np("p", `[{action: Allow, ipVersion: 5}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an ICMP type of 255", docs: []string{np("p", `[{action: Allow, protocol: ICMP, icmp: {type: 255}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an ICMP code without type", docs: []string{np("p", `[{action: Allow, protocol: ICMP, notICMP: {code: 1}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "http with Deny", docs: []string{np("p", `[{action: Deny, protocol: UDP, http: {methods: [GET]}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a path that is none", docs: []string{np("p", `[{action: Allow, http: {paths: [{exact: x}]}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "an unknown type", docs: []string{gnp("p", `{types: [Both], ingress: [{action: Deny}]}`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a Kubernetes block that does not parse", docs: []string{knp("p", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: x}}]}]}`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a Kubernetes exception that does not parse", docs: []string{knp("p", `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [x]}}]}]}`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a Kubernetes port that does not parse", docs: []string{knp("p", `{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 70}]}, {}]}`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
		},
		"network-set-nets": {
			{name: "what parses allows", docs: []string{broken, onDB(`[{action: Allow, source: {selector: set == 'x'}}]`)}, from: "198.51.100.1", calico: "Allow", strict: "Allow"},
			{name: "what does not parse does not allow", docs: []string{broken, onDB(`[{action: Allow, source: {selector: set == 'x'}}]`)}, from: "192.0.2.1", calico: "Deny", strict: "Deny"},
			{name: "and denies", docs: []string{broken, onDB(`[{action: Deny, source: {selector: set == 'x'}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "and is passed nowhere", docs: []string{broken, onDB(`[{action: Pass, source: {notSelector: set == 'x'}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
			{name: "a set that parses denies its own alone", docs: []string{strings.Replace(broken, ", 192.0.2.0/33", "", 1), onDB(`[{action: Deny, source: {selector: set == 'x'}}, {action: Allow}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Allow"},
			{name: "and is excluded", docs: []string{broken, onDB(`[{action: Allow, source: {notSelector: set == 'x'}}]`)}, from: "192.0.2.1", calico: "Allow", strict: "Deny"},
		},
		"shared-address": {
			{name: "of two accounts", docs: []string{onDB(`[{action: Allow, source: {serviceAccounts: {names: [web]}}}]`), pod("dev", "late", "10.0.0.1")}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "Deny for either", docs: []string{onDB(`[{action: Deny, source: {serviceAccounts: {names: [late]}}}, {action: Allow}]`), pod("dev", "late", "10.0.0.1")}, from: "prod/web", calico: "Deny", strict: "Deny"},
			{name: "Pass for one", docs: []string{onDB(`[{action: Pass, source: {selector: app == 'web'}}, {action: Allow}]`), pod("dev", "late", "10.0.0.1")}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "a named port of one", docs: []string{onDB(`[{action: Allow, protocol: TCP, destination: {ports: [http]}}]`), strings.Replace(pod("dev", "late", "10.0.0.3"), "name: http", "name: other", 1)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "an excluded port of one", docs: []string{onDB(`[{action: Allow, protocol: TCP, destination: {notPorts: [other]}}]`), strings.Replace(pod("dev", "late", "10.0.0.3"), "name: http", "name: other", 1)}, from: "prod/web", calico: "Deny", strict: "Deny"},
		},
		"annotated-address": {
			{
				name: "a pending pod claims another's", from: "10.7.0.1", calico: "Allow", strict: "Deny",
				docs: []string{
					onDB(`[{action: Allow, source: {serviceAccounts: {names: [late]}}}]`),
					strings.NewReplacer("metadata: {", "metadata: {annotations: {cni.projectcalico.org/podIP: 10.7.0.1/32}, ", "phase: Running", "phase: Pending").Replace(pod("dev", "late")),
				},
			},
		},
		"mirror-pod-account": {
			{
				name: "its label is believed", from: "dev/mirror", calico: "Allow", strict: "Deny",
				docs: []string{
					onDB(`[{action: Allow, source: {serviceAccounts: {names: [web]}}}]`),
					strings.NewReplacer("metadata: {", "metadata: {annotations: {kubernetes.io/config.mirror: a}, ", "labels: {", "labels: {projectcalico.org/serviceaccount: web, ", "serviceAccountName: mirror", "").Replace(pod("dev", "mirror", "10.7.0.1")),
				},
			},
		},
		"services": {
			{name: "Deny", docs: []string{onDB(`[{action: Deny, source: {services: {name: x, namespace: prod}}}, {action: Allow}]`)}, from: "prod/web", calico: "Allow", strict: "Deny"},
			{name: "Allow", docs: []string{onDB(`[{action: Allow, source: {services: {name: x, namespace: prod}}}]`)}, from: "prod/web", calico: "Deny", strict: "Deny"},
		},
	}
	for _, d := range policy.Differences() {
		if len(cases[d.ID]) == 0 {
			t.Errorf("row %s has no case", d.ID)
		}
		differ := false
		for _, tc := range cases[d.ID] {
			t.Run(d.ID+"/"+tc.name, func(t *testing.T) {
				for sem, want := range map[policy.Semantics]string{policy.Calico: tc.calico, policy.Strict: tc.strict, policy.StrictOnly(d): tc.strict} {
					r := verdict(t, sem, tcp(tc.from, "prod/db", 80), tc.docs...)
					if r.Ingress.Verdict.String() != want {
						t.Errorf("%s: got %s, want %s\n%+v", sem, r.Ingress.Verdict, want, r.Ingress.Trace)
					}
				}
			})
			differ = differ || tc.calico != tc.strict
		}
		if !differ {
			t.Errorf("row %s has no case in which the two differ", d.ID)
		}
		delete(cases, d.ID)
	}
	for id := range cases {
		t.Errorf("cases for %s, which is not in the table", id)
	}
}

// A rule that does not parse is the one that is reported.
func TestDenyAllIsReportedWithItsRule(t *testing.T) {
	r := verdict(t, policy.Strict, tcp("prod/web", "prod/db", 80),
		np("p", `[{action: Allow, protocol: UDP}, {action: Allow, source: {selector: "a =="}}, {action: Allow}]`))
	d := r.Ingress
	if by(d) != "Deny default/prod/p/1" || !d.Trace[len(d.Trace)-1].Unparsed {
		t.Errorf("got %s, trace %+v, want rule 1 as unparsed", by(d), d.Trace)
	}
}

// However the parts of the corpus are damaged, strict semantics never allow what Calico's deny. Rules for which Calico
// would drop the whole policy are left out: there strict semantics keep the other rules.
func TestStrictNeverAllowsWhatCalicoDenies(t *testing.T) {
	damage := []struct{ old, new string }{
		{`"serviceAccounts":{"names":["default"`, `"serviceAccounts":{"names":["default","x' }"`},
		{`"serviceAccounts":{"names":["web"`, `"serviceAccounts":{"names":["a' } || all() || a in {'"`},
		{`"serviceAccounts":{"names":`, `"serviceAccounts":{"nimes":`},
		{`"serviceAccountSelector":"`, `"serviceAccountSelector":"&& `},
		{`"ip":"10.65.0.`, `"ip":"10.65.1.`},
		{`"ip":"10.65.2.`, `"ip":"10.65.3.`},
		{`"nets":["10.`, `"nets":["10.0.0.0/99","10.`},
		{`"nets":["203.`, `"nets":["10.0.0.0/99","203.`},
		{`"metadata":{"labels":{"set":`, `"metadata":{"labels":{"projectcalico.org/serviceaccount":"default","pcsa.role":"intern","set":`},
		{`"action":"Allow"`, `"action":"Pass"`},
		{`"action":"Pass"`, `"action":"Deny"`},
		{`"action":"Deny"`, `"action":"Allow"`},
	}
	flows, differ := 0, 0
	for n, sc := range corpus(t) {
		for i, d := range damage {
			if (n+i)%4 != 0 && testing.Short() {
				continue
			}
			damaged := false
			var raws [][]byte
			for _, raw := range sc.raws() {
				text := strings.ReplaceAll(string(raw), d.old, d.new)
				damaged = damaged || text != string(raw)
				raws = append(raws, []byte(text))
			}
			if !damaged {
				continue
			}
			calico, strict := snapshot(t, policy.Calico, raws), snapshot(t, policy.Strict, raws)
			for _, f := range sc.Flows {
				c, s := eval.Evaluate(calico, f.resolve(t, calico)), eval.Evaluate(strict, f.resolve(t, strict))
				flows++
				if verdicts(c) != verdicts(s) {
					differ++
				}
				for _, pair := range [][2]eval.Decision{{c.Egress, s.Egress}, {c.Ingress, s.Ingress}} {
					if said(pair[0]) == "Deny" && said(pair[1]) == "Allow" {
						t.Fatalf("%s with %s: %s -> %s is Deny in Calico (%s), Allow strictly (%s)", sc.Name, fmt.Sprint(d), f.From, f.To, by(pair[0]), by(pair[1]))
					}
				}
			}
		}
	}
	if flows < 50000 && !testing.Short() || differ == 0 {
		t.Errorf("%d flows, %d differ: the damage does not reach the corpus", flows, differ)
	}
	t.Logf("%d flows in damaged scenarios, %d differ, none is wider", flows, differ)
}
