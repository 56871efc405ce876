package authz

import (
	"strings"
	"testing"
)

func TestPrincipals(t *testing.T) {
	c, err := NewConfig(ConfigOptions{TrustDomains: []string{"cluster.local", "td.example"}})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		in, want string
		why      Reason
	}{
		"an account":                      {in: "spiffe://cluster.local/ns/prod/sa/web", want: "prod/web"},
		"another pinned domain":           {in: "spiffe://td.example/ns/prod/sa/web", want: "prod/web"},
		"a name with dots":                {in: "spiffe://cluster.local/ns/prod/sa/build.bot", want: "prod/build.bot"},
		"a foreign domain":                {in: "spiffe://evil.example/ns/prod/sa/web", why: ReasonForeignIdentity},
		"a domain below":                  {in: "spiffe://a.cluster.local/ns/prod/sa/web", why: ReasonForeignIdentity},
		"a domain with a port":            {in: "spiffe://cluster.local:80/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"a domain in upper case":          {in: "spiffe://CLUSTER.LOCAL/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"a domain with a user":            {in: "spiffe://x@cluster.local/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"no domain":                       {in: "spiffe:///ns/prod/sa/web", why: ReasonMalformedIdentity},
		"upper case scheme":               {in: "SPIFFE://cluster.local/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"another scheme":                  {in: "https://cluster.local/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"upper case path":                 {in: "spiffe://cluster.local/NS/prod/SA/web", why: ReasonMalformedIdentity},
		"the other way round":             {in: "spiffe://cluster.local/sa/web/ns/prod", why: ReasonMalformedIdentity},
		"one more segment":                {in: "spiffe://cluster.local/ns/prod/sa/web/x", why: ReasonMalformedIdentity},
		"one segment before":              {in: "spiffe://cluster.local/x/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"a segment between":               {in: "spiffe://cluster.local/ns/prod/x/sa/web", why: ReasonMalformedIdentity},
		"no name":                         {in: "spiffe://cluster.local/ns/prod/sa/", why: ReasonMalformedIdentity},
		"no namespace":                    {in: "spiffe://cluster.local/ns//sa/web", why: ReasonMalformedIdentity},
		"a slash at the end":              {in: "spiffe://cluster.local/ns/prod/sa/web/", why: ReasonMalformedIdentity},
		"a query":                         {in: "spiffe://cluster.local/ns/prod/sa/web?x", why: ReasonMalformedIdentity},
		"a fragment":                      {in: "spiffe://cluster.local/ns/prod/sa/web#x", why: ReasonMalformedIdentity},
		"an escape":                       {in: "spiffe://cluster.local/ns/prod/sa/w%65b", why: ReasonMalformedIdentity},
		"dots":                            {in: "spiffe://cluster.local/ns/prod/sa/../sa/web", why: ReasonMalformedIdentity},
		"a name that no account can have": {in: "spiffe://cluster.local/ns/prod/sa/Web", why: ReasonMalformedIdentity},
		"a namespace that cannot be":      {in: "spiffe://cluster.local/ns/a.b/sa/web", why: ReasonMalformedIdentity},
		"a blank before":                  {in: " spiffe://cluster.local/ns/prod/sa/web", why: ReasonMalformedIdentity},
		"a line break after":              {in: "spiffe://cluster.local/ns/prod/sa/web\n", why: ReasonMalformedIdentity},
		"a user name":                     {in: "system:serviceaccount:prod:web", why: ReasonMalformedIdentity},
		"a subject":                       {in: "CN=web", why: ReasonMalformedIdentity},
		"two IDs":                         {in: "spiffe://cluster.local/ns/prod/sa/web,spiffe://cluster.local/ns/prod/sa/db", why: ReasonMalformedIdentity},
		"too long":                        {in: "spiffe://cluster.local/ns/prod/sa/" + strings.Repeat("a", maxPrincipal), why: ReasonMalformedIdentity},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := c.cryptographic(tc.in)
			account, ok := got.Get()
			if ok != (tc.want != "") || ok && account.String() != tc.want || Reason(got.WhyUnknown()) != tc.why || got.IsAbsent() {
				t.Errorf("got %v, want %q or %q", got, tc.want, tc.why)
			}
		})
	}
	if !c.cryptographic("").IsAbsent() {
		t.Error("no principal is no identity")
	}
	if got := (&Config{}).cryptographic("spiffe://cluster.local/ns/prod/sa/web"); Reason(got.WhyUnknown()) != ReasonForeignIdentity {
		t.Errorf("without pinned domains: got %v", got)
	}
}

// Every byte in every place of an identity: it stays that identity, or another account, or is refused; never the same by
// another spelling.
func TestNoOtherSpellingOfAnIdentity(t *testing.T) {
	c, err := NewConfig(ConfigOptions{TrustDomains: []string{"cluster.local"}})
	if err != nil {
		t.Fatal(err)
	}
	const id = "spiffe://cluster.local/ns/prod/sa/web"
	for i := range len(id) + 1 {
		for b := range 256 {
			for _, other := range []string{id[:i] + string([]byte{byte(b)}) + id[i:], id[:i] + string([]byte{byte(b)}) + id[min(i+1, len(id)):]} {
				if other == id {
					continue
				}
				if account, ok := c.cryptographic(other).Get(); ok && account.String() == "prod/web" {
					t.Errorf("%q reads as prod/web", other)
				}
			}
		}
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	cases := map[string]struct {
		o    ConfigOptions
		want string
	}{
		"no trust domain":        {o: ConfigOptions{}, want: "at least one trust domain"},
		"not a trust domain":     {o: ConfigOptions{TrustDomains: []string{"Cluster Local"}}, want: "Cluster Local"},
		"an ID":                  {o: ConfigOptions{TrustDomains: []string{"spiffe://cluster.local"}}, want: "want the name alone"},
		"an empty one":           {o: ConfigOptions{TrustDomains: []string{""}}, want: "trust domain"},
		"a pattern of namespace": {o: ConfigOptions{TrustDomains: []string{"a"}, PlaintextNamespaces: []string{"*"}}, want: "plaintext namespace"},
		"an empty namespace":     {o: ConfigOptions{TrustDomains: []string{"a"}, PlaintextNamespaces: []string{""}}, want: "plaintext namespace"},
		"two errors":             {o: ConfigOptions{TrustDomains: []string{"A B"}, PlaintextNamespaces: []string{"C D"}}, want: "C D"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := NewConfig(tc.o)
			if c != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want %q", c, err, tc.want)
			}
		})
	}
}
