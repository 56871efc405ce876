package extauthz_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
	"github.com/saguard/saguard/policy"
)

func TestHostileRequestsAreNeverAllowed(t *testing.T) {
	r := start(t, nil)
	headers := map[string]string{}
	for i := range 10000 {
		headers[fmt.Sprintf("x-%d", i)] = "v"
	}
	headers["x-forwarded-client-cert"] = "URI=" + idWeb
	manyHeaders := request("10.0.0.1", "", server, "GET", "/public")
	manyHeaders.Attributes.Request.Http.Headers = headers
	rawHeaders := request("10.0.0.1", "", server, "GET", "/public")
	rawHeaders.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{}
	for range 10000 {
		rawHeaders.Attributes.Request.Http.HeaderMap.Headers = append(rawHeaders.Attributes.Request.Http.HeaderMap.Headers,
			&corev3.HeaderValue{Key: "X-Forwarded-Client-Cert", RawValue: []byte("URI=" + idWeb)})
	}
	invalid := allowed()
	invalid.Attributes.Request.Http.Path = "/public/\xff"
	cases := map[string]struct {
		in    *authv3.CheckRequest
		fails codes.Code // the call itself
	}{
		"10,000 headers":                     {in: manyHeaders},
		"10,000 forwarded certificates":      {in: rawHeaders},
		"a path of nearly 1 MiB":             {in: request("10.0.0.1", idWeb, server, "GET", "/public/"+strings.Repeat("a/", 1<<18-200))},
		"a path of 1 MiB":                    {in: request("10.0.0.1", idWeb, server, "GET", "/"+strings.Repeat("%2e%2e%2f", 1<<17)), fails: codes.ResourceExhausted},
		"an identity of 512 KiB":             {in: request("10.0.0.1", idWeb+strings.Repeat("b", 1<<19), server, "GET", "/public")},
		"an address of 512 KiB":              {in: request(strings.Repeat("1", 1<<19), idWeb, server, "GET", "/public")},
		"invalid UTF-8":                      {in: invalid, fails: codes.Internal},
		"invalid UTF-8, encoded":             {in: request("10.0.0.1", idWeb, server, "GET", "/%ff/public")},
		"double encoding":                    {in: request("10.0.0.1", idWeb, server, "GET", "/public/%252e%252e/admin")},
		"double encoding of a letter":        {in: request("10.0.0.1", idWeb, server, "GET", "/%2570ublic")},
		"NUL":                                {in: request("10.0.0.1", idWeb, server, "GET", "/public\x00")},
		"matrix parameters that lead out":    {in: request("10.0.0.1", idWeb, server, "GET", "/public/..;x=1/admin")},
		"backslashes that lead out":          {in: request("10.0.0.1", idWeb, server, "GET", `/public\..\admin`)},
		"a method in lower case":             {in: request("10.0.0.1", idWeb, server, "get", "/public")},
		"a method that rules take for any":   {in: request("10.0.0.1", idWeb, server, "*", "/public")},
		"an absolute path":                   {in: request("10.0.0.1", idWeb, server, "GET", "http://api/public")},
		"a path that rules take for nothing": {in: request("10.0.0.1", idWeb, server, "GET", "*")},
		"an attribute context of nothing":    {in: &authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := callRaw(t, r, tc.in)
			switch {
			case tc.fails != codes.OK:
				if grpcstatus.Code(err) != tc.fails {
					t.Errorf("got %v, %v, want %v", out, err, tc.fails)
				}
			case err != nil:
				t.Error(err)
			case out.GetStatus().GetCode() == 0 || out.GetOkResponse() != nil:
				t.Errorf("allowed: %v", out.GetDynamicMetadata())
			}
		})
	}
	if out, err := r.client.Check(t.Context(), allowed()); err != nil || out.GetStatus().GetCode() != 0 {
		t.Errorf("afterwards an honest request: got %v, %v", out, err)
	}
}

// callRaw lets invalid UTF-8 through, which the client's own encoder would refuse: it stands in for a marker of the same
// length.
func callRaw(t testing.TB, r *rig, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	t.Helper()
	h := in.GetAttributes().GetRequest().GetHttp()
	if h == nil || !strings.Contains(h.GetPath(), "\xff") {
		return r.client.Check(t.Context(), in)
	}
	h.Path = strings.ReplaceAll(h.Path, "\xff", "@")
	raw, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var frame frame = []byte(strings.ReplaceAll(string(raw), "@", "\xff"))
	out := &authv3.CheckResponse{}
	return out, r.conn.Invoke(t.Context(), authv3.Authorization_Check_FullMethodName, &frame, out, forceFrames())
}

// Policies change beneath the checks: what no version of them allows is never allowed, what every version allows always is.
func TestChurnOpensNothing(t *testing.T) {
	r := start(t, nil)
	versions := []*policy.Snapshot{
		parse(t, 1, world),
		parse(t, 2, strings.Replace(world, "role == 'web'}", "role contains 'web'}", 1)),
		parse(t, 3, world+"\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: new, namespace: prod, labels: {role: web}}}"),
		parse(t, 4, strings.Replace(world, "{ip: 10.0.0.2}", "{ip: 10.0.0.7}", 1)),
	}
	stop, churned := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(churned)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				r.store.current.Store(versions[i%len(versions)])
			}
		}
	}()
	never := []*authv3.CheckRequest{
		request("10.0.0.2", idBatch, server, "GET", "/public"), request("10.0.0.2", idWeb, server, "GET", "/public"),
		request("10.0.0.1", idWeb, server, "PUT", "/public"), connection("10.0.0.1", idWeb, server),
		request("10.0.0.5", idWeb, server, "GET", "/public"), request("10.0.0.1", "", server, "GET", "/public"),
	}
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range 150 {
				in := never[(worker+i)%len(never)]
				if out, err := r.client.Check(t.Context(), in); err != nil || out.GetStatus().GetCode() == 0 {
					t.Errorf("got %v, %v for %v", out, err, in)
				}
				if out, err := r.client.Check(t.Context(), allowed()); err != nil || out.GetStatus().GetCode() != 0 {
					t.Errorf("the honest request: got %v, %v", out, err)
				}
			}
		})
	}
	wait.Wait()
	close(stop)
	<-churned
}

// FuzzCheck: a message of any bytes that is a CheckRequest gets an answer, and is allowed only with the address, the
// certificate and the method of the one caller that policy knows.
func FuzzCheck(f *testing.F) {
	for _, in := range []*authv3.CheckRequest{
		allowed(), connection("10.0.0.3", idOps, server), request("10.0.0.2", idBatch, server, "GET", "/public"), {},
		forwarding(request("10.0.0.1", "", server, "GET", "/public"), "URI="+idWeb), withLabels(request("10.0.0.2", idBatch, plainServer, "POST", "/shop.Health/Check")),
	} {
		raw, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	s, c := parse(f, 1, world), config(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := &authv3.CheckRequest{}
		if proto.Unmarshal(raw, in) != nil {
			return
		}
		r := extauthz.RequestOf(in)
		d := authz.Decide(s, c, authz.ServerName{}, &r)
		if d.Code() != "OK" {
			return
		}
		source := in.GetAttributes().GetSource()
		if d.Server == nil || d.Client == nil || d.Server.Name != "api-0" || d.Client.Name != "web-0" && d.Client.Name != "ops-0" {
			t.Errorf("allowed %+v", d)
		}
		if d.Server.Namespace == "prod" && source.GetPrincipal() != "spiffe://cluster.local/ns/prod/sa/"+d.Client.Account.Name() {
			t.Errorf("allowed %v", in)
		}
	})
}
