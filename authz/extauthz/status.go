package extauthz

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/internal/decision"
)

// code is the gRPC status of an answer.
func (a *answer) code() codes.Code {
	switch {
	case a.Verdict == decision.Allow:
		return codes.OK
	case a.Reason == authz.ReasonInvalidPath, a.Reason == ReasonMalformed, a.Reason == ReasonTooLarge:
		return codes.InvalidArgument
	case a.Reason == ReasonNotSynced, a.Reason == ReasonOverloaded:
		return codes.Unavailable
	case a.Reason == ReasonCanceled:
		return codes.DeadlineExceeded
	case a.err != nil:
		return codes.Internal
	default:
		return codes.PermissionDenied
	}
}

// codeName is the code as it is spelled in JSON (google/rpc/code.proto).
func (a *answer) codeName() string {
	switch a.code() {
	case codes.OK:
		return "OK"
	case codes.InvalidArgument:
		return "INVALID_ARGUMENT"
	case codes.Unavailable:
		return "UNAVAILABLE"
	case codes.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case codes.Internal:
		return "INTERNAL"
	default:
		return "PERMISSION_DENIED"
	}
}

// httpStatus is the status of an answer over HTTP, and the one that Envoy is told to answer with.
func (a *answer) httpStatus() int {
	if a.Reason == ReasonTooLarge {
		return http.StatusRequestEntityTooLarge
	}
	switch a.code() {
	case codes.OK:
		return http.StatusOK
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unavailable, codes.DeadlineExceeded:
		return http.StatusServiceUnavailable
	case codes.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusForbidden
	}
}
