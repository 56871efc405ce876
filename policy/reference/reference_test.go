package reference_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/selector"
)

// text writes references as "PATH in NAMESPACES: FORMULA".
func text(refs []reference.Reference) []string {
	var out []string
	for _, r := range refs {
		where := "*"
		if r.Namespaces != nil {
			where = strings.Join(r.Namespaces, ",")
		}
		line := fmt.Sprintf("%s in %s: %s", r.Field, where, formula(r.Formula))
		if r.Before {
			line = "before " + line
		}
		if r.Places > 1 {
			line += fmt.Sprintf(" (%d places)", r.Places)
		}
		out = append(out, line)
	}
	return out
}

func formula(f selector.Formula) string {
	word := " or "
	switch f.Op {
	case selector.OpGrant:
		switch g := reference.GrantOf(f.Grant); g.Kind {
		case reference.Account:
			return "account " + g.Value
		case reference.AnyAccount:
			return "account *"
		case reference.Label:
			return g.Key + "=" + g.Value
		case reference.AnyValue:
			return g.Key + "=*"
		case reference.AnyLabel:
			return "labels *"
		case reference.Everything:
		}
		return "everything"
	case selector.OpAll:
		word = " and "
	case selector.OpAny:
	}
	var parts []string
	for _, t := range f.Terms {
		parts = append(parts, formula(t))
	}
	return "(" + strings.Join(parts, word) + ")"
}

func namespaced(spec v3.NetworkPolicySpec) metav1.Object {
	return &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "prod"}, Spec: spec}
}

func global(spec v3.GlobalNetworkPolicySpec) metav1.Object {
	return &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}
}

func allowFrom(e v3.EntityRule) metav1.Object {
	return namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Allow, Source: e}}})
}

func globalFrom(e v3.EntityRule) metav1.Object {
	return global(v3.GlobalNetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Allow, Source: e}}})
}

func accounts(sel string, names ...string) *v3.ServiceAccountMatch {
	return &v3.ServiceAccountMatch{Names: names, Selector: sel}
}

