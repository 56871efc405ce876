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

	"golang.org/x/sync/semaphore"
)

// What the requests that are read and judged at once may cost. Whoever reaches the port can send anything, so nothing that
// is bounded here is bounded by what a client says or how fast it sends.
const (
	// bodyTimeout is how long a body may take to arrive. An API server sends it in one go.
	bodyTimeout = 5 * time.Second
	// smallBody is the most that nearly all reviews have. It is read at once: waiting clients hold no place, so slow ones
	// keep nobody out.
	smallBody = 64 << 10
	// largeBudget is what all larger bodies may add up to; decoded, a body of many small labels is some 20 times its size.
	largeBudget = maxBodyBytes
	// largePatience is how long a larger body waits for its part of that.
	largePatience = time.Second
)

// errOverload is what the API server is told, under 503, when a bound is reached.
var errOverload = errors.New("too many requests at once: try again")

// intake bounds what is read and judged at once, over all paths.
type intake struct {
	places chan struct{}
	large  *semaphore.Weighted
}

func newIntake() *intake {
	return &intake{places: make(chan struct{}, maxInFlight), large: semaphore.NewWeighted(largeBudget)}
}

// read reads the body of a request and takes a place to judge it; done, never nil, gives back all that was taken.
func (i *intake) read(w http.ResponseWriter, hr *http.Request) (body []byte, done func(), err error) {
	var taken []func()
	done = func() {
		for _, give := range taken {
			give()
		}
	}
	if kind := hr.Header.Get("Content-Type"); !isJSON(kind) {
		return nil, done, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("content type %q, want application/json", kind)}
	}
	announced := hr.ContentLength
	if announced > maxBodyBytes {
		return nil, done, tooLarge()
	}
	if announced < 0 {
		announced = maxBodyBytes // unknown until it has been read
	}
	if announced > smallBody {
		ctx, cancel := context.WithTimeout(hr.Context(), largePatience)
		defer cancel()
		if i.large.Acquire(ctx, announced) != nil {
			return nil, done, errOverload
		}
		taken = append(taken, func() { i.large.Release(announced) })
	}
	// A ResponseWriter that has no deadline is no network's.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, done, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("read body: %w", err)}
	}
	body, err = readAll(http.MaxBytesReader(w, hr.Body, maxBodyBytes), hr.ContentLength)
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, done, tooLarge()
	}
	if err != nil {
		return nil, done, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("read body: %w", err)}
	}
	// net/http goes on reading, to notice a client that leaves: that is not to fail while the request is judged.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, done, &failure{code: statusBadRequest, reason: ReasonMalformed, err: fmt.Errorf("read body: %w", err)}
	}
	select {
	case i.places <- struct{}{}:
		taken = append(taken, func() { <-i.places })
		return body, done, nil
	default:
		return nil, done, errOverload
	}
}

func tooLarge() error {
	return &failure{code: statusTooLarge, reason: ReasonTooLarge, err: fmt.Errorf("more than %d bytes", maxBodyBytes)}
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
