package authz_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz"
)

func TestProxiesThatMayAsk(t *testing.T) {
	p, err := authz.ParseProxies([]string{
		"spiffe://cluster.local/ns/prod/sa/gateway", "spiffe://cluster.local/ns/mesh/sa/*", "spiffe://other.example/*", "proxy.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		uris, names []string
		want        bool
	}{
		"the very ID":                             {uris: []string{"spiffe://cluster.local/ns/prod/sa/gateway"}, want: true},
		"an ID below it":                          {uris: []string{"spiffe://cluster.local/ns/prod/sa/gateway/x"}},
		"an ID that only begins like it":          {uris: []string{"spiffe://cluster.local/ns/prod/sa/gateway2"}},
		"the ID in another case":                  {uris: []string{"spiffe://cluster.local/ns/prod/sa/Gateway"}},
		"the same path in another trust domain":   {uris: []string{"spiffe://evil.example/ns/prod/sa/gateway"}},
		"an ID below a wildcard":                  {uris: []string{"spiffe://cluster.local/ns/mesh/sa/any"}, want: true},
		"an ID further below":                     {uris: []string{"spiffe://cluster.local/ns/mesh/sa/any/more"}, want: true},
		"the wildcard's own parent":               {uris: []string{"spiffe://cluster.local/ns/mesh/sa"}},
		"a neighbour of the wildcard":             {uris: []string{"spiffe://cluster.local/ns/mesh/sa-x/any"}},
		"another namespace":                       {uris: []string{"spiffe://cluster.local/ns/mesh2/sa/any"}},
		"any ID of a trust domain":                {uris: []string{"spiffe://other.example/x"}, want: true},
		"a trust domain that only begins like it": {uris: []string{"spiffe://other.example.evil/x"}},
		"the trust domain itself":                 {uris: []string{"spiffe://other.example"}},
		"two URIs, one of them allowed":           {uris: []string{"spiffe://cluster.local/ns/prod/sa/gateway", "spiffe://cluster.local/ns/prod/sa/web"}},
		"not a SPIFFE ID":                         {uris: []string{"https://cluster.local/ns/prod/sa/gateway"}},
		"a SPIFFE ID with a query":                {uris: []string{"spiffe://cluster.local/ns/prod/sa/gateway?x"}},
		"a path with dots":                        {uris: []string{"spiffe://cluster.local/ns/mesh/sa/../../prod/sa/web"}},
		"the DNS name":                            {names: []string{"proxy.example.com"}, want: true},
		"the DNS name among others":               {names: []string{"a.example.com", "Proxy.Example.Com"}, want: true},
		"the DNS name beside a foreign URI":       {names: []string{"proxy.example.com"}, uris: []string{"spiffe://evil.example/x"}, want: true},
		"a subdomain":                             {names: []string{"x.proxy.example.com"}},
		"a certificate with a wildcard":           {names: []string{"*.example.com"}},
		"a certificate without names":             {},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &x509.Certificate{DNSNames: tc.names}
			for _, text := range tc.uris {
				uri, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				c.URIs = append(c.URIs, uri)
			}
			if got := p.Allow(c); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if (&authz.Proxies{}).Allow(c) || (*authz.Proxies)(nil).Allow(c) {
				t.Error("no proxy is named, and this one may ask")
			}
		})
	}
	if p.Allow(nil) {
		t.Error("no certificate may ask")
	}
	if p.Allow(&x509.Certificate{Subject: pkix.Name{CommonName: "proxy.example.com"}}) {
		t.Error("a common name counts")
	}
}

func TestIdentitiesOfProxiesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "DNS name", "*.example.com": "DNS name", "Proxy.example.com": "DNS name", "https://x": "DNS name", "cluster.local/ns/a/sa/b": "DNS name",
		"spiffe://cluster.local": "nobody's identity", "spiffe://": "trust domain", "spiffe://Cluster.local/x": "trust domain", "spiffe://*/x": "trust domain",
		"spiffe://cluster.local/ns/*/sa/x": "path segment", "spiffe://cluster.local/x*": "path segment", "spiffe://cluster.local/x/": "path", "spiffe://cluster.local//*": "path",
	} {
		if _, err := authz.ParseProxies([]string{"proxy.example.com", text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := authz.ParseProxies(nil); err == nil || !strings.Contains(err.Error(), "required") {
		t.Errorf("no proxies: got %v", err)
	}
}

func FuzzParseProxies(f *testing.F) {
	for _, seed := range []string{"", "a.b", "spiffe://a/b", "spiffe://a/*", "spiffe://a/b/*", "spiffe://a//*", "spiffe://*", "spiffe://a/b?c#d", "*", "\x00"} {
		f.Add(seed, "spiffe://a/b")
	}
	f.Fuzz(func(t *testing.T, text, asks string) {
		p, err := authz.ParseProxies([]string{text})
		if err != nil {
			return
		}
		uri, err := url.Parse(asks)
		if err != nil {
			return
		}
		parent, wildcard := strings.CutSuffix(text, "*")
		if p.Allow(&x509.Certificate{URIs: []*url.URL{uri}}) && uri.String() != text && !(wildcard && strings.HasPrefix(uri.String(), parent)) {
			t.Errorf("%q lets %q ask", text, asks)
		}
		if p.Allow(&x509.Certificate{URIs: []*url.URL{uri, uri}}) {
			t.Errorf("two URIs may ask")
		}
	})
}
