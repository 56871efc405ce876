package ruleset_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
)

const all = 65535

// sample is one endpoint that lets pods of one identity in on TCP 80, and everybody on UDP from port 53.
func sample() *ruleset.Delta {
	deny := ruleset.Segment{Last: all, SourceLast: all, Rule: 2}
	tcp := func(first, last uint16, rule ruleset.RuleID, allow bool) ruleset.Segment {
		return ruleset.Segment{Protocol: 6, First: first, Last: last, SourceLast: all, Allow: allow, Rule: rule}
	}
	udp := func(first, last uint16, rule ruleset.RuleID, allow bool) ruleset.Segment {
		return ruleset.Segment{Protocol: 17, Last: all, SourceFirst: first, SourceLast: last, Allow: allow, Rule: rule}
	}
	dns := []ruleset.Segment{udp(0, 52, 2, false), udp(53, 53, 3, true), udp(54, all, 2, false)}
	return &ruleset.Delta{
		Revision: 7,
		Rules: []ruleset.RuleChange{
			{ID: 1, Rule: ruleset.Rule{Tier: "default", Policy: "NetworkPolicy a/p", Index: 0}},
			{ID: 2, Rule: ruleset.Rule{Tier: "default", Policy: "NetworkPolicy a/p", Index: ruleset.EndOfTier}},
			{ID: 3, Rule: ruleset.Rule{Tier: "default", Policy: "NetworkPolicy a/p", Index: 1}},
			{ID: 4, Rule: ruleset.Rule{Direction: ruleset.Egress}},
		},
		Rows: []ruleset.RowChange{
			{ID: 1, Row: append(ruleset.Row{deny}, dns...)},
			{ID: 2, Row: append(ruleset.Row{deny, tcp(0, 79, 2, false), tcp(80, 80, 1, true), tcp(81, all, 2, false)}, dns...)},
			{ID: 3, Row: ruleset.Row{{Last: all, SourceLast: all, Allow: true, Rule: 4}}},
		},
		Identities: []ruleset.IdentityChange{
			{ID: 1, Identity: ruleset.Identity{Family: 4}},
			{ID: 2, Identity: ruleset.Identity{Family: 6}},
			{ID: 3, Identity: ruleset.Identity{Family: 4, Pods: []ruleset.PodClass{{Namespace: "a", Account: "web"}}}},
			{ID: 4, Identity: ruleset.Identity{Family: 4, Nets: []string{"192.0.2.0/24"}}},
		},
		Programs: []ruleset.ProgramChange{
			{ID: 1, Direction: ruleset.Ingress, Policies: []string{"tier default", "NetworkPolicy a/p"}, Default4: 1, Default6: 1},
			{ID: 2, Direction: ruleset.Egress, Default4: 3, Default6: 3},
		},
		Cells:    []ruleset.Cell{{Program: 1, Identity: 3, Row: 2}},
		Subjects: []ruleset.SubjectChange{{ID: 1, Subject: ruleset.Subject{Ingress: 1, Egress: 2}}},
		Addresses: []ruleset.AddressChange{
			{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Address: ruleset.Address{Identity: 1}},
			{Prefix: netip.MustParsePrefix("::/0"), Address: ruleset.Address{Identity: 2}},
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Address: ruleset.Address{Identity: 4}},
			{Prefix: netip.MustParsePrefix("10.0.0.1/32"), Address: ruleset.Address{Identity: 3, Pod: ruleset.Pod{Namespace: "a", Name: "web"}}},
			{Prefix: netip.MustParsePrefix("10.0.0.2/32"), Address: ruleset.Address{Identity: 3, Pod: ruleset.Pod{Namespace: "a", Name: "db"}}},
		},
		Endpoints: []ruleset.EndpointChange{
			{Addr: netip.MustParseAddr("10.0.0.2"), Endpoint: ruleset.Endpoint{Subject: 1, Pod: ruleset.Pod{Namespace: "a", Name: "db"}}},
		},
	}
}

func build() *ruleset.Ruleset {
	r := ruleset.New()
	r.Apply(sample())
	return r
}

