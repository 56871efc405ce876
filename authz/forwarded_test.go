package authz

import (
	"strings"
	"testing"
)

func TestForwardedURI(t *testing.T) {
	const id = "spiffe://cluster.local/ns/a/sa/b"
	cases := map[string]struct{ in, want string }{
		"alone":                        {in: "URI=" + id, want: id},
		"as Envoy sends it":            {in: `By=spiffe://cluster.local/ns/x/sa/y;Hash=00ff;Subject="CN=b,O=x;y";URI=` + id, want: id},
		"quoted":                       {in: `URI="` + id + `"`, want: id},
		"lower case":                   {in: "uri=" + id, want: id},
		"other names after it":         {in: "URI=" + id + ";DNS=b.example", want: id},
		"a comma in quotes":            {in: `Subject="O=a,b";URI=` + id, want: id},
		"an escaped quote":             {in: `Subject="O=\",URI=x";URI=` + id, want: id},
		"a certificate in quotes":      {in: `Cert="-----BEGIN%20";URI=` + id, want: id},
		"two elements":                 {in: "URI=" + id + ",URI=" + id, want: notOne},
		"an element before it":         {in: "By=x,URI=" + id, want: notOne},
		"an empty element":             {in: ",URI=" + id, want: notOne},
		"an empty element after it":    {in: "URI=" + id + ",", want: notOne},
		"two URIs":                     {in: "URI=" + id + ";URI=spiffe://x/y", want: notOne},
		"no URI":                       {in: "By=x;Hash=y", want: notOne},
		"an empty URI":                 {in: "URI=", want: notOne},
		"an empty URI in quotes":       {in: `URI=""`, want: notOne},
		"a URI in another's quotes":    {in: `Subject=";URI=` + id + `"`, want: notOne},
		"an open quote":                {in: `URI="` + id, want: notOne},
		"an open quote before":         {in: `Subject="x;URI=` + id, want: notOne},
		"a quote in the middle":        {in: `URI=` + id + `"x"`, want: notOne},
		"an escape in the URI":         {in: `URI="spiffe:\//x"`, want: notOne},
		"no key":                       {in: id, want: notOne},
		"a semicolon at the end":       {in: "URI=" + id + ";", want: notOne},
		"a key that only looks like":   {in: "XURI=" + id, want: notOne},
		"longer than a header can be":  {in: "Cert=" + strings.Repeat("x", maxForwarded) + ";URI=" + id, want: notOne},
		"nothing but punctuation":      {in: `;;;`, want: notOne},
		"a backslash outside of quote": {in: `By=\;URI=` + id, want: id},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := forwardedURI(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestForwardedCertCountsOnlyWhereSomebodyVouchesForIt(t *testing.T) {
	const own, forwarded = "spiffe://cluster.local/ns/a/sa/own", "spiffe://cluster.local/ns/a/sa/b"
	header := map[string]string{HeaderForwardedClientCert: "URI=" + forwarded}
	cases := map[string]struct {
		sanitised bool
		request   Request
		want      string
	}{
		"not sanitised": {request: Request{HTTP: &HTTP{Headers: header}}, want: ""},
		"sanitised":     {sanitised: true, request: Request{HTTP: &HTTP{Headers: header}}, want: forwarded},
		"the connection's own identity goes first": {sanitised: true, request: Request{Source: Peer{Principal: own}, HTTP: &HTTP{Headers: header}}, want: own},
		"no header":       {sanitised: true, request: Request{HTTP: &HTTP{}}, want: ""},
		"an empty header": {sanitised: true, request: Request{HTTP: &HTTP{Headers: map[string]string{HeaderForwardedClientCert: ""}}}, want: ""},
		"no HTTP":         {sanitised: true, request: Request{}, want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := NewConfig(ConfigOptions{TrustDomains: []string{"cluster.local"}, ForwardedClientCert: tc.sanitised})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.principal(&tc.request); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzForwardedURI: whatever is accepted stands in the header as one value, and is a URI without quotes.
func FuzzForwardedURI(f *testing.F) {
	for _, seed := range []string{"URI=a", `Subject="a;b";URI="c"`, "URI=a,URI=b", `"`, `\`, ";", "=", `URI="\"`, "By=a;uri=b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := forwardedURI(in)
		if got == notOne {
			return
		}
		if got == "" || strings.ContainsAny(got, `"\`) || !strings.Contains(strings.ToLower(in), "uri") || !strings.Contains(in, got) {
			t.Fatalf("%q gives %q", in, got)
		}
	})
}
