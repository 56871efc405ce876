package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
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
// growing by up to maxBodyBytes a request. The API server's own limit of mutating requests in flight is 200 by default.
const maxInFlight = 256

func (h *Handler) serve(answer func(context.Context, *Request) *Response) http.Handler {
	places := make(chan struct{}, maxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			h.metrics.overloaded()
			http.Error(w, "too many requests at once: try again", http.StatusServiceUnavailable)
			return
		}
		req, err := readReview(w, hr)
		if err != nil {
			// Without a uid there is no review to answer; the API server takes the status for a failed call and, under
			// failurePolicy Fail, denies.
			d := refuse(err)
			resp := h.finish(&Request{}, nil, d, h.now())
			h.write(w, int(d.Code), resp)
			return
		}
		ctx, cancel := context.WithTimeout(hr.Context(), deadline(hr))
		defer cancel()
		h.write(w, http.StatusOK, answer(ctx, req))
	})
}

func readReview(w http.ResponseWriter, hr *http.Request) (*Request, error) {
	if !isJSON(hr.Header.Get("Content-Type")) {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("content type %q, want application/json", hr.Header.Get("Content-Type"))}
	}
	body, err := readAll(http.MaxBytesReader(w, hr.Body, maxBodyBytes), hr.ContentLength)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &failure{code: statusTooLarge, reason: ReasonTooLarge, err: fmt.Errorf("more than %d bytes", tooLarge.Limit)}
	}
	if err != nil {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("read body: %w", err)}
	}
	req, err := decodeReview(body)
	if err != nil {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: err}
	}
	return req, nil
}

// isJSON spares the API server's own header, which never varies, the parsing.
func isJSON(contentType string) bool {
	const want = "application/json"
	if contentType == want {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == want
}

// maxRoom bounds what a client can make us hold by announcing a length alone.
const maxRoom = 64 << 10

// readAll makes room for the announced length at once; io.ReadAll would copy what it has, again and again.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(announced, 0), maxRoom)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
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