func TestEval(t *testing.T) {
	cases := map[string]struct {
		flow            ruleset.Flow
		egress, ingress string // "" does not apply
		rule            string
	}{
		"the allowed port":             {flow: flow("10.0.0.1", "10.0.0.2", 6, 80, 40000), ingress: "allow", rule: "default: NetworkPolicy a/p ingress[0]"},
		"the port below":               {flow: flow("10.0.0.1", "10.0.0.2", 6, 79, 40000), ingress: "deny", rule: "default: ingress end after NetworkPolicy a/p"},
		"the port above":               {flow: flow("10.0.0.1", "10.0.0.2", 6, 81, 40000), ingress: "deny", rule: "default: ingress end after NetworkPolicy a/p"},
		"the port for another source":  {flow: flow("192.0.2.1", "10.0.0.2", 6, 80, 40000), ingress: "deny", rule: "default: ingress end after NetworkPolicy a/p"},
		"from the source port":         {flow: flow("203.0.113.1", "10.0.0.2", 17, 9, 53), ingress: "allow", rule: "default: NetworkPolicy a/p ingress[1]"},
		"from another source port":     {flow: flow("203.0.113.1", "10.0.0.2", 17, 9, 54), ingress: "deny", rule: "default: ingress end after NetworkPolicy a/p"},
		"a protocol without segments":  {flow: flow("10.0.0.1", "10.0.0.2", 47, 0, 0), ingress: "deny", rule: "default: ingress end after NetworkPolicy a/p"},
		"out of the endpoint":          {flow: flow("10.0.0.2", "192.0.2.1", 6, 1, 1), egress: "allow"},
		"between addresses elsewhere":  {flow: flow("10.0.0.1", "192.0.2.1", 6, 80, 1)},
		"an IPv4 address in IPv6 form": {flow: flow("::ffff:10.0.0.1", "::ffff:10.0.0.2", 6, 80, 1), ingress: "allow", rule: "default: NetworkPolicy a/p ingress[0]"},
	}
	r := build()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			egress, ingress := r.Eval(tc.flow)
			if said(egress) != tc.egress || said(ingress) != tc.ingress {
				t.Errorf("got egress %q, ingress %q, want %q, %q", said(egress), said(ingress), tc.egress, tc.ingress)
			}
			if tc.rule != "" && ingress.Rule.String() != tc.rule {
				t.Errorf("got rule %q, want %q", ingress.Rule, tc.rule)
			}
		})
	}
}

func flow(from, to string, protocol uint8, port, source uint16) ruleset.Flow {
	return ruleset.Flow{Source: netip.MustParseAddr(from), Destination: netip.MustParseAddr(to), Protocol: protocol, Port: port, SourcePort: source}
}

func said(d ruleset.Decision) string {
	switch {
	case !d.Applies:
		return ""
	case d.Allow:
		return "allow"
	}
	return "deny"
}

func TestWhatIsMissingDenies(t *testing.T) {
	cases := map[string]func(*ruleset.Ruleset){
		"the row":        func(r *ruleset.Ruleset) { delete(r.Rows, 2) },
		"the program":    func(r *ruleset.Ruleset) { delete(r.Programs, 1) },
		"the subject":    func(r *ruleset.Ruleset) { delete(r.Subjects, 1) },
		"the identities": func(r *ruleset.Ruleset) { clear(r.Addresses) },
		"a segment": func(r *ruleset.Ruleset) {
			r.Rows[2] = ruleset.Row{{Last: all, SourceLast: all, Allow: true, Rule: 1}, {Protocol: 6, First: 81, Last: all, SourceLast: all, Allow: true, Rule: 1}}
		},
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			r := build()
			damage(r)
			if _, ingress := r.Eval(flow("10.0.0.1", "10.0.0.2", 6, 80, 1)); !ingress.Applies || ingress.Allow {
				t.Errorf("got %+v, want a denial", ingress)
			}
			if err := r.Check(); err == nil {
				t.Error("Check finds nothing wrong")
			}
		})
	}
}

