package extauthz

import (
	"context"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/decision"
)

// Keys of the dynamic metadata, which Envoy puts under the filter's name for access logs and later filters.
const (
	MetadataReason   = "reason"
	MetadataTier     = "tier"
	MetadataPolicy   = "policy"
	MetadataRule     = "rule"
	MetadataRevision = "revision"
)

// bodyDenied is all that the client learns.
const bodyDenied = "denied\n"

// envoyService implements authv3.AuthorizationServer.
type envoyService struct {
	authv3.UnimplementedAuthorizationServer
	server *Server
}

// Check implements authv3.AuthorizationServer. It is an error only where the agent itself cannot answer; see the package.
func (e envoyService) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	a := e.server.check(ctx, fromEnvoy(in))
	switch a.Reason {
	case ReasonNotSynced:
		return nil, grpcstatus.Error(codes.Unavailable, errNotSynced.Error())
	case ReasonCanceled:
		return nil, grpcstatus.Error(codes.DeadlineExceeded, "the deadline passed before the check began")
	default:
		return toEnvoy(&a), nil
	}
}

// fromEnvoy takes what Envoy observed. Labels, services and certificates in the request are not read, and of the headers
// one at most.
func fromEnvoy(in *authv3.CheckRequest) *question {
	attributes := in.GetAttributes()
	q := &question{transport: overGRPC, request: authz.Request{
		Source: peer(attributes.GetSource()), Destination: peer(attributes.GetDestination()),
	}}
	h := attributes.GetRequest().GetHttp()
	if h == nil {
		return q
	}
	q.id = h.GetId()
	q.request.HTTP = &authz.HTTP{Method: h.GetMethod(), Path: h.GetPath(), Host: h.GetHost()}
	if cert := forwardedCert(h); cert != "" {
		q.request.HTTP.Headers = map[string]string{authz.HeaderForwardedClientCert: cert}
	}
	return q
}

// forwardedCert joins all values of the header, so that none hides behind another.
func forwardedCert(h *authv3.AttributeContext_HttpRequest) string {
	var values []string
	for _, header := range h.GetHeaderMap().GetHeaders() {
		if strings.EqualFold(header.GetKey(), authz.HeaderForwardedClientCert) {
			value := header.GetValue()
			if value == "" {
				value = string(header.GetRawValue())
			}
			values = append(values, value)
		}
	}
	if v := h.GetHeaders()[authz.HeaderForwardedClientCert]; v != "" {
		values = append(values, v)
	}
	return strings.Join(values, ",")
}

func peer(p *authv3.AttributeContext_Peer) authz.Peer {
	// Pipes and addresses of Envoy's own listeners have no IP address, and so no network identity.
	socket := p.GetAddress().GetSocketAddress()
	out := authz.Peer{Address: socket.GetAddress(), Port: socket.GetPortValue(), Principal: p.GetPrincipal()}
	switch socket.GetProtocol() {
	case corev3.SocketAddress_TCP:
	case corev3.SocketAddress_UDP:
		out.Protocol = "UDP"
	default:
		out.Protocol = "unknown"
	}
	return out
}

func toEnvoy(a *answer) *authv3.CheckResponse {
	out := &authv3.CheckResponse{DynamicMetadata: metadata(a)}
	if a.Verdict == decision.Allow {
		out.Status = &status.Status{Code: int32(codes.OK)}
		out.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}
		return out
	}
	// Envoy shows the message to nobody but its own log.
	out.Status = &status.Status{Code: int32(a.code()), Message: string(a.Reason)}
	out.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(a.httpStatus())}, Body: bodyDenied,
	}}
	return out
}

func metadata(a *answer) *structpb.Struct {
	out := &structpb.Struct{Fields: map[string]*structpb.Value{
		MetadataReason:   structpb.NewStringValue(string(a.Reason)),
		MetadataRevision: structpb.NewNumberValue(float64(a.revision)),
	}}
	if a.Tier != "" {
		out.Fields[MetadataTier] = structpb.NewStringValue(a.Tier)
		out.Fields[MetadataPolicy] = structpb.NewStringValue(a.Policy.Path())
		out.Fields[MetadataRule] = structpb.NewNumberValue(float64(a.Rule))
	}
	return out
}
