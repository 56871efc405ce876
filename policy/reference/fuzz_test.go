package reference_test

import (
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/saguard/saguard/policy/reference"
)

// No text makes it panic, no reference is without a field, and what mentions accounts in a condition of its own is never
// without a reference.
func FuzzCreated(f *testing.F) {
	f.Add("role == 'a'", "pcsa.role != 'b'", "projectcalico.org/name in {'a'}", "web", "has(x)")
	f.Add("all()", "!!(pcsa.a == 'b' || all())", "!(projectcalico.org/name != 'a')", "x' } || all() || a in {'y", "")
	f.Add("a in {}", "projectcalico.org/serviceaccount starts with ''", "global()", "", "role")
	f.Add("((((", "pcsa.", "\x00", "\xff'", "!all()")
	f.Fuzz(func(t *testing.T, accountSelector, plain, namespaces, name, subject string) {
		e := v3.EntityRule{
			Selector: plain, NotSelector: plain, NamespaceSelector: namespaces,
			ServiceAccounts: accounts(accountSelector, name),
		}
		for _, refs := range [][]reference.Reference{
			reference.Created(reference.Read(allowFrom(e), "prod")),
			reference.Created(reference.Read(globalFrom(e), "")),
			reference.Created(reference.Read(global(v3.GlobalNetworkPolicySpec{Selector: plain, ServiceAccountSelector: subject, NamespaceSelector: namespaces}), "")),
		} {
			for _, r := range refs {
				if r.Field == nil || r.Places < 1 || r.String() == "" {
					t.Errorf("reference %+v", r)
				}
			}
		}
		if refs := reference.Created(reference.Read(allowFrom(v3.EntityRule{ServiceAccounts: accounts("", name)}), "prod")); len(refs) != 1 {
			t.Errorf("the name %q gives %d references", name, len(refs))
		}
	})
}