func TestCheckFindsEveryBreach(t *testing.T) {
	cases := map[string]struct {
		damage func(*ruleset.Ruleset)
		want   string
	}{
		"an endpoint without address":           {damage: func(r *ruleset.Ruleset) { delete(r.Addresses, netip.MustParsePrefix("10.0.0.2/32")) }, want: "has no address"},
		"no default prefix":                     {damage: func(r *ruleset.Ruleset) { delete(r.Addresses, netip.MustParsePrefix("::/0")) }, want: "no address ::/0"},
		"an identity of the other IP version":   {damage: func(r *ruleset.Ruleset) { r.Identities[3] = ruleset.Identity{Family: 6} }, want: "other IP version"},
		"a program of the other direction":      {damage: func(r *ruleset.Ruleset) { r.Subjects[1] = ruleset.Subject{Ingress: 2, Egress: 1} }, want: "a subject has"},
		"a row that is the default":             {damage: func(r *ruleset.Ruleset) { r.Programs[1].Rows[4] = 1 }, want: "has the default"},
		"a row for an identity that is missing": {damage: func(r *ruleset.Ruleset) { r.Programs[1].Rows[9] = 2 }, want: "missing"},
		"an overlap":                            {damage: func(r *ruleset.Ruleset) { r.Rows[2][2].First = 79 }, want: "overlap"},
		"a gap":                                 {damage: func(r *ruleset.Ruleset) { r.Rows[2][3].First = 82 }, want: "not covered"},
		"a reversed segment":                    {damage: func(r *ruleset.Ruleset) { r.Rows[2][2].Last = 1 }, want: "reversed"},
		"no segment for other protocols":        {damage: func(r *ruleset.Ruleset) { r.Rows[2] = r.Rows[2][1:] }, want: "other protocols"},
		"a rule that nothing refers to":         {damage: func(r *ruleset.Ruleset) { r.Rules[9] = ruleset.Rule{} }, want: "rule 9 is not used"},
		"a rule that is missing":                {damage: func(r *ruleset.Ruleset) { delete(r.Rules, 3) }, want: "rule 3 is missing"},
	}
	if err := build().Check(); err != nil {
		t.Fatalf("the sample: %v", err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := build()
			tc.damage(r)
			if err := r.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Text, hash and equality are of the content: other IDs and another revision change nothing, anything else does.
func TestEqualityDoesNotDependOnIDs(t *testing.T) {
	d := sample()
	d.Revision = 8
	for i := range d.Identities {
		d.Identities[i].ID += 10
	}
	for i := range d.Addresses {
		d.Addresses[i].Address.Identity += 10
	}
	for i := range d.Cells {
		d.Cells[i].Identity += 10
	}
	slices.Reverse(d.Identities)
	renamed := ruleset.New()
	renamed.Apply(d)
	if !build().Equal(renamed) || build().Hash() != renamed.Hash() {
		t.Errorf("other IDs are another ruleset:\n%s\n%s", build(), renamed)
	}
	cases := map[string]func(*ruleset.Ruleset){
		"a verdict":     func(r *ruleset.Ruleset) { r.Rows[1][0].Allow = true },
		"a port":        func(r *ruleset.Ruleset) { r.Rows[2][1].Last, r.Rows[2][2].First = 78, 79 },
		"a source port": func(r *ruleset.Ruleset) { r.Rows[1][2].SourceLast, r.Rows[1][3].SourceFirst = 54, 55 },
		"a rule":        func(r *ruleset.Ruleset) { r.Rules[1] = ruleset.Rule{Tier: "default", Policy: "NetworkPolicy a/q"} },
		"a log":         func(r *ruleset.Ruleset) { r.Rows[1][0].Log = 1 },
		"a cell":        func(r *ruleset.Ruleset) { r.Programs[1].Rows[4] = 2 },
		"a default":     func(r *ruleset.Ruleset) { r.Programs[1].Default6 = 2 },
		"an address": func(r *ruleset.Ruleset) {
			r.Addresses[netip.MustParsePrefix("10.0.0.1/32")] = ruleset.Address{Identity: 1}
		},
		"a pod's name": func(r *ruleset.Ruleset) { r.Endpoints[netip.MustParseAddr("10.0.0.2")] = ruleset.Endpoint{Subject: 1} },
		"the policies": func(r *ruleset.Ruleset) { r.Programs[1].Policies = nil },
		"an identity":  func(r *ruleset.Ruleset) { r.Identities[3] = ruleset.Identity{Family: 4} },
		"no endpoint":  func(r *ruleset.Ruleset) { clear(r.Endpoints) },
		"a label":      func(r *ruleset.Ruleset) { r.Identities[3].Pods[0].Labels = []ruleset.Label{{Key: "a", Value: "b"}} },
		"a port's number": func(r *ruleset.Ruleset) {
			r.Identities[3].Pods[0].Ports = []ruleset.NamedPort{{Name: "a", Protocol: 6, Port: 1}}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			r := build()
			change(r)
			if r.Equal(build()) || r.Hash() == build().Hash() {
				t.Errorf("the change is not seen:\n%s", r)
			}
		})
	}
}

func TestApplyTakesAwayWhatIsGone(t *testing.T) {
	r, d := build(), sample()
	gone := &ruleset.Delta{Revision: 9, Cells: []ruleset.Cell{{Program: 1, Identity: 3}}}
	r.Apply(gone)
	if len(r.Programs[1].Rows) != 0 || r.Revision != 9 || gone.Len() != 1 {
		t.Fatalf("got rows %v, revision %d, length %d", r.Programs[1].Rows, r.Revision, gone.Len())
	}
	all := &ruleset.Delta{
		GoneEndpoints: slices.Collect(maps.Keys(r.Endpoints)), GoneAddresses: slices.Collect(maps.Keys(r.Addresses)),
		GoneSubjects: slices.Collect(maps.Keys(r.Subjects)), GonePrograms: slices.Collect(maps.Keys(r.Programs)),
		GoneIdentities: slices.Collect(maps.Keys(r.Identities)), GoneRows: slices.Collect(maps.Keys(r.Rows)), GoneRules: slices.Collect(maps.Keys(r.Rules)),
	}
	if all.Len() != d.Len()-1 {
		t.Errorf("%d parts are gone, want %d", all.Len(), d.Len()-1)
	}
	r.Apply(all)
	if !r.Equal(ruleset.New()) || r.String() != "" {
		t.Errorf("left is\n%s", r)
	}
}
