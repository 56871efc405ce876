package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
)

// podServer serves pods as an API server does: as a watch that begins with all of them, or in pages.
type podServer struct {
	count   int
	streams bool
	// more are sent after the initial events.
	more chan string

	mu    sync.Mutex
	lists []string // queries of lists
}

// wholePod is a pod as the API server stores it, with what fills most of one.
func wholePod(i int) string {
	name := fmt.Sprintf("web-5d4f8c7b9d-%05x", i)
	managed := `{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{` + strings.Repeat(`"f:field":{},`, 60) + `"f:image":{}}}}}`
	env := strings.Repeat(`{"name":"SOME_VARIABLE","value":"some value of some length"},`, 30)
	return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"generateName":"web-5d4f8c7b9d-","namespace":"ns-%d","uid":"3a1e0f6e-5a0c-4f0e-9a55-%012d","resourceVersion":"%d","labels":{"app":"web"},"annotations":{"checksum/config":%q},"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":%s}]},"spec":{"containers":[{"name":"c","image":"registry.example.com/web:1","env":[%s{"name":"LAST","value":"x"}]}],"serviceAccountName":"account-%d","serviceAccount":"account-%d","nodeName":"node-%d"},"status":{"phase":"Running","podIP":"10.0.0.1","conditions":[%s{"type":"Ready","status":"True"}]}}`,
		name, i%100, i, i+1, strings.Repeat("c", 64), managed, env, i%500, i%500, i%200, strings.Repeat(`{"type":"Initialized","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"},`, 4))
}

func (s *podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	q := r.URL.Query()
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/"):
		s.one(w, strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"))
	case q.Get("watch") == "" && r.URL.Path == "/api/v1/pods":
		s.list(w, r)
	case q.Get("sendInitialEvents") == "true" && !s.streams:
		w.WriteHeader(http.StatusUnprocessableEntity)
		s.write(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents: Forbidden"}`)
	default:
		s.watch(w, r, q.Get("sendInitialEvents") == "true")
	}
}

func (s *podServer) one(w http.ResponseWriter, path string) {
	if path == "prod/pods/gone" {
		w.WriteHeader(http.StatusNotFound)
		s.write(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	}
	if path == "prod/pods/broken" {
		w.WriteHeader(http.StatusInternalServerError)
		s.write(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"broken"}`)
		return
	}
	s.write(w, wholePod(7))
}

func (s *podServer) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	s.lists = append(s.lists, r.URL.RawQuery)
	s.mu.Unlock()
	from, to, next := 0, s.count, ""
	if c := q.Get("continue"); c != "" {
		var err error
		if from, err = strconv.Atoi(c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	// As the watch cache does: a list of any version ignores the limit.
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && q.Get("resourceVersion") != "0" && from+limit < to {
		to = from + limit
		next = strconv.Itoa(to)
	}
	s.write(w, fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1000000","continue":%q},"items":[`, next))
	for i := from; i < to; i++ {
		if i > from {
			s.write(w, ",")
		}
		s.write(w, wholePod(i))
	}
	s.write(w, "]}")
}