func TestCreated(t *testing.T) {
	const source = "spec.ingress[0].source"
	cases := map[string]struct {
		policy metav1.Object
		want   []string
	}{
		"a policy that says nothing of accounts": {policy: namespaced(v3.NetworkPolicySpec{Selector: "app == 'db'", Ingress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Selector: "app == 'web'"}}}})},
		"an empty policy":                        {policy: namespaced(v3.NetworkPolicySpec{})},

		"names, each on its own": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web", "db")}),
			want:   []string{source + ".serviceAccounts.names[0] in prod: account web", source + ".serviceAccounts.names[1] in prod: account db"},
		},
		"a label": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role == 'intern'")}),
			want:   []string{source + ".serviceAccounts.selector in prod: role=intern"},
		},
		"a set of values, each on its own": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role in {'b', 'a'}")}),
			want:   []string{source + ".serviceAccounts.selector in prod: role=a", source + ".serviceAccounts.selector in prod: role=b"},
		},
		"names and a label select what both do": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role == 'intern'", "web", "db")}),
			want:   []string{source + " in prod: ((account web and account db) or role=intern)"},
		},
		"two labels select what both do": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role == 'a' && team == 'b'")}),
			want:   []string{source + ".serviceAccounts.selector in prod: (role=a or team=b)"},
		},
		"either of two labels is both": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role == 'a' || team == 'b'")}),
			want:   []string{source + ".serviceAccounts.selector in prod: role=a", source + ".serviceAccounts.selector in prod: team=b"},
		},
		"the name in selector form": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("projectcalico.org/name == 'web'")}),
			want:   []string{source + ".serviceAccounts.selector in prod: account web"},
		},
		"any name in selector form": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("has(projectcalico.org/name)")}),
			want:   []string{source + ".serviceAccounts.selector in prod: account *"},
		},
		"the beginning of a name": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("projectcalico.org/name starts with 'we'")}),
			want:   []string{source + ".serviceAccounts.selector in prod: account *"},
		},
		"any name but one":         {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("projectcalico.org/name != 'web'")}), want: []string{source + ".serviceAccounts.selector in prod: account *"}},
		"whoever has the label":    {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("has(role)")}), want: []string{source + ".serviceAccounts.selector in prod: role=*"}},
		"whoever has not":          {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("!has(role)")}), want: []string{source + ".serviceAccounts.selector in prod: labels *"}},
		"a negative label":         {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role != 'intern'")}), want: []string{source + ".serviceAccounts.selector in prod: labels *"}},
		"a negation of a negative": {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("!(role != 'intern')")}), want: []string{source + ".serviceAccounts.selector in prod: role=intern"}},
		"all accounts":             {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("all()")}), want: []string{source + ".serviceAccounts.selector in prod: labels *"}},
		"none at all, which Calico rewrites": {
			policy: globalFrom(v3.EntityRule{ServiceAccounts: accounts("!all()"), NamespaceSelector: "projectcalico.org/name == 'prod'"}),
			want:   []string{source + ".serviceAccounts.selector in prod: labels *"},
		},
		"a positive and a negative label": {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role == 'a' && team != 'b'")}), want: []string{source + ".serviceAccounts.selector in prod: (role=a or labels *)"}},

		"an empty condition, which Calico drops": {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("")}), want: []string{source + ".serviceAccounts in *: labels *"}},
		"a name with a quote":                    {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web'")}), want: []string{source + " in *: everything"}},
		"a name with an injected selector":       {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "x' } || all() || a in {'y")}), want: []string{source + " in *: everything"}},
		"an empty name":                          {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "")}), want: []string{source + ".serviceAccounts.names[0] in prod: account "}},
		"an account selector that does not parse": {
			policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("role = 'a'", "web")}),
			want:   []string{source + " in *: everything"},
		},

		"a plain selector by name":  {policy: allowFrom(v3.EntityRule{Selector: "projectcalico.org/serviceaccount == 'web'"}), want: []string{source + ".selector in prod: account web"}},
		"a plain selector by label": {policy: allowFrom(v3.EntityRule{Selector: "pcsa.role == 'a'"}), want: []string{source + ".selector in prod: role=a"}},
		"a plain selector by the name's label": {
			policy: allowFrom(v3.EntityRule{Selector: "pcsa.projectcalico.org/name == 'web'"}), want: []string{source + ".selector in prod: account web"},
		},
		"a plain selector of pods and accounts":        {policy: allowFrom(v3.EntityRule{Selector: "app == 'web' && pcsa.role == 'a'"}), want: []string{source + ".selector in prod: role=a"}},
		"a plain selector of pods or accounts":         {policy: allowFrom(v3.EntityRule{Selector: "app == 'web' || pcsa.role == 'a'"}), want: []string{source + ".selector in prod: role=a"}},
		"a plain selector with the text in a value":    {policy: allowFrom(v3.EntityRule{Selector: "app == 'pcsa.role'"})},
		"a plain selector that does not parse":         {policy: allowFrom(v3.EntityRule{Selector: "pcsa.role = 'a'"}), want: []string{source + " in *: everything"}},
		"one that does not, and cannot mean accounts":  {policy: allowFrom(v3.EntityRule{Selector: "role = 'a'"})},
		"a plain key whose name only begins like it":   {policy: allowFrom(v3.EntityRule{Selector: "xpcsa.role == 'a' && projectcalico.org/serviceaccounts == 'x'"})},
		"a notSelector that excludes some":             {policy: allowFrom(v3.EntityRule{NotSelector: "pcsa.role == 'a'"}), want: []string{source + ".notSelector in prod: labels *"}},
		"a notSelector that excludes all but some":     {policy: allowFrom(v3.EntityRule{NotSelector: "pcsa.role != 'a'"}), want: []string{source + ".notSelector in prod: role=a"}},
		"a notSelector beside a name":                  {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web"), NotSelector: "pcsa.role == 'a'"}), want: []string{source + " in prod: (account web or labels *)"}},
		"a plain selector beside a name":               {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web"), Selector: "pcsa.role == 'a'"}), want: []string{source + " in prod: (account web or role=a)"}},
		"a plain selector of pods beside a name":       {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web"), Selector: "app == 'x'"}), want: []string{source + ".serviceAccounts.names[0] in prod: account web"}},
		"pods or accounts beside a name: the name":     {policy: allowFrom(v3.EntityRule{ServiceAccounts: accounts("", "web"), Selector: "app == 'x' || pcsa.role == 'a'"}), want: []string{source + " in prod: account web"}},
		"the same thing in three places is asked once": {policy: namespaced(v3.NetworkPolicySpec{ServiceAccountSelector: "role == 'a'", Ingress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{ServiceAccounts: accounts("role in {'a'}")}}}, Egress: []v3.Rule{{Action: v3.Allow, Destination: v3.EntityRule{Selector: "pcsa.role == 'a'"}}}}), want: []string{"spec.serviceAccountSelector in prod: role=a (3 places)"}},

		"the subject by label":           {policy: namespaced(v3.NetworkPolicySpec{ServiceAccountSelector: "role == 'a'"}), want: []string{"spec.serviceAccountSelector in prod: role=a"}},
		"the subject by plain selector":  {policy: namespaced(v3.NetworkPolicySpec{Selector: "pcsa.role == 'a'"}), want: []string{"spec.selector in prod: role=a"}},
		"the subject by both":            {policy: namespaced(v3.NetworkPolicySpec{Selector: "projectcalico.org/serviceaccount == 'web'", ServiceAccountSelector: "role == 'a'"}), want: []string{"spec in prod: (account web or role=a)"}},
		"a bad serviceAccountSelector":   {policy: namespaced(v3.NetworkPolicySpec{ServiceAccountSelector: "role"}), want: []string{"spec in *: everything"}},
		"a global subject":               {policy: global(v3.GlobalNetworkPolicySpec{ServiceAccountSelector: "role == 'a'"}), want: []string{"spec.serviceAccountSelector in *: role=a"}},
		"a global subject, somewhere":    {policy: global(v3.GlobalNetworkPolicySpec{ServiceAccountSelector: "role == 'a'", NamespaceSelector: "projectcalico.org/name in {'b','a'}"}), want: []string{"spec.serviceAccountSelector in a,b: role=a"}},
		"a staged policy is judged, too": {policy: &v3.StagedNetworkPolicy{Spec: v3.StagedNetworkPolicySpec{ServiceAccountSelector: "role == 'a'"}}, want: []string{"spec.serviceAccountSelector in prod: role=a"}},
		"a staged global policy":         {policy: &v3.StagedGlobalNetworkPolicy{Spec: v3.StagedGlobalNetworkPolicySpec{ServiceAccountSelector: "role == 'a'"}}, want: []string{"spec.serviceAccountSelector in *: role=a"}},
		"another kind":                   {policy: &v3.Tier{}, want: []string{"spec in *: everything"}},
		"no object":                      {policy: (*v3.NetworkPolicy)(nil), want: []string{"spec in *: everything"}},

		"a Deny rule":                    {policy: namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Deny, Source: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}})},
		"a Pass rule":                    {policy: namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Pass, Source: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}})},
		"an action in another case":      {policy: namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Action: "aLLOW", Source: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}}), want: []string{source + ".serviceAccounts.names[0] in prod: account web"}},
		"no action, which Calico allows": {policy: namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Source: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}}), want: []string{source + ".serviceAccounts.names[0] in prod: account web"}},
		"the destination of an egress":   {policy: namespaced(v3.NetworkPolicySpec{Egress: []v3.Rule{{}, {Action: v3.Allow, Destination: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}}), want: []string{"spec.egress[1].destination.serviceAccounts.names[0] in prod: account web"}},
		"the destination of an ingress":  {policy: namespaced(v3.NetworkPolicySpec{Ingress: []v3.Rule{{Action: v3.Allow, Destination: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}}), want: []string{"spec.ingress[0].destination.serviceAccounts.names[0] in prod: account web"}},
		"the source of an egress":        {policy: namespaced(v3.NetworkPolicySpec{Egress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{ServiceAccounts: accounts("", "web")}}}}), want: []string{"spec.egress[0].source.serviceAccounts.names[0] in prod: account web"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := text(reference.Created(reference.Read(tc.policy, "prod"))); !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestScope(t *testing.T) {
	for sel, want := range map[string]string{
		"":                                    "*",
		"projectcalico.org/name == 'a'":       "a",
		"projectcalico.org/name in {'b','a'}": "a,b",
		"!(projectcalico.org/name != 'a')":    "a",
		"!(projectcalico.org/name not in {'a','b'})":                           "a,b",
		"projectcalico.org/name == 'a' && env == 'x'":                          "a",
		"env == 'x' && projectcalico.org/name == 'a'":                          "a",
		"projectcalico.org/name in {'a','b'} && projectcalico.org/name == 'a'": "a",
		"projectcalico.org/name == 'b' || projectcalico.org/name == 'a'":       "a,b",
		"!(projectcalico.org/name != 'b' && projectcalico.org/name != 'a')":    "a,b",
		"!(projectcalico.org/name != 'a' || env == 'x')":                       "a",
		"projectcalico.org/name == 'a' || env == 'x'":                          "*",
		"env == 'x' || projectcalico.org/name == 'a'":                          "*",
		"!(projectcalico.org/name == 'a')":                                     "*",
		"!(projectcalico.org/name != 'a' && env == 'x')":                       "*",
		"projectcalico.org/name != 'a'":                                        "*",
		"projectcalico.org/name not in {'a'}":                                  "*",
		"projectcalico.org/name starts with 'a'":                               "*",
		"has(projectcalico.org/name)":                                          "*",
		"projectcalico.org/name in {}":                                         "*",
		"env == 'prod'":                                                        "*",
		"kubernetes.io/metadata.name == 'a'":                                   "*",
		"all()":                                                                "*",
		"global()":                                                             "*",
		"projectcalico.org/name = 'a'":                                         "*",
		" ":                                                                    "*",
		"pcns.projectcalico.org/name == 'a'":                                   "*",
		"(projectcalico.org/name == 'a' || projectcalico.org/name == 'b') && x == 'y'": "a,b",
	} {
		e := v3.EntityRule{ServiceAccounts: accounts("", "web"), NamespaceSelector: sel}
		line := "spec.ingress[0].source.serviceAccounts.names[0] in %s: account web"
		if got := text(reference.Created(reference.Read(globalFrom(e), ""))); !slices.Equal(got, []string{fmt.Sprintf(line, want)}) {
			t.Errorf("%q in a global policy: got %q, want %s", sel, got, want)
		}
		if sel == "" {
			want = "prod"
		}
		if got := text(reference.Created(reference.Read(allowFrom(e), "prod"))); !slices.Equal(got, []string{fmt.Sprintf(line, want)}) {
			t.Errorf("%q in a namespaced policy: got %q, want %s", sel, got, want)
		}
	}
}

func TestUpdatedAndDeleted(t *testing.T) {
	policy := func(subject, peer string) *reference.Policy {
		return reference.Read(namespaced(v3.NetworkPolicySpec{ServiceAccountSelector: subject, Ingress: []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{ServiceAccounts: accounts("", peer)}}}}), "prod")
	}
	const peer = "spec.ingress[0].source.serviceAccounts.names[0] in prod: account "
	cases := map[string]struct{ got, want []string }{
		"an update that keeps all it refers to": {
			got:  text(reference.Updated(policy("a == 'x'", "web"), policy("a == 'x'", "web"))),
			want: []string{"spec.serviceAccountSelector in prod: a=x (2 places)", peer + "web (2 places)"},
		},
		"an update that refers to others": {
			got:  text(reference.Updated(policy("a == 'y'", "db"), policy("a == 'x'", "web"))),
			want: []string{"spec.serviceAccountSelector in prod: a=y", peer + "db", "before spec.serviceAccountSelector in prod: a=x", "before " + peer + "web"},
		},
		"a delete is judged by the subject": {
			got:  text(reference.Deleted(policy("a == 'x'", "web"))),
			want: []string{"before spec.serviceAccountSelector in prod: a=x"},
		},
		"a delete of what cannot be read": {
			got:  text(reference.Deleted(&reference.Policy{Unreadable: true})),
			want: []string{"before spec in *: everything"},
		},
	}
	for name, tc := range cases {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("%s: got  %q\nwant %q", name, tc.got, tc.want)
		}
	}
}

