package extauthz

import (
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/saguard/saguard/authz"
)

// RequestOf is what is read of a message.
func RequestOf(in *authv3.CheckRequest) authz.Request { return fromEnvoy(in).request }
