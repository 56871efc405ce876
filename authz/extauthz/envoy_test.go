package extauthz_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

	"github.com/saguard/saguard/authz"
)

const server, plainServer = "10.0.1.1", "10.0.1.2"

func TestEnvoyIsAnsweredByBothIdentities(t *testing.T) {
	r := start(t, nil)
	cases := map[string]struct {
		in     *authv3.CheckRequest
		code   codes.Code
		http   int32
		reason authz.Reason
		rule   float64 // of policy "api", if the reason is one of policy's
	}{
		"both name an account that policy allows": {
			in: request("10.0.0.1", idWeb, server, "GET", "/public/x?y=1"), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"IPv4-mapped source address": {
			in: request("::ffff:10.0.0.1", idWeb, server, "GET", "/public"), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"IPv6": {
			in: request("fd00::1", idWeb, "fd00::a", "GET", "/public"), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"a gRPC method below the prefix": {
			in: request("10.0.0.1", idWeb, server, "POST", "/shop.Catalog/Get"), code: codes.OK, reason: authz.ReasonRule, rule: 2,
		},
		"a gRPC service below the prefix": {
			in: request("10.0.0.1", idWeb, server, "POST", "/shop.Health/Check"), code: codes.OK, reason: authz.ReasonRule, rule: 2,
		},
		"another gRPC method": {
			in: request("10.0.0.1", idWeb, server, "POST", "/shop.Catalog/GetAll"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1,
		},
		"another method": {
			in: request("10.0.0.1", idWeb, server, "PUT", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1,
		},
		"another path": {
			in: request("10.0.0.1", idWeb, server, "GET", "/publicity"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1,
		},
		"a path that leads out": {
			in: request("10.0.0.1", idWeb, server, "GET", "/public/%2e%2e/admin"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1,
		},
		"a path without a slash": {
			in: request("10.0.0.1", idWeb, server, "GET", "public"), code: codes.InvalidArgument, http: 400, reason: authz.ReasonInvalidPath,
		},
		"an account that policy denies": {
			in: request("10.0.0.2", idBatch, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonRule, rule: 0,
		},
		"a connection without HTTP, and rules with HTTP": {
			in: connection("10.0.0.1", idWeb, server), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1,
		},
		"a connection without HTTP, and a rule without": {
			in: connection("10.0.0.3", idOps, server), code: codes.OK, reason: authz.ReasonRule, rule: 3,
		},
		"right certificate from the wrong pod": {
			in: request("10.0.0.2", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonMismatch,
		},
		"wrong certificate from the right pod": {
			in: request("10.0.0.1", idBatch, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonMismatch,
		},
		"an account of another namespace": {
			in: request("10.0.0.1", "spiffe://cluster.local/ns/plain/sa/web", server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonMismatch,
		},
		"no certificate": {
			in: request("10.0.0.1", "", server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonNoIdentity,
		},
		"a malformed identity": {
			in: request("10.0.0.1", "CN=web", server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonMalformedIdentity,
		},
		"a foreign trust domain": {
			in: request("10.0.0.1", "spiffe://evil.example/ns/prod/sa/web", server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonForeignIdentity,
		},
		"no certificate, where plaintext is taken": {
			in: request("10.0.0.1", "", plainServer, "GET", "/public"), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"a malformed identity, where plaintext is taken": {
			in: request("10.0.0.1", "CN=web", plainServer, "GET", "/public"), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"another's certificate, where plaintext is taken": {
			in: request("10.0.0.1", idBatch, plainServer, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonMismatch,
		},
		"no certificate from nowhere, where plaintext is taken": {
			in: request("192.0.2.1", "", plainServer, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress,
		},
		"an address that is no pod's": {
			in: request("192.0.2.1", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress,
		},
		"no address": {
			in: request("", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress,
		},
		"not an address": {
			in: request("web", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress,
		},
		"an address with a zone": {
			in: request("fd00::1%eth0", idWeb, "fd00::a", "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress,
		},
		"an address that two pods claim, though both are of the account": {
			in: request("10.0.0.5", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonSharedAddress,
		},
		"an account without an object, where rules ask for labels": {
			in: request("10.0.0.4", idGhost, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonNoAccount,
		},
		"addresses of two IP versions": {
			in: request("fd00::1", idWeb, server, "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonAddressFamily,
		},
		"a destination that is no pod's": {
			in: request("10.0.0.1", idWeb, "192.0.2.1", "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonServer,
		},
		"no destination": {
			in: request("10.0.0.1", idWeb, "", "GET", "/public"), code: codes.PermissionDenied, http: 403, reason: authz.ReasonServer,
		},
		"no attributes":      {in: &authv3.CheckRequest{}, code: codes.PermissionDenied, http: 403, reason: authz.ReasonServer},
		"no source":          {in: without(func(a *authv3.AttributeContext) { a.Source = nil }), code: codes.PermissionDenied, http: 403, reason: authz.ReasonNoIdentity},
		"an empty HTTP part": {in: without(func(a *authv3.AttributeContext) { a.Request.Http = &authv3.AttributeContext_HttpRequest{} }), code: codes.PermissionDenied, http: 403, reason: authz.ReasonEndOfTier, rule: -1},
		"a pipe": {in: without(func(a *authv3.AttributeContext) {
			a.Source.Address = &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/x"}}}
		}), code: codes.PermissionDenied, http: 403, reason: authz.ReasonUnknownAddress},
		"the proxy's own certificate names the server": {
			in: without(func(a *authv3.AttributeContext) { a.Destination.Principal = idAPI }), code: codes.OK, reason: authz.ReasonRule, rule: 1,
		},
		"the proxy's own certificate names another": {
			in: without(func(a *authv3.AttributeContext) { a.Destination.Principal = idWeb }), code: codes.PermissionDenied, http: 403, reason: authz.ReasonDestinationIdentity,
		},
		"the proxy's own certificate is malformed": {
			in: without(func(a *authv3.AttributeContext) { a.Destination.Principal = "x" }), code: codes.PermissionDenied, http: 403, reason: authz.ReasonDestinationIdentity,
		},
		"labels in the request": {
			in: withLabels(request("10.0.0.2", idBatch, server, "GET", "/public")), code: codes.PermissionDenied, http: 403, reason: authz.ReasonRule, rule: 0,
		},
		"a forwarded certificate, which nobody vouches for": {
			in: forwarding(request("10.0.0.1", "", server, "GET", "/public"), "URI="+idWeb), code: codes.PermissionDenied, http: 403, reason: authz.ReasonNoIdentity,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := r.client.Check(t.Context(), tc.in)
			if err != nil {
				t.Fatal(err)
			}
			fields := out.GetDynamicMetadata().AsMap()
			if codes.Code(out.GetStatus().GetCode()) != tc.code || fields["reason"] != string(tc.reason) || fields["revision"] != 7.0 {
				t.Fatalf("got %v, want %v for %s", out, tc.code, tc.reason)
			}
			if out.GetDeniedResponse().GetStatus().GetCode() != 0 != (tc.code != codes.OK) || int32(out.GetDeniedResponse().GetStatus().GetCode()) != tc.http {
				t.Errorf("got HTTP %v, want %d", out.GetDeniedResponse().GetStatus(), tc.http)
			}
			if tc.code != codes.OK && out.GetDeniedResponse().GetBody() != "denied\n" {
				t.Errorf("the client is told %q", out.GetDeniedResponse().GetBody())
			}
			switch tc.reason {
			case authz.ReasonRule, authz.ReasonEndOfTier:
				if fields["tier"] != "default" || fields["policy"] != "api" || fields["rule"] != tc.rule {
					t.Errorf("got %v, want rule %v of api", fields, tc.rule)
				}
			default:
				if fields["tier"] != nil || fields["policy"] != nil || fields["rule"] != nil {
					t.Errorf("got %v, but no policy decided", fields)
				}
			}
			record := r.journal.last(t)
			wantOutcome := "Deny"
			if tc.code == codes.OK {
				wantOutcome = "Allow"
			}
			if record.Component != "authz" || string(record.Decision) != wantOutcome || record.Reason != string(tc.reason) || record.Revision != 7 {
				t.Errorf("recorded %+v", record)
			}
		})
	}
}

// without is an allowed request, changed.
func without(change func(*authv3.AttributeContext)) *authv3.CheckRequest {
	r := request("10.0.0.1", idWeb, server, "GET", "/public")
	change(r.Attributes)
	return r
}

func withLabels(r *authv3.CheckRequest) *authv3.CheckRequest {
	r.Attributes.Source.Labels = map[string]string{"role": "web", "pcsa.role": "web", "projectcalico.org/serviceaccount": "ops"}
	r.Attributes.Source.Service = "ops"
	r.Attributes.ContextExtensions = map[string]string{"role": "web"}
	return r
}

func forwarding(r *authv3.CheckRequest, header string) *authv3.CheckRequest {
	r.Attributes.Request.Http.Headers["x-forwarded-client-cert"] = header
	return r
}

func TestRecordsSayWhoAskedForWhatAndWhatDecided(t *testing.T) {
	r := start(t, nil)
	if _, err := r.client.Check(t.Context(), request("10.0.0.2", idBatch, server, "GET", "/public/"+strings.Repeat("x", 1000)+"?token=secret")); err != nil {
		t.Fatal(err)
	}
	got := r.journal.last(t)
	if got.User != "system:serviceaccount:prod:batch" || got.Object.Namespace != "prod" || got.Object.Name != "api-0" || got.Operation != "check" {
		t.Errorf("got %+v", got)
	}
	want := map[string][2]string{
		"network-identity":       {"granted", "10.0.0.2 prod/batch-0"},
		"cryptographic-identity": {"granted", idBatch},
		"http":                   {"refused", "GET /public/xxx"},
		"policy":                 {"refused", "default api spec.ingress[0]"},
	}
	for _, c := range got.Checks {
		if w := want[c.ID]; c.Reason != w[0] || !strings.HasPrefix(c.Field, w[1]) || len(c.Field) > 300 || strings.Contains(c.Field, "secret") {
			t.Errorf("got %+v, want %v", c, w)
		}
		delete(want, c.ID)
	}
	if len(want) > 0 {
		t.Errorf("not recorded: %v", want)
	}
	if _, err := r.client.Check(t.Context(), request("10.0.0.1", idBatch, server, "GET", "/")); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.journal.last(t).Checks {
		if c.ID != "http" && c.Reason != "refused" {
			t.Errorf("identities that do not match: got %+v", c)
		}
	}
}