func TestTooManyReferencesAreEverything(t *testing.T) {
	many := func(n int) metav1.Object {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("sa-%d", i))
		}
		return allowFrom(v3.EntityRule{ServiceAccounts: accounts("", names...)})
	}
	if got := reference.Created(reference.Read(many(reference.MaxGrants), "prod")); len(got) != reference.MaxGrants {
		t.Errorf("%d references, want %d", len(got), reference.MaxGrants)
	}
	got := text(reference.Created(reference.Read(many(reference.MaxGrants+1), "prod")))
	if len(got) != 1 || !strings.HasPrefix(got[0], "spec in *: everything") {
		t.Errorf("got %q", got)
	}
	// So is one reference with too many alternatives, in its own namespaces.
	var alternatives []string
	for i := range reference.MaxAlternatives + 1 {
		alternatives = append(alternatives, fmt.Sprintf("k%d == 'v'", i))
	}
	got = text(reference.Created(reference.Read(allowFrom(v3.EntityRule{ServiceAccounts: accounts(strings.Join(alternatives, " && "))}), "prod")))
	if len(got) != 1 || got[0] != "spec.ingress[0].source.serviceAccounts.selector in prod: everything" {
		t.Errorf("got %q", got)
	}
	got = text(reference.Created(reference.Read(allowFrom(v3.EntityRule{ServiceAccounts: accounts(strings.Join(alternatives[1:], " && "))}), "prod")))
	if len(got) != 1 || strings.Contains(got[0], "everything") {
		t.Errorf("got %q", got)
	}
	// Namespaces count, too.
	e := v3.EntityRule{ServiceAccounts: accounts("role in {'a'}")}
	var ns []string
	for i := range reference.MaxGrants + 1 {
		ns = append(ns, fmt.Sprintf("'n%d'", i))
	}
	e.NamespaceSelector = "projectcalico.org/name in {" + strings.Join(ns, ",") + "}"
	if got := text(reference.Created(reference.Read(globalFrom(e), ""))); len(got) != 1 || !strings.HasPrefix(got[0], "spec in *: everything") {
		t.Errorf("got %.200q", got)
	}
}

