package policy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

func decode(t testing.TB, doc string) policy.Object {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	o, err := policy.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func parsePolicy(t testing.TB, sem policy.Semantics, doc string) (*policy.Policy, []policy.Problem) {
	t.Helper()
	r, problems := policy.Parse(decode(t, doc), sem)
	p, ok := r.(*policy.Policy)
	if r != nil && !ok {
		t.Fatalf("parsed into %T", r)
	}
	return p, problems
}

// canonical is the text that Calico would make of a compiled selector.
func canonical(t testing.TB, text string) string {
	t.Helper()
	s, err := selector.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

const (
	namespaced = `{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: `
	global     = `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: p}, spec: `
)

// What updateprocessors/rules.go makes of a peer.
func TestPeersCompileAsInCalico(t *testing.T) {
	const own = "projectcalico.org/namespace == 'a'"
	cases := map[string]struct {
		object, source string
		set, notSet    string // "" for none
	}{
		"names in a namespaced policy":   {object: namespaced, source: `{serviceAccounts: {names: [web]}}`, set: `(` + own + `) && (projectcalico.org/serviceaccount in {"web"})`},
		"names in a global policy":       {object: global, source: `{serviceAccounts: {names: [web]}}`, set: `projectcalico.org/serviceaccount in {"web"}`},
		"names and every namespace":      {object: namespaced, source: `{namespaceSelector: all(), serviceAccounts: {names: [web]}}`, set: `(has(projectcalico.org/namespace)) && (projectcalico.org/serviceaccount in {"web"})`},
		"names outside every namespace":  {object: namespaced, source: `{namespaceSelector: global(), serviceAccounts: {names: [web]}}`, set: `(!has(projectcalico.org/namespace)) && (projectcalico.org/serviceaccount in {"web"})`},
		"every account of the namespace": {object: namespaced, source: `{serviceAccounts: {selector: all()}}`, set: `(` + own + `) && (all())`},
		"every account":                  {object: global, source: `{serviceAccounts: {selector: all()}}`, set: `all()`},
		"names and labels":               {object: global, source: `{serviceAccounts: {names: [b, a], selector: x == 'y'}}`, set: `(pcsa.x == "y") && (projectcalico.org/serviceaccount in {"a","b"})`},
		"accounts and pods":              {object: namespaced, source: `{selector: "z == 'y' || q == 'r'", serviceAccounts: {selector: x == 'y'}}`, set: `(` + own + `) && ((pcsa.x == "y") && (z == 'y' || q == 'r'))`},
		"pods alone in a global policy":  {object: global, source: `{selector: x == 'y'}`, set: `x == "y"`},
		"no peer":                        {object: namespaced, source: `{}`},
		"nets alone are no endpoint":     {object: namespaced, source: `{nets: [10.0.0.0/8]}`},
		"notSelector alone, namespaced":  {object: namespaced, source: `{notSelector: x == 'y'}`, set: `(` + own + `) && (!(x == 'y'))`},
		"notSelector alone, global":      {object: global, source: `{notSelector: x == 'y'}`, notSet: `x == "y"`},
		"notSelector beside a selector":  {object: global, source: `{selector: has(x), notSelector: x == 'y'}`, set: `(has(x)) && (!(x == 'y'))`},
		"a namespace's labels":           {object: namespaced, source: `{namespaceSelector: x == 'y'}`, set: `pcns.x == "y"`},
		"all() inside a namespace selector": {
			object: namespaced, source: `{namespaceSelector: "x == 'y' && all()"}`, set: `pcns.x == "y" && has(projectcalico.org/namespace)`,
		},
		"all() as a value is replaced too": {
			object: namespaced, source: `{namespaceSelector: "k == 'all()'"}`, set: `pcns.k == "has(projectcalico.org/namespace)"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				p, problems := parsePolicy(t, sem, tc.object+`{ingress: [{action: Allow, source: `+tc.source+`}]}}`)
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				source := p.Ingress[0].Source
				for what, pair := range map[string]struct {
					got  *policy.Set
					want string
				}{"set": {source.Set, tc.set}, "notSet": {source.NotSet, tc.notSet}} {
					switch {
					case (pair.got == nil) != (pair.want == ""):
						t.Errorf("%s: %s is %+v, want %q", sem, what, pair.got, pair.want)
					case pair.got != nil && pair.got.Selector.String() != canonical(t, pair.want):
						t.Errorf("%s: %s is %s, want %s", sem, what, pair.got.Selector, canonical(t, pair.want))
					}
				}
			}
		})
	}
}

// What networkpolicyprocessor.go and globalnetworkpolicyprocessor.go make of a policy's own selectors.
func TestPolicySelectorsCompileAsInCalico(t *testing.T) {
	const own = "projectcalico.org/namespace == 'a'"
	cases := map[string]struct{ object, spec, want string }{
		"nothing, namespaced":              {object: namespaced, spec: `{}`, want: own},
		"nothing, global":                  {object: global, spec: `{}`, want: `all()`},
		"a selector, namespaced":           {object: namespaced, spec: `{selector: x == 'y' || z == 'y'}`, want: `(x == 'y' || z == 'y') && ` + own},
		"accounts, namespaced":             {object: namespaced, spec: `{serviceAccountSelector: r == 's'}`, want: `(` + own + `) && pcsa.r == "s"`},
		"all accounts, namespaced":         {object: namespaced, spec: `{serviceAccountSelector: all()}`, want: `(` + own + `) && all()`},
		"all accounts, global":             {object: global, spec: `{serviceAccountSelector: all()}`, want: `has(projectcalico.org/serviceaccount)`},
		"all() of the selector as well":    {object: global, spec: `{selector: all(), serviceAccountSelector: r == 's'}`, want: `(has(projectcalico.org/serviceaccount)) && pcsa.r == "s"`},
		"namespaces, global":               {object: global, spec: `{selector: all(), namespaceSelector: e == 'f'}`, want: `(has(projectcalico.org/namespace)) && pcns.e == "f"`},
		"all namespaces, global":           {object: global, spec: `{namespaceSelector: all()}`, want: `has(projectcalico.org/namespace)`},
		"namespaces and accounts, global":  {object: global, spec: `{selector: x == 'y', namespaceSelector: e == 'f', serviceAccountSelector: r == 's'}`, want: `((x == 'y') && pcns.e == "f") && pcsa.r == "s"`},
		"namespaceSelector is global only": {object: global, spec: `{namespaceSelector: "e == 'f' || e == 'g'"}`, want: `(pcns.e == "f" || pcns.e == "g")`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
				p, problems := parsePolicy(t, sem, tc.object+tc.spec+`}`)
				if len(problems) > 0 || p.Selector.String() != canonical(t, tc.want) || p.Unscoped {
					t.Errorf("%s: got %s, problems %v, want %s", sem, p.Selector, problems, canonical(t, tc.want))
				}
			}
		})
	}
}

func TestTypesAreDefaultedByTheLengthOfTheLists(t *testing.T) {
	const rule = `[{action: Allow}]`
	cases := map[string]struct {
		spec            string
		ingress, egress bool
	}{
		"no rules":                        {spec: `{}`, ingress: true},
		"ingress rules":                   {spec: `{ingress: ` + rule + `}`, ingress: true},
		"egress rules":                    {spec: `{egress: ` + rule + `}`, egress: true},
		"both":                            {spec: `{ingress: ` + rule + `, egress: ` + rule + `}`, ingress: true, egress: true},
		"empty lists count as none":       {spec: `{ingress: [], egress: []}`, ingress: true},
		"empty egress counts as none":     {spec: `{ingress: ` + rule + `, egress: []}`, ingress: true},
		"empty ingress and egress rules":  {spec: `{ingress: [], egress: ` + rule + `}`, egress: true},
		"an empty list of types is none":  {spec: `{types: [], egress: ` + rule + `}`, egress: true},
		"types hold against ingress":      {spec: `{types: [Egress], ingress: ` + rule + `}`, egress: true},
		"types hold against egress":       {spec: `{types: [Ingress], egress: ` + rule + `}`, ingress: true},
		"types without rules of the kind": {spec: `{types: [Ingress, Egress]}`, ingress: true, egress: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, problems := parsePolicy(t, policy.Strict, namespaced+tc.spec+`}`)
			if p.Applies(policy.Ingress) != tc.ingress || p.Applies(policy.Egress) != tc.egress || len(problems) > 0 {
				t.Errorf("got ingress %v, egress %v, %v, want %v, %v", p.AppliesIngress, p.AppliesEgress, problems, tc.ingress, tc.egress)
			}
			if !p.AppliesIngress && p.Ingress != nil || !p.AppliesEgress && p.Egress != nil {
				t.Error("there are rules for a direction in which the policy does not apply")
			}
		})
	}
}

func TestEveryProblemIsReportedWithItsPath(t *testing.T) {
	doc := namespaced + `
  {tier: x, selector: "a ==", serviceAccountSelector: "b ==", types: [Ingress, Up], colour: red,
   ingress: [
    {action: Allow, source: {selector: "c ==", notSelector: "d ==", namespaceSelector: "e ==", nets: [1.2.3], notNets: [x, 10.0.0.0/8],
      serviceAccounts: {selector: "f ==", names: [ok, "No", ""]}}},
    {action: Drop, ipVersion: 7, protocol: BAR, notProtocol: 0, destination: {ports: [1], notPorts: [0], services: {name: s}}},
    {action: Allow, protocol: ICMP, icmp: {code: 1}, notICMP: {type: 300}, shape: round}
   ],
   egress: [{action: Allow, http: {paths: [{exact: a}]}}]}}`
	want := []string{
		"spec.types[1]", "spec.selector", "spec.serviceAccountSelector", "spec.colour", "spec.ingress[2].shape",
		"spec.ingress[0].source.selector", "spec.ingress[0].source.notSelector", "spec.ingress[0].source.namespaceSelector",
		"spec.ingress[0].source.serviceAccounts.selector", "spec.ingress[0].source.serviceAccounts.names[1]", "spec.ingress[0].source.serviceAccounts.names[2]",
		"spec.ingress[0].source.nets[0]", "spec.ingress[0].source.notNets[0]",
		"spec.ingress[1].action", "spec.ingress[1].protocol", "spec.ingress[1].notProtocol", "spec.ingress[1].ipVersion",
		"spec.ingress[1].destination.ports", "spec.ingress[1].destination.notPorts", "spec.ingress[1].destination.services", "spec.ingress[1].destination.notPorts[0]",
		"spec.ingress[2].icmp.type", "spec.ingress[2].notICMP.type",
		"spec.egress[0].http", "spec.egress[0].http.paths[0]",
	}
	slices.Sort(want)
	for _, sem := range []policy.Semantics{policy.Calico, policy.Strict} {
		p, problems := parsePolicy(t, sem, doc)
		var got []string
		for _, problem := range problems {
			got = append(got, problem.Err.Field)
			if !strings.HasPrefix(problem.Error(), "NetworkPolicy a/p: spec.") {
				t.Errorf("the problem reads %q", problem)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: problems at\n%s\nwant\n%s", sem, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		switch {
		case sem == policy.Calico && p != nil:
			t.Error("Calico drops this policy")
		case sem == policy.Strict && (!p.Unscoped || !p.AppliesEgress || !p.Ingress[0].Unparsed || !p.Egress[0].Unparsed):
			t.Errorf("strict: %+v is not deny-all", p)
		}
	}
}

func TestOnlyABrokenRuleIsDenyAll(t *testing.T) {
	p, problems := parsePolicy(t, policy.Strict, namespaced+`{ingress: [{action: Allow}, {action: Allow, source: {nets: [x]}}, {action: Log}], egress: [{action: Pass}]}}`)
	if len(problems) != 1 || p.Unscoped || p.Ingress[0].Unparsed || !p.Ingress[1].Unparsed || p.Ingress[2].Unparsed || p.Egress[0].Unparsed {
		t.Errorf("got %+v, problems %v, want rule 1 of ingress alone", p, problems)
	}
}

func TestKubernetesSelectorsHaveNoBoundsOfOurs(t *testing.T) {
	values := strings.Join(numbered(200), ", ")
	p, problems := parsePolicy(t, policy.Strict, `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: a}, spec: {
  podSelector: {matchExpressions: [{key: k, operator: In, values: [`+values+`]}]},
  ingress: [{from: [{podSelector: {matchExpressions: [{key: k, operator: NotIn, values: [`+values+`]}]}}]}]}}`)
	if len(problems) > 0 || p.Ingress[0].Unparsed || p.Unscoped {
		t.Errorf("a long label selector is refused: %v", problems)
	}
}

func TestAStrictPassHasATwinThatDenies(t *testing.T) {
	p, _ := parsePolicy(t, policy.Strict, namespaced+`{ingress: [{action: Pass, source: {serviceAccounts: {names: [x]}}}, {action: Pass, source: {nets: [10.0.0.0/8]}}]}}`)
	var got []string
	for _, r := range p.Ingress {
		got = append(got, r.Action.String())
	}
	if strings.Join(got, " ") != "Pass Deny Pass" || p.Ingress[1].Index != 0 || p.Ingress[2].Index != 1 {
		t.Errorf("got %v, want Pass Deny Pass with indexes 0 0 1", got)
	}
}

func TestDecode(t *testing.T) {
	cases := map[string]struct {
		raw     string
		unknown bool // kind
		err     string
	}{
		"another kind":            {raw: `{"apiVersion":"v1","kind":"Service","metadata":{"name":"x"}}`, unknown: true},
		"another group":           {raw: `{"apiVersion":"example.com/v3","kind":"NetworkPolicy","metadata":{"name":"x"}}`, unknown: true},
		"another version":         {raw: `{"apiVersion":"projectcalico.org/v1","kind":"NetworkPolicy","metadata":{"name":"x"}}`, unknown: true},
		"no kind":                 {raw: `{"apiVersion":"v1","metadata":{"name":"x"}}`, err: "kind"},
		"no name":                 {raw: `{"apiVersion":"v1","kind":"Pod","metadata":{}}`, err: "metadata.name"},
		"not an object":           {raw: `[]`, err: "decode object"},
		"not JSON":                {raw: `{`, err: "decode object"},
		"a field of another type": {raw: `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"nodeName":1}}`, err: "nodeName"},
		"a port out of range":     {raw: `{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"x"},"spec":{"ingress":[{"action":"Allow","destination":{"ports":[70000]}}]}}`, err: "70000"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := policy.Decode([]byte(tc.raw))
			if err == nil || errors.Is(err, policy.ErrUnknownKind) != tc.unknown || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want unknown kind %v, %q", err, tc.unknown, tc.err)
			}
		})
	}
}

func TestRepeatedKeysAreUnknownFields(t *testing.T) {
	o, err := policy.Decode([]byte(`{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"x"},"spec":{"selector":"all()","selector":"a == 'b'"}}`))
	if err != nil || !slices.Contains(o.Unknown, "spec.selector") {
		t.Fatalf("got %v, %v, want spec.selector", o.Unknown, err)
	}
	r, _ := policy.Parse(o, policy.Strict)
	if p, ok := r.(*policy.Policy); !ok || !p.Ingress[0].Unparsed {
		t.Error("a key that occurs twice is not deny-all")
	}
}

func TestNamespaceDefaults(t *testing.T) {
	o := decode(t, `{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p}, spec: {}}`)
	if got := o.Value.GetNamespace(); got != "default" {
		t.Errorf("namespace %q, want default", got)
	}
	if got := decode(t, global+`{}}`).Value.GetNamespace(); got != "" {
		t.Errorf("a global policy got namespace %q", got)
	}
}

func TestSnapshotDoesNotDependOnTheOrderOfObjects(t *testing.T) {
	docs := []string{
		global + `{order: 1, ingress: [{action: Allow}]}}`, namespaced + `{order: 1, tier: x}}`,
		strings.Replace(global, "name: p", "name: q", 1) + `{tier: x}}`,
		`{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: x}, spec: {order: 5}}`,
		`{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: b}, spec: {nets: [10.0.0.0/8]}}`,
		`{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: a}, spec: {nets: [10.0.0.0/8]}}`,
	}
	var first string
	for turn := range docs {
		var resources []policy.Resource
		for i := range docs {
			r, _ := policy.Parse(decode(t, docs[(i*5+turn)%len(docs)]), policy.Strict)
			resources = append(resources, r)
		}
		s := policy.NewSnapshot(7, policy.Strict, resources)
		text := s.String() + s.NetworkSets[0].ID.String()
		if first == "" {
			first = text
		}
		if text != first || s.Rev != 7 {
			t.Errorf("got\n%s\nwant\n%s", text, first)
		}
	}
}

func TestSemanticsDefaultToStrict(t *testing.T) {
	var zero policy.Semantics
	if zero != policy.Strict || zero.String() != "strict" || policy.Calico.String() != "calico" {
		t.Errorf("zero is %s", zero)
	}
	for text, want := range map[string]policy.Semantics{"calico": policy.Calico, "strict": policy.Strict} {
		if got, err := policy.ParseSemantics(text); got != want || err != nil {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	if got, err := policy.ParseSemantics("Calico"); got != policy.Strict || err == nil {
		t.Errorf("an unknown name: got %s, %v, want strict and an error", got, err)
	}
	if got := policy.StrictOnly(policy.Differences()...); got != policy.Strict {
		t.Errorf("all rows strict are %s", got)
	}
}

func TestDifferencesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range policy.Differences() {
		if d.ID == "" || d.Input == "" || d.Calico == "" || d.Strict == "" || d.Why == "" || seen[d.ID] {
			t.Errorf("row %+v is incomplete or repeated", d)
		}
		seen[d.ID] = true
	}
}

// numbered returns n different label values.
func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, "value-"+strings.Repeat("x", i%40)+string(rune('a'+i%26)))
	}
	return out
}
