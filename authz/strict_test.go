package authz_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

func config(t testing.TB, o authz.ConfigOptions) *authz.Config {
	t.Helper()
	if o.TrustDomains == nil {
		o.TrustDomains = []string{"cluster.local"}
	}
	c, err := authz.NewConfig(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rowIDs() []string {
	var ids []string
	for _, d := range authz.Differences() {
		ids = append(ids, d.ID)
	}
	return ids
}

// Every decision in which strict semantics part from Calico's is explained by a row of one of the two tables, and no
// spoofed, absent, foreign or malformed identity gets through.
func TestStrictDifferencesAreTheDocumentedOnes(t *testing.T) {
	bad := []string{
		"spoofed-principal", "no-principal", "malformed-principal", "unknown-sa-principal", "foreign-trust-domain",
		"foreign-address", "no-address", "bad-address", "spoofed-dst-principal", "malformed-dst-principal",
	}
	c := config(t, authz.ConfigOptions{})
	byRow, same := map[string]int{}, 0
	for _, sc := range corpus(t) {
		calico, strict := sc.snapshot(t, policy.Calico), sc.snapshot(t, policy.Strict)
		for i := range sc.Checks {
			k := &sc.Checks[i]
			d := authz.Decide(strict, c, k.server(), &k.Request)
			says := func(s *policy.Snapshot, r authz.Request) string {
				d := authz.Decide(s, c, k.server(), &r)
				return d.Code()
			}
			tagged := slices.ContainsFunc(k.Tags, func(tag string) bool { return slices.Contains(bad, tag) })
			switch {
			case d.Code() == "OK" && k.Decision != "OK":
				t.Errorf("%s check %d: strict allows what Calico refuses with %s", sc.Name, i, k.Decision)
			case d.Code() == "OK" && tagged && !sameAccount(strict, k):
				t.Errorf("%s check %d %v: strict allows it", sc.Name, i, k.Tags)
			case d.Code() == k.Decision:
				same++
			case slices.Contains(rowIDs(), string(d.Reason)):
				byRow[string(d.Reason)]++
			case k.Request.HTTP == nil && k.Decision == "OK":
				// With the rules that have http taken out, Calico refuses as well: it was one of them that let this in.
				if got := says(withoutHTTP(calico), k.Request); got != d.Code() {
					t.Errorf("%s check %d %v: strict says %s (%s), Calico %s without http rules", sc.Name, i, k.Tags, d.Code(), d.Reason, got)
				}
				byRow["no-http"]++
			default:
				explained := ""
				for _, row := range policy.Differences() {
					if p := authz.Predict(sc.snapshot(t, policy.StrictOnly(row)), k.server(), &k.Request); p.Code() == d.Code() {
						explained += " policy:" + row.ID
					}
				}
				without := *calico
				without.NetworkSets = nil
				if says(&without, k.Request) == d.Code() {
					explained += " namespace-by-network-set"
				}
				if explained == "" {
					t.Errorf("%s check %d %v: strict says %s (%s), Calico %s, and no row explains it", sc.Name, i, k.Tags, d.Code(), d.Reason, k.Decision)
				}
				byRow[strings.TrimSpace(explained)]++
			}
		}
	}
	var lines []string
	for row, n := range byRow {
		lines = append(lines, fmt.Sprintf("%5d checks differ by %s", n, row))
	}
	slices.Sort(lines)
	t.Logf("%d the same\n%s", same, strings.Join(lines, "\n"))
	for _, row := range []authz.Reason{authz.ReasonNoIdentity, authz.ReasonMalformedIdentity, authz.ReasonForeignIdentity, authz.ReasonMismatch, authz.ReasonUnknownAddress, authz.ReasonDestinationIdentity, "no-http"} {
		if byRow[string(row)] == 0 {
			t.Errorf("no check of the corpus differs by %s: the strict semantics are not at work", row)
		}
	}
}

// sameAccount reports whether the spoofed principal of the server's end names the server's own account all the same: another
// pod of that account has it too.
func sameAccount(s *policy.Snapshot, k *check) bool {
	server := k.server()
	account := s.Workload(server.Namespace, server.Name).Account
	return k.Request.Destination.Principal == "spiffe://cluster.local/ns/"+account.Namespace()+"/sa/"+account.Name()
}

// withoutHTTP leaves out the rules that have an http match.
func withoutHTTP(s *policy.Snapshot) *policy.Snapshot {
	out := *s
	out.Tiers = nil
	for _, tier := range s.Tiers {
		var policies []*policy.Policy
		for _, p := range tier.Policies {
			q := *p
			q.Ingress = slices.DeleteFunc(slices.Clone(p.Ingress), func(r policy.Rule) bool { return r.HTTP != nil })
			policies = append(policies, &q)
		}
		out.Tiers = append(out.Tiers, policy.OrderedTier{Tier: tier.Tier, Policies: policies})
	}
	return &out
}

func TestMemoryDecidesAsDecideDoes(t *testing.T) {
	var memory authz.Memory // one for all scenarios: each snapshot makes it forget the last
	for _, plaintext := range []bool{false, true} {
		for _, sc := range corpus(t) {
			s := sc.snapshot(t, policy.Strict)
			o := authz.ConfigOptions{TrustDomains: []string{"cluster.local", "td.example.com", "evil.example"}}
			if plaintext {
				for i := range sc.Checks {
					o.PlaintextNamespaces = append(o.PlaintextNamespaces, sc.Checks[i].server().Namespace)
				}
			}
			c := config(t, o)
			for range 2 {
				for i := range sc.Checks {
					k := &sc.Checks[i]
					want, got := authz.Decide(s, c, k.server(), &k.Request), memory.Decide(s, c, k.server(), &k.Request)
					if got != want {
						t.Fatalf("%s check %d: got %+v, want %+v", sc.Name, i, got, want)
					}
				}
			}
		}
	}
}

func TestDifferencesAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range authz.Differences() {
		if d.ID == "" || d.Input == "" || d.Calico == "" || d.Strict == "" || d.Why == "" || seen[d.ID] {
			t.Errorf("row %+v: incomplete, or its ID is not unique", d)
		}
		seen[d.ID] = true
	}
	for _, d := range policy.Differences() {
		if seen[d.ID] {
			// policy has a row of that name for the packet path; both say the same of the same input.
			if d.ID != string(authz.ReasonSharedAddress) {
				t.Errorf("row %s is in both tables", d.ID)
			}
		}
	}
}

// Every pair of pods of every scenario, honest in both factors: strict semantics allow nothing that Calico refuses.
func TestHonestRequestsGoNoFurtherThanInCalico(t *testing.T) {
	c := config(t, authz.ConfigOptions{})
	same, stricter := 0, 0
	for _, sc := range corpus(t) {
		calico, strict := sc.snapshot(t, policy.Calico), sc.snapshot(t, policy.Strict)
		for _, from := range strict.Workloads {
			for _, to := range strict.Workloads {
				for i := range min(6, len(sc.Checks)) {
					r := authz.Request{
						Source:      authz.Peer{Address: from.Addresses[0].String(), Port: 40000, Principal: "spiffe://cluster.local/ns/" + from.Account.Namespace() + "/sa/" + from.Account.Name()},
						Destination: authz.Peer{Address: to.Addresses[0].String(), Port: sc.Checks[i].Request.Destination.Port, Principal: "spiffe://cluster.local/ns/" + to.Account.Namespace() + "/sa/" + to.Account.Name()},
						HTTP:        sc.Checks[i].Request.HTTP,
					}
					if i%2 == 1 {
						r.Destination.Principal = ""
					}
					name := authz.ServerName{Namespace: to.Namespace, Name: to.Name}
					s, p := authz.Decide(strict, c, name, &r), authz.Decide(calico, c, name, &r)
					switch {
					case s.Code() == p.Code():
						same++
					case s.Code() == "OK":
						t.Errorf("%s, %s to %s, http of check %d: strict allows (%s %s %d), Calico says %s (%s %s %d)", sc.Name, from.Ref(), to.Ref(), i,
							s.Tier, s.Policy, s.Rule, p.Code(), p.Tier, p.Policy, p.Rule)
					default:
						stricter++
					}
				}
			}
		}
	}
	t.Logf("%d the same, %d stricter", same, stricter)
	if same < 1000 {
		t.Error("too few requests to prove anything")
	}
}