func TestReadPlacement(t *testing.T) {
	order := 5.0
	p := reference.Read(namespaced(v3.NetworkPolicySpec{Tier: "security", Order: &order}), "prod")
	if p.Tier != "security" || p.Order != 5 || p.Namespace != "prod" {
		t.Errorf("read %+v", p)
	}
	p = reference.Read(global(v3.GlobalNetworkPolicySpec{}), "ignored")
	if p.Tier != reference.DefaultTier || p.Order < 1e308 || p.Namespace != "" {
		t.Errorf("read %+v", p)
	}
}

func TestWords(t *testing.T) {
	for sel, want := range map[string]string{
		"role == 'a'":                     "service accounts labelled role=a",
		"role == '\x1b[31m'":              `service accounts labelled "role=\x1b[31m"`,
		"has(role)":                       "service accounts that have label role",
		"role != 'a'":                     "service accounts whatever their labels",
		"projectcalico.org/name == 'web'": "service account web",
		"has(projectcalico.org/name)":     "service accounts of any name",
		"a == 'b' && c == 'd' && e == 'f' && g == 'h' && i == 'j'": "service accounts labelled a=b, service accounts labelled c=d, service accounts labelled e=f and 2 more",
	} {
		refs := reference.Created(reference.Read(allowFrom(v3.EntityRule{ServiceAccounts: accounts(sel)}), "prod"))
		if len(refs) != 1 || refs[0].String() != want {
			t.Errorf("%q: got %v, want %s", sel, refs, want)
		}
	}
	if got := (reference.Reference{}).String(); got != "any service accounts" {
		t.Errorf("the zero reference: %q", got)
	}
}