func (s *podServer) watch(w http.ResponseWriter, r *http.Request, initial bool) {
	if initial {
		for i := range s.count {
			s.write(w, `{"type":"ADDED","object":`+wholePod(i)+"}\n")
		}
		s.write(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1000000","annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null},"status":{}}}`+"\n")
	}
	flush(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-s.more:
			s.write(w, event+"\n")
			flush(w)
		}
	}
}

func (s *podServer) write(w io.Writer, text string) {
	_, _ = io.WriteString(w, text) //nolint:errcheck // the client has gone, which its own test sees
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// followPods keeps a cluster's pods by a real client over HTTP until the test ends, and returns once they have been read.
func followPods(t testing.TB, s *podServer) *state.Cluster {
	t.Helper()
	var w *Watcher
	live := state.Live{PodsCurrent: func() bool { return w.Current(PodsName) }}
	c := state.New(live, nil)
	w = followSource(t, s, NewPodClient, func(api client.WithWatch) Source { return Pods(c, api) })
	return c
}

func followSource(t testing.TB, s *podServer, connect func(*rest.Config) (client.WithWatch, error), source func(client.WithWatch) Source) *Watcher {
	t.Helper()
	server := httptest.NewServer(s)
	api, err := connect(&rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	w := New(nil, klog.Background(), time.Now, source(api))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	until(t, "the pods have been read", func() bool { return w.Current(PodsName) })
	return w
}

// Before the first pod has been read, decisions and readiness go on without.
func TestNobodyWaitsForPods(t *testing.T) {
	w := New(nil, klog.Background(), time.Now, Pods(state.New(state.Live{}, nil), nil))
	if why := w.WhyNotCurrent() + w.WhyStale(); why != "" || w.Current(PodsName) || w.Current("nothing") {
		t.Errorf("%q, current %v", why, w.Current(PodsName))
	}
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		t.Fatalf("wait until %s: %v", what, err)
	}
}

func TestPodsAreReadFromWholePods(t *testing.T) {
	for name, streams := range map[string]bool{"an API server that streams lists": true, "an API server that does not": false} {
		t.Run(name, func(t *testing.T) {
			s := &podServer{count: 1200, streams: streams, more: make(chan string)}
			c := followPods(t, s)
			expect := func(i int, want decision.Fact[identity.Pod]) bool {
				p := wholePodName(t, i)
				return c.PodAccount(t.Context(), p.Namespace, p.Name) == want
			}
			for i := range s.count {
				if !expect(i, decision.Known(identity.Pod{Account: fmt.Sprintf("account-%d", i%500), Node: fmt.Sprintf("node-%d", i%200)})) {
					t.Fatalf("pod %d is not known as it is", i)
				}
			}
			s.more <- `{"type":"MODIFIED","object":` + strings.Replace(wholePod(3), "node-3", "node-x", 1) + `}`
			until(t, "a changed pod is known", func() bool { return expect(3, decision.Known(identity.Pod{Account: "account-3", Node: "node-x"})) })
			s.mu.Lock()
			defer s.mu.Unlock()
			if streams && len(s.lists) > 0 {
				t.Errorf("listed %q besides", s.lists)
			}
			if !streams && len(s.lists) != 3 {
				t.Errorf("%d pods were listed in %d pages, want 3: %q", s.count, len(s.lists), s.lists)
			}
		})
	}
}

func wholePodName(t *testing.T, i int) *metav1.ObjectMeta {
	t.Helper()
	var p metav1.PartialObjectMetadata
	if err := json.Unmarshal([]byte(wholePod(i)), &p); err != nil {
		t.Fatal(err)
	}
	return &p.ObjectMeta
}

func TestLivePod(t *testing.T) {
	server := httptest.NewServer(&podServer{})
	defer server.Close()
	pods, err := NewPodClient(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	look := LivePod(pods)
	if got := look(t.Context(), "prod", "there"); got != decision.Known(identity.Pod{Account: "account-7", Node: "node-7"}) {
		t.Errorf("got %s", got)
	}
	if got := look(t.Context(), "prod", "gone"); !got.IsAbsent() {
		t.Errorf("a pod that is not there: %s", got)
	}
	if got := look(t.Context(), "prod", "broken"); got.WhyUnknown() == "" {
		t.Errorf("an API server that fails: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := look(ctx, "prod", "there"); got.WhyUnknown() == "" {
		t.Errorf("a request that is over: %s", got)
	}
}

func FuzzPod(f *testing.F) {
	f.Add([]byte(wholePod(1)))
	f.Add([]byte(`{"metadata":{"annotations":null},"spec":null}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"spec":{"serviceAccountName":7}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var whole corev1.Pod
		if kjson.UnmarshalCaseSensitivePreserveInts(raw, &whole) != nil {
			return
		}
		var p pod
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &p); err != nil {
			t.Fatalf("a pod that client-go reads is not read: %v", err)
		}
		got := [4]string{p.Name, p.Namespace, p.Account, p.Node}
		if want := [4]string{whole.Name, whole.Namespace, whole.Spec.ServiceAccountName, whole.Spec.NodeName}; got != want {
			t.Errorf("read %q, client-go reads %q", got, want)
		}
	})
}

// BenchmarkReading20000Pods measures the most that the heap grows over idle while 20,000 whole pods are read. The server runs
// in the same process, so the figure is an upper bound. Baseline: the same over client-go's own type of a pod.
func BenchmarkReading20000Pods(b *testing.B) {
	const count = 20_000
	for name, streams := range map[string]bool{"streamed": true, "paged": false} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ours := peak(b, func() { followPods(b, &podServer{count: count, streams: streams}) })
				theirs := peak(b, func() { readWhole(b, &podServer{count: count, streams: streams}) })
				b.ReportMetric(ours, "peak-MiB")
				b.ReportMetric(ours/theirs, "x-whole-pods")
			}
			b.ReportMetric(float64(len(wholePod(1))), "bytes/pod")
		})
	}
}

// peak returns by how many MiB the heap grew at most while work ran.
func peak(b *testing.B, work func()) float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	idle := m.HeapAlloc
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		for {
			select {
			case <-stop:
				most <- top
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapAlloc)
			}
		}
	}()
	work()
	close(stop)
	return float64(int64(<-most)-int64(idle)) / (1 << 20)
}

// readWhole reads pods into client-go's type and keeps of them what state.Cluster keeps.
func readWhole(b *testing.B, s *podServer) {
	c := state.New(state.Live{}, nil)
	keep := func(add func(string, string, identity.Pod), p *corev1.Pod) {
		add(p.Namespace, p.Name, identity.Pod{Account: p.Spec.ServiceAccountName, Node: p.Spec.NodeName})
	}
	core := schema.GroupVersion{Version: "v1"}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{core})
	mapper.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	followSource(b, s, func(cfg *rest.Config) (client.WithWatch, error) {
		return client.NewWithWatch(cfg, client.Options{Scheme: scheme.Scheme, Mapper: mapper})
	}, func(api client.WithWatch) Source {
		return Source{Name: PodsName, NewList: newList[corev1.PodList], Client: api, Paged: true, Sink: typed[*corev1.Pod]{
			replace: func(all []*corev1.Pod) {
				c.ReplacePods(len(all), func(add func(string, string, identity.Pod)) {
					for _, p := range all {
						keep(add, p)
					}
				})
			},
			set: func(p *corev1.Pod) { keep(c.SetPod, p) }, remove: func(*corev1.Pod) {},
		}}
	})
}
