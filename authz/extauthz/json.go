package extauthz

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/saguard/saguard/authz"
)

// PathCheck is where JSON checks are posted.
const PathCheck = "/v1/check"

// CheckBody is the body of POST /v1/check. Request has the shape that `kubectl saguard authz --jsonl` reads.
type CheckBody struct {
	// Server is "namespace/name" of the server's pod, "" for the pod that owns request.destination.address.
	Server  string         `json:"server,omitempty"`
	Request *authz.Request `json:"request"`
	// ID is for the decision record.
	ID string `json:"id,omitempty"`
	// Explain asks for what decided. A proxy that hands the answer's body on to clients must not set it.
	Explain bool `json:"explain,omitempty"`
}

// CheckAnswer is the body of the answer; its status is 200 only for OK.
type CheckAnswer struct {
	// Decision is OK, PERMISSION_DENIED or INVALID_ARGUMENT; UNAVAILABLE, DEADLINE_EXCEEDED or INTERNAL where none was made.
	Decision string `json:"decision"`
	// Only with Explain:
	Reason   authz.Reason `json:"reason,omitempty"`
	Tier     string       `json:"tier,omitempty"`
	Policy   string       `json:"policy,omitempty"`
	Rule     *int         `json:"rule,omitempty"`
	Revision uint64       `json:"revision,omitempty"`
}

func (s *Server) jsonHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathCheck, s.serveJSON)
	return mux
}

// acceptedAt is the key of a connection's time.Time in the contexts of its requests.
type acceptedAt struct{}

func (s *Server) serveJSON(w http.ResponseWriter, r *http.Request) {
	if at, ok := r.Context().Value(acceptedAt{}).(time.Time); r.TLS != nil && (!ok || s.Now().Sub(at) > maxConnectionAge) {
		w.Header().Set("Connection", "close")
	}
	q, explain, err := readCheck(http.MaxBytesReader(w, r.Body, int64(s.MaxMessageBytes)), r.Header.Get("Content-Type"))
	var a answer
	if err != nil {
		reason := ReasonMalformed
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			reason = ReasonTooLarge
		}
		a = s.finish(q, failed(reason, err), s.Now())
	} else {
		a = s.check(r.Context(), q)
	}
	out := CheckAnswer{Decision: a.codeName()}
	if explain {
		out.Reason, out.Revision = a.Reason, a.revision
		if a.Tier != "" {
			out.Tier, out.Policy, out.Rule = a.Tier, a.Policy.Path(), &a.Rule
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.httpStatus())
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.Log.V(1).Info("answer not taken", "error", err.Error())
	}
}

// readCheck reads one JSON object and nothing after it. The question is never nil.
func readCheck(body io.Reader, contentType string) (q *question, explain bool, err error) {
	q = &question{transport: overJSON}
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/json" {
		return q, false, fmt.Errorf("content type is not application/json")
	}
	var in CheckBody
	decoder := json.NewDecoder(body)
	if err := decoder.Decode(&in); err != nil {
		return q, false, fmt.Errorf("decode check: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return q, false, errors.Join(errors.New("decode check: more than one JSON value"), err)
	}
	if in.Request == nil {
		return q, false, errors.New("decode check: request is required")
	}
	if q.server, err = authz.ParseServerName(in.Server); err != nil {
		return q, false, fmt.Errorf("decode check: server: %w", err)
	}
	q.request, q.id = *in.Request, in.ID
	return q, in.Explain, nil
}
