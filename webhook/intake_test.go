package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// posted is a request of which the body is read from a reader; length -1 says nothing of its size.
func posted(t *testing.T, body io.Reader, length int64) *http.Request {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate?timeout=5s", body)
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = length
	return req
}

// padded is a review of some size.
func padded(t *testing.T, size int) []byte {
	t.Helper()
	body := review(t, nil)
	return append(body, bytes.Repeat([]byte(" "), size-len(body))...)
}

func answer(t *testing.T, h http.Handler, body []byte) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, posted(t, bytes.NewReader(body), int64(len(body))))
	return w.Code
}

// Clients that never send their bodies, more of them than there are places, keep nobody out.
func TestBodiesThatDoNotComeHoldNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRig(t, guarded()).ValidateHTTP()
		const silent = 400
		ended := make(chan int, silent)
		pipes := make([]*io.PipeWriter, silent)
		for n := range pipes {
			var r *io.PipeReader
			r, pipes[n] = io.Pipe()
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, posted(t, r, 60<<10))
				ended <- w.Code
			}()
		}
		synctest.Wait()
		if code := answer(t, h, review(t, nil)); code != http.StatusOK {
			t.Errorf("status %d while others send nothing", code)
		}
		for _, p := range pipes {
			if err := p.CloseWithError(io.ErrUnexpectedEOF); err != nil {
				t.Fatal(err)
			}
		}
		for range silent {
			if code := <-ended; code != http.StatusBadRequest {
				t.Errorf("a body that broke off: status %d", code)
			}
		}
	})
}

// Large bodies together may have what one of the largest needs; one more waits a moment and is then turned away. Small ones
// are not held up.
func TestLargeBodiesShareABudget(t *testing.T) {
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		// first is held back, and announces this; -1 = nothing.
		first int64
		body  int
		code  int
	}{
		"a small one beside the largest":                      {first: 7 * mib, body: 60 << 10, code: http.StatusOK},
		"a large one beside the largest":                      {first: 7 * mib, body: mib, code: http.StatusServiceUnavailable},
		"a large one beside one that announces nothing":       {first: -1, body: mib, code: http.StatusServiceUnavailable},
		"a large one where there is room":                     {first: 3 * mib, body: 3 * mib, code: http.StatusOK},
		"a large one where there is less room":                {first: 5 * mib, body: 3 * mib, code: http.StatusServiceUnavailable},
		"a large one beside one that is larger than anything": {first: 8 * mib, body: 7 * mib, code: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rig := newRig(t, guarded())
				h := rig.ValidateHTTP()
				r, p := io.Pipe()
				ended := make(chan int, 1)
				go func() {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, posted(t, r, tc.first))
					ended <- w.Code
				}()
				synctest.Wait()
				began := time.Now()
				if code := answer(t, h, padded(t, tc.body)); code != tc.code {
					t.Errorf("status %d, want %d", code, tc.code)
				}
				turned := rig.counters(t, "saguard_admission_overload_total")[""]
				if away := tc.code == http.StatusServiceUnavailable; away != (time.Since(began) == time.Second) || away != (turned == 1) {
					t.Errorf("after %s, %v turned away", time.Since(began), turned)
				}
				if err := p.CloseWithError(io.ErrUnexpectedEOF); err != nil {
					t.Fatal(err)
				}
				<-ended
				if code := answer(t, h, padded(t, 7*mib)); code != http.StatusOK {
					t.Errorf("when the first has ended: status %d", code)
				}
			})
		})
	}
}

// deadlines is a ResponseWriter of a network connection that remembers its deadlines for reading.
type deadlines struct {
	http.ResponseWriter
	all []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.all = append(d.all, t)
	return nil
}

func TestBodiesHaveToComeWithinAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadlines{ResponseWriter: httptest.NewRecorder()}
		body := review(t, nil)
		newRig(t, guarded()).ValidateHTTP().ServeHTTP(w, posted(t, bytes.NewReader(body), int64(len(body))))
		if len(w.all) != 2 || !w.all[0].Equal(time.Now().Add(5*time.Second)) || !w.all[1].IsZero() {
			t.Errorf("deadlines %v, want one in 5 s and then none", w.all)
		}
	})
}
