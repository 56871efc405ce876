package rotation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func verifyAs(g *Generation, name string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(g.CA())
	_, err := g.Certificate().Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
	return err
}

func TestGeneration(t *testing.T) {
	names, err := ParseNames([]string{"b.svc", "10.0.0.7", "a.svc", "fd00::7", "b.svc"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGeneration(testNow, time.Hour, names)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a.svc": true, "b.svc": true, "10.0.0.7": true, "fd00::7": true, "c.svc": false, "10.0.0.8": false} {
		if err := verifyAs(g, name, testNow); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at, want := range map[time.Time]bool{
		testNow.Add(-time.Hour): true, testNow.Add(-time.Hour - time.Second): false, testNow.Add(time.Hour): true, testNow.Add(time.Hour + time.Second): false,
	} {
		if err := verifyAs(g, "a.svc", at); (err == nil) != want || g.usable(at, names) != want {
			t.Errorf("at %s: %v; usable %v", at, err, g.usable(at, names))
		}
	}
	if g.usable(testNow, Names{DNS: []string{"c.svc"}}) || g.usable(testNow, Names{IPs: []net.IP{net.IPv4(10, 0, 0, 8)}}) {
		t.Error("usable for a name that it has not")
	}
	ca, leaf := g.CA(), g.Certificate().Leaf
	if !ca.IsCA || !ca.MaxPathLenZero || ca.MaxPathLen != 0 || ca.KeyUsage != x509.KeyUsageCertSign || leaf.IsCA {
		t.Errorf("CA %+v", ca)
	}
	if !ca.PermittedDNSDomainsCritical || !slices.Equal(ca.PermittedDNSDomains, names.DNS) || len(ca.PermittedIPRanges) != 2 {
		t.Errorf("the CA is trusted for %v, %v", ca.PermittedDNSDomains, ca.PermittedIPRanges)
	}
	for _, c := range []*x509.Certificate{ca, leaf} {
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Params().Name != "P-256" {
			t.Errorf("key %T", c.PublicKey)
		}
	}
	if other := made(t, 0, names); other.Fingerprint() == g.Fingerprint() || other.CA().Subject.String() == ca.Subject.String() || other.Serial() == g.Serial() {
		t.Error("two generations share a CA, a name or a serial number")
	}
	for bad, names := range map[string][]string{"no name": nil, "addresses only": {"10.0.0.7"}, "an underscore": {"a_b"}, "a wildcard": {"*.svc"}, "empty": {""}} {
		if n, err := ParseNames(names); err == nil {
			t.Errorf("%s: %v", bad, n)
		}
	}
	if _, err := NewGeneration(testNow, time.Hour, Names{IPs: []net.IP{net.IPv4(10, 0, 0, 7)}}); err == nil {
		t.Error("a generation without a DNS name")
	}
}

// TestCAIsTrustedForNothingElse: who has the key of a CA, which nobody has, could sign for these names only.
func TestCAIsTrustedForNothingElse(t *testing.T) {
	g := made(t, 0, testNames)
	if len(g.CA().ExcludedIPRanges) != 2 {
		t.Errorf("without addresses, the CA excludes %v", g.CA().ExcludedIPRanges)
	}
	store := Store{Current: g, Next: made(t, 0, testNames)}
	for key, text := range store.Encode() {
		if strings.HasSuffix(key, "ca.crt") && bytes.Contains(text, []byte("PRIVATE")) {
			t.Errorf("%s holds a key", key)
		}
	}
	if n := strings.Count(string(bytes.Join(slices.Collect(maps.Values(store.Encode())), nil)), "PRIVATE KEY-----\n"); n != 4 {
		t.Errorf("%d lines about private keys, want 4: two certificates', no CA's", n)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	g := made(t, 0, testNames)
	secret := strings.Split(string(g.keyPEM), "\n")[1]
	text, err := json.Marshal(map[string]any{"g": g})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v %s %d %x %q", g, g, g, g, g, g, g), fmt.Sprintf("%+v", Store{Current: g}), fmt.Sprintf("%#v", Plan{Serve: g}),
		string(text), fmt.Sprint(g.MarshalLog()),
	} {
		if strings.Contains(shown, secret) || strings.Contains(shown, "PRIVATE") || strings.Contains(shown, fmt.Sprintf("%d", g.keyPEM[:20])) {
			t.Errorf("printed: %s", shown)
		}
	}
	if got := (*Generation)(nil).String(); got != "no certificate" {
		t.Error(got)
	}
}

func TestStoreIsReadBack(t *testing.T) {
	a, b, c := made(t, 2*time.Hour, testNames), made(t, time.Hour, testNames), made(t, 0, testNames)
	full := Store{Current: b, Next: c, Retired: cas(a)}
	data := full.Encode()
	if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, slices.Sorted(slices.Values(Keys()))) {
		t.Errorf("keys %v, want %v", got, Keys())
	}
	got := DecodeStore(data)
	if !got.Current.Same(b) || !got.Next.Same(c) || len(got.Retired) != 1 || !got.Retired[0].Equal(a.CA()) || got.Damaged {
		t.Errorf("%+v", got)
	}
	if empty := DecodeStore(nil); empty.Current != nil || empty.Next != nil || empty.Damaged || len((&Store{}).Encode()) != 0 {
		t.Errorf("%+v", empty)
	}
	swap := func(change func(map[string][]byte)) Store {
		d := maps.Clone(data)
		change(d)
		return DecodeStore(d)
	}
	for name, change := range map[string]func(map[string][]byte){
		"without its key":            func(d map[string][]byte) { delete(d, "tls.key") },
		"with another's key":         func(d map[string][]byte) { d["tls.key"] = d["next.key"] },
		"with another's CA":          func(d map[string][]byte) { d["ca.crt"] = d["next-ca.crt"] },
		"with two CAs":               func(d map[string][]byte) { d["ca.crt"] = append(bytes.Clone(d["ca.crt"]), d["next-ca.crt"]...) },
		"with a certificate as CA":   func(d map[string][]byte) { d["ca.crt"] = d["tls.crt"] },
		"with a CA as certificate":   func(d map[string][]byte) { d["tls.crt"] = d["ca.crt"] },
		"with something after it":    func(d map[string][]byte) { d["ca.crt"] = append(bytes.Clone(d["ca.crt"]), "x"...) },
		"with a chain":               func(d map[string][]byte) { d["tls.crt"] = append(bytes.Clone(d["tls.crt"]), d["ca.crt"]...) },
		"half of which is cut off":   func(d map[string][]byte) { d["tls.crt"] = d["tls.crt"][:100] },
		"of which nothing is a text": func(d map[string][]byte) { d["tls.crt"], d["tls.key"], d["ca.crt"] = []byte{0}, []byte{0}, []byte{0} },
	} {
		s := swap(change)
		if s.Current != nil || !s.Damaged || !s.Next.Same(c) {
			t.Errorf("a generation %s: %+v", name, s)
		}
	}
	// Replicas hold what was lost, and its CA has to stay trusted.
	if s := swap(func(d map[string][]byte) { delete(d, "tls.key") }); !slices.ContainsFunc(s.Retired, b.CA().Equal) {
		t.Error("the CA of a generation whose key was lost is forgotten")
	}
}

func TestBundleRepaired(t *testing.T) {
	a, foreign, longExpired := made(t, time.Hour, testNames), made(t, 0, testNames), made(t, 91*time.Hour, testNames)
	many := []*x509.Certificate{}
	for i := range maxForeign + 2 {
		many = append(many, made(t, time.Duration(i)*time.Minute, testNames).CA())
	}
	for name, tc := range map[string]struct{ have, want []*x509.Certificate }{
		"complete":                       {cas(foreign, a), cas(foreign, a)},
		"lacks what is wanted":           {cas(foreign), cas(foreign, a)},
		"empty":                          {nil, cas(a)},
		"holds what has expired":         {cas(longExpired, a, foreign), cas(a, foreign)},
		"too many, of which the old go":  {many, append(slices.Clone(many[:maxForeign]), a.CA())},
		"too many beside what is wanted": {append(cas(a), many...), append(cas(a), many[:maxForeign]...)},
	} {
		t.Run(name, func(t *testing.T) {
			b := Bundle{CAs: tc.have}
			if got := b.repaired(cas(a), testNow, testTerms.Settle); !slices.EqualFunc(got, tc.want, (*x509.Certificate).Equal) {
				t.Errorf("%d CAs, want %d", len(got), len(tc.want))
			}
		})
	}
}

func TestTerms(t *testing.T) {
	for name, tc := range map[string]struct {
		terms Terms
		ok    bool
	}{
		"in order":                     {Terms{Validity: 3 * time.Hour, RenewBefore: time.Hour, Settle: time.Minute}, true},
		"no settling":                  {Terms{Validity: 3 * time.Hour, RenewBefore: time.Hour}, false},
		"renewed while others settle":  {Terms{Validity: 3 * time.Hour, RenewBefore: time.Hour, Settle: 31 * time.Minute}, false},
		"renewed before it was made":   {Terms{Validity: time.Hour, RenewBefore: time.Hour, Settle: time.Minute}, false},
		"renewed right after its time": {Terms{Validity: time.Hour + 1, RenewBefore: time.Hour, Settle: 30 * time.Minute}, true},
	} {
		if err := tc.terms.Check(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeStore: whatever is in the Secret, what is read is read back the same, and can be decided on.
func FuzzDecodeStore(f *testing.F) {
	g, err := NewGeneration(testNow, testTerms.Validity, testNames)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(g.caPEM, g.certPEM, g.keyPEM, g.caPEM)
	f.Add(g.certPEM, g.caPEM, g.keyPEM, []byte("x"))
	f.Add([]byte(nil), []byte(nil), []byte(nil), []byte(nil))
	f.Add(append(bytes.Clone(g.caPEM), g.caPEM...), g.certPEM, g.keyPEM, bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 3))
	f.Fuzz(func(t *testing.T, ca, cert, key, retired []byte) {
		s := DecodeStore(map[string][]byte{keyCA: ca, keyCert: cert, keyKey: key, keyNextCA: cert, keyNextCert: ca, keyNextKey: key, keyRetired: retired})
		again := DecodeStore(s.Encode())
		if again.Damaged || !again.Current.Same(s.Current) || !again.Next.Same(s.Next) || len(again.Retired) != len(s.Retired) {
			t.Errorf("%+v, read back %+v", s, again)
		}
		b := ParseBundle("w", retired)
		wanted := b.repaired(s.Retired, testNow, testTerms.Settle)
		if got, rest := parseCAs(encodeCAs(wanted)); rest || len(got) != len(wanted) {
			t.Errorf("a caBundle of %d CAs reads as %d", len(wanted), len(got))
		}
	})
}
