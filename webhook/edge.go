package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// The paths that the handler is registered under.
const (
	PathValidate = "/validate"
	PathMutate   = "/mutate"
)

// ValidateHTTP serves PathValidate.
func (h *Handler) ValidateHTTP() http.Handler { return h.serve(h.Validate) }

// MutateHTTP serves PathMutate.
func (h *Handler) MutateHTTP() http.Handler { return h.serve(h.Mutate) }

// maxInFlight bounds the requests that are judged at once: beyond it the API server is told to try again, instead of memory
// growing with each. The API server's own limit of mutating requests in flight is 200 by default.
const maxInFlight = 256

func (h *Handler) serve(answer func(context.Context, *Request) *Response) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		started := time.Now()
		body, done, err := h.admitted.read(w, hr)
		defer done()
		if errors.Is(err, errOverload) {
			h.metrics.overloaded()
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		var req *Request
		if err == nil {
			req, err = readReview(body)
		}
		if err != nil {
			// Without a uid there is no review to answer; the API server takes the status for a failed call and, under
			// failurePolicy Fail, denies.
			d := refuse(err)
			resp := h.finish(&Request{}, nil, d, h.now())
			h.write(w, int(d.Code), resp)
			return
		}
		// What reading took is gone from the time that the API server waits.
		ctx, cancel := context.WithDeadline(hr.Context(), started.Add(deadline(hr)))
		defer cancel()
		h.write(w, http.StatusOK, answer(ctx, req))
	})
}

func readReview(body []byte) (*Request, error) {
	req, err := decodeReview(body)
	if err != nil {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: err}
	}
	return req, nil
}

// maxTimeout is the longest that a webhook registration may wait (timeoutSeconds).
const maxTimeout = 30 * time.Second

// deadline leaves a tenth of the time that the API server says it waits (?timeout=) to get the answer back.
func deadline(hr *http.Request) time.Duration {
	d, err := time.ParseDuration(hr.URL.Query().Get("timeout"))
	if err != nil || d <= 0 || d > maxTimeout {
		d = maxTimeout
	}
	return d - d/10
}

func (h *Handler) write(w http.ResponseWriter, code int, resp *Response) {
	body, err := encodeReview(resp)
	if err != nil {
		h.log.Error(err, "response lost", "uid", resp.UID)
		http.Error(w, "response could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(body); err != nil {
		h.log.V(1).Info("response not taken", "uid", resp.UID, "error", err.Error())
	}
}
