package authz_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

// FuzzDecide: whatever a request holds, nothing panics; nothing but the one pod with its own certificate and a path below
// /public is allowed; and strict semantics allow nothing that the prediction for Calico refuses.
func FuzzDecide(f *testing.F) {
	docs := strings.Replace(people, "RULE", `{action: Allow, http: {methods: [GET], paths: [{prefix: /public}]}, source: {serviceAccounts: {names: [client]}}}`, 1)
	strict, calico := documents(f, policy.Strict, docs), documents(f, policy.Calico, docs)
	c := config(f, authz.ConfigOptions{})
	for _, seed := range []string{
		`{"source":{"address":"10.0.0.1","port":1,"principal":"spiffe://cluster.local/ns/a/sa/client"},"destination":{"address":"10.0.0.9","port":80},"http":{"method":"GET","path":"/public/x"}}`,
		`{"source":{"address":"::ffff:10.0.0.1","principal":"spiffe://cluster.local/ns/a/sa/client"},"destination":{"address":"::ffff:10.0.0.9"},"http":{"method":"GET","path":"/public/%2e%2e/admin"}}`,
		`{"source":{"address":"10.0.0.2","principal":"spiffe://cluster.local/ns/a/sa/client"},"destination":{"address":"10.0.0.9"},"http":{"method":"GET","path":"/public/%252e%252e"}}`,
		`{"source":{},"destination":{"address":"10.0.0.9","protocol":"UDP"},"http":{}}`,
		`{"destination":{"address":"10.0.0.9","port":4294967295},"http":{"method":"*","path":"*","headers":{"x-forwarded-client-cert":"URI=spiffe://cluster.local/ns/a/sa/client"}}}`,
		`{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r authz.Request
		if json.Unmarshal(raw, &r) != nil {
			return
		}
		d := authz.Decide(strict, c, authz.ServerName{}, &r)
		predicted := authz.Decide(calico, c, authz.ServerName{}, &r)
		if d.Code() != "OK" {
			return
		}
		if predicted.Code() != "OK" {
			t.Errorf("strict allows what Calico answers with %s: %s", predicted.Code(), raw)
		}
		source, err := netip.ParseAddr(r.Source.Address)
		if err != nil || source.Unmap() != netip.MustParseAddr("10.0.0.1") || r.Source.Principal != "spiffe://cluster.local/ns/a/sa/client" ||
			r.HTTP == nil || r.HTTP.Method != "GET" || !strings.Contains(r.HTTP.Path, "p") {
			t.Errorf("allowed: %s", raw)
		}
	})
}
