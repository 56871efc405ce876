package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
)

// apiServer serves resources as JSON, by their path ("/apis/projectcalico.org/v3/tiers"), with lists as watches or without.
type apiServer struct {
	streams bool

	mu        sync.Mutex
	resources map[string]map[string]string // path -> name -> object
	watches   map[chan string]string       // events -> path
	mood      mood
	version   int
}

// mood is how the server answers.
type mood int

const (
	well     mood = iota
	down          // 503
	misread       // 404 without a word to everything, as a proxy that lost its way
	noGroups      // 404 to Calico's groups, though the list of groups has them
)

const (
	pathPods, pathNamespaces, pathAccounts, pathNodes = "/api/v1/pods", "/api/v1/namespaces", "/api/v1/serviceaccounts", "/api/v1/nodes"
	pathKubernetes                                    = "/apis/networking.k8s.io/v1/networkpolicies"
	pathV3, pathCRD                                   = "/apis/projectcalico.org/v3/", "/apis/crd.projectcalico.org/v1/"
)

func newAPIServer(streams bool) *apiServer {
	s := &apiServer{streams: streams, resources: map[string]map[string]string{}, watches: map[chan string]string{}, version: 1}
	for _, p := range []string{pathPods, pathNamespaces, pathAccounts, pathNodes, pathKubernetes} {
		s.resources[p] = map[string]string{}
	}
	return s
}

// serve makes Calico's resources of a group be served.
func (s *apiServer) serve(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range []string{"networkpolicies", "globalnetworkpolicies", "tiers", "networksets", "globalnetworksets"} {
		if s.resources[group+r] == nil {
			s.resources[group+r] = map[string]string{}
		}
	}
}

// unserve takes them away.
func (s *apiServer) unserve(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.resources {
		if strings.HasPrefix(p, group) {
			delete(s.resources, p)
		}
	}
	s.endWatches()
}

// endWatches ends them all, as a server does that stops; s.mu is held.
func (s *apiServer) endWatches() {
	for events := range s.watches {
		delete(s.watches, events)
		close(events)
	}
}

func (s *apiServer) become(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
	s.endWatches()
}

// put stores an object of the body's fields, all but name and version, which it is given.
func (s *apiServer) put(p, namespace, name, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	object := fmt.Sprintf(`{"kind":"X","apiVersion":"x/v1","metadata":{"name":%q,"namespace":%q,"resourceVersion":"%d","labels":{"app":"web"}},%s}`, name, namespace, s.version, body)
	kind := "MODIFIED"
	if s.resources[p][namespace+"/"+name] == "" {
		kind = "ADDED"
	}
	s.resources[p][namespace+"/"+name] = object
	s.send(p, kind, object)
}

func (s *apiServer) drop(p, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	object := s.resources[p][namespace+"/"+name]
	delete(s.resources[p], namespace+"/"+name)
	s.send(p, "DELETED", object)
}

func (s *apiServer) send(p, kind, object string) {
	for events, of := range s.watches {
		if of == p {
			events <- `{"type":"` + kind + `","object":` + s.typed(p, object) + "}\n"
		}
	}
}

// typed gives an object the apiVersion and kind that its path says.
func (s *apiServer) typed(p, object string) string {
	kind := map[string]string{
		"pods": "Pod", "namespaces": "Namespace", "serviceaccounts": "ServiceAccount", "nodes": "Node", "networkpolicies": "NetworkPolicy",
		"globalnetworkpolicies": "GlobalNetworkPolicy", "tiers": "Tier", "networksets": "NetworkSet", "globalnetworksets": "GlobalNetworkSet",
	}[path.Base(p)]
	version := strings.TrimPrefix(strings.TrimPrefix(path.Dir(p), "/apis/"), "/api/")
	return strings.Replace(object, `"kind":"X","apiVersion":"x/v1"`, fmt.Sprintf(`"kind":%q,"apiVersion":%q`, kind, version), 1)
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	mood, objects := s.mood, s.resources[r.URL.Path]
	calico := strings.HasPrefix(r.URL.Path, pathV3) || strings.HasPrefix(r.URL.Path, pathCRD)
	var items []string
	for _, o := range objects {
		items = append(items, o)
	}
	groups := map[string]bool{"apps/v1": true}
	for p := range s.resources {
		groups[strings.TrimPrefix(path.Dir(p), "/apis/")] = true
	}
	version := s.version
	s.mu.Unlock()
	slices.Sort(items)

	w.Header().Set("Content-Type", "application/json")
	watching := r.URL.Query().Get("watch") != ""
	switch {
	case mood == down:
		fail(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case mood == misread:
		http.Error(w, "404 page not found", http.StatusNotFound)
	case r.URL.Path == "/apis":
		answer(w, groupList(groups))
	case mood == noGroups && calico:
		fail(w, http.StatusNotFound, "NotFound")
	case objects == nil && groups[strings.TrimPrefix(r.URL.Path, "/apis/")]:
		s.resourceList(w, r.URL.Path)
	case objects == nil:
		fail(w, http.StatusNotFound, "NotFound")
	case watching && r.URL.Query().Get("sendInitialEvents") == "true" && !s.streams:
		fail(w, http.StatusUnprocessableEntity, "Invalid")
	case watching:
		s.watch(w, r, items, version)
	default:
		for i := range items {
			items[i] = strings.Replace(items[i], `"kind":"X","apiVersion":"x/v1",`, "", 1) // lists of built-in kinds do not say it
		}
		list := strings.Replace(s.typed(r.URL.Path, `{"kind":"X","apiVersion":"x/v1"}`), `","apiVersion`, `List","apiVersion`, 1)
		answer(w, strings.TrimSuffix(list, "}")+fmt.Sprintf(`,"metadata":{"resourceVersion":"%d"},"items":[%s]}`, version, strings.Join(items, ",")))
	}
}

func groupList(versions map[string]bool) string {
	var out []string
	for gv := range versions {
		group, version, _ := strings.Cut(gv, "/")
		out = append(out, fmt.Sprintf(`{"name":%q,"versions":[{"groupVersion":%q,"version":%q}]}`, group, gv, version))
	}
	return `{"kind":"APIGroupList","apiVersion":"v1","groups":[` + strings.Join(out, ",") + `]}`
}

func (s *apiServer) resourceList(w http.ResponseWriter, group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for p := range s.resources {
		if path.Dir(p) == group {
			var named struct{ Kind string }
			if err := json.Unmarshal([]byte(s.typed(p, `{"kind":"X","apiVersion":"x/v1"}`)), &named); err == nil {
				out = append(out, fmt.Sprintf(`{"name":%q,"kind":%q}`, path.Base(p), named.Kind))
			}
		}
	}
	answer(w, `{"kind":"APIResourceList","apiVersion":"v1","resources":[`+strings.Join(out, ",")+`]}`)
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, items []string, version int) {
	events := make(chan string, 100)
	s.mu.Lock()
	s.watches[events] = r.URL.Path
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, events)
	}()
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, o := range items {
			answer(w, `{"type":"ADDED","object":`+s.typed(r.URL.Path, o)+"}\n")
		}
		end := fmt.Sprintf(`{"kind":"X","apiVersion":"x/v1","metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}}}`, version)
		answer(w, `{"type":"BOOKMARK","object":`+s.typed(r.URL.Path, end)+"}\n")
	}
	flush(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			answer(w, e)
			flush(w)
		}
	}
}

func answer(w http.ResponseWriter, text string) { _, _ = w.Write([]byte(text)) } //nolint:errcheck // a client that went away

func fail(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	answer(w, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code))
}

// watchPolicies follows a server until the test ends.
func watchPolicies(t *testing.T, s *apiServer, cidrs ...netip.Prefix) (*state.Policies, *Watcher) {
	t.Helper()
	server := httptest.NewServer(s)
	p := state.NewPolicies(policy.Strict, time.Now)
	api, err := NewPolicyAPI(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	w := New(api.client, klog.Background(), time.Now, api.Policies(p, cidrs)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return p, w
}

// eventually waits for the condition, and names what it is about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return ok(), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// inForce names policies and tiers in order of evaluation.
func inForce(p *state.Policies) string {
	s := p.Snapshot()
	if s == nil {
		return "unread: " + p.WhyUnread()
	}
	var out []string
	for _, tier := range s.Tiers {
		for _, in := range tier.Policies {
			out = append(out, tier.Name+":"+in.ID.Path())
		}
	}
	return strings.Join(out, " ")
}

func isInForce(p *state.Policies, want string) func() bool {
	return func() bool { return inForce(p) == want }
}

func TestPoliciesAreFollowed(t *testing.T) {
	for name, streams := range map[string]bool{"lists as watches": true, "lists": false} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(streams)
			s.serve(pathV3)
			s.put(pathNamespaces, "", "prod", `"spec":{}`)
			s.put(pathAccounts, "prod", "web", `"secrets":[]`)
			s.put(pathNodes, "", "one", `"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24","fd00::/64"]}`)
			s.put(pathNodes, "", "two", `"spec":{"podCIDR":"10.244.1.0/24"}`)
			pod := `"spec":{"nodeName":"one","serviceAccountName":"web","containers":[{"name":"c","image":"x","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}]}],"initContainers":[{"name":"i","ports":[{"name":"dns","containerPort":53,"protocol":"UDP"}]}]},"status":{"phase":"Running","podIP":"10.244.0.5","podIPs":[{"ip":"10.244.0.5"},{"ip":"fd00::5"}]}`
			s.put(pathPods, "prod", "web-1", pod)
			s.put(pathPods, "prod", "waiting", `"spec":{"serviceAccountName":"web"},"status":{"phase":"Pending"}`)
			s.put(pathKubernetes, "prod", "k", `"spec":{"podSelector":{}}`)
			s.put(pathV3+"networkpolicies", "prod", "p", `"spec":{"tier":"security","selector":"all()","ingress":[{"action":"Allow","destination":{"ports":["80:70"]}}]}`)
			s.put(pathV3+"globalnetworkpolicies", "", "g", `"spec":{"order":2000}`)
			s.put(pathV3+"tiers", "", "security", `"spec":{"order":10}`)
			s.put(pathV3+"networksets", "prod", "s", `"spec":{"nets":["192.0.2.0/24"]}`)
			s.put(pathV3+"globalnetworksets", "", "gs", `"spec":{"nets":["198.51.100.0/24"]}`)
			p, w := watchPolicies(t, s)
			eventually(t, "everything is read", isInForce(p, "security:prod/p default:prod/knp.default.k default:g"))
			eventually(t, "so are the groups that are not served", func() bool { return w.WhyStale()+p.WhyPartial() == "" })
			got := p.Snapshot()
			web := got.Workload("prod", "web-1")
			if web == nil || web.Account.Name() != "web" || len(web.Addresses) != 2 || len(web.Ports) != 2 || web.Labels["app"] != "web" || web.Node != "one" {
				t.Errorf("pod %+v", web)
			}
			if got.Workload("prod", "waiting") != nil || got.Namespace("prod").Labels["app"] != "web" || len(got.NetworkSets) != 2 {
				t.Errorf("snapshot %+v", got)
			}
			if want := []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00::/64")}; !slices.Equal(p.PodCIDRs(), want) {
				t.Errorf("prefixes %v", p.PodCIDRs())
			}
			// The port that cannot be decoded makes its rule deny, and is reported; it keeps nothing else from being read.
			if rule := got.Tiers[0].Policies[0].Ingress[0]; !rule.Unparsed || rule.Action != policy.ActionDeny || len(p.Problems()) == 0 {
				t.Errorf("rule %+v, problems %v", rule, p.Problems())
			}

			s.put(pathPods, "prod", "web-1", strings.Replace(pod, "Running", "Succeeded", 1))
			s.drop(pathV3+"globalnetworkpolicies", "", "g")
			s.drop(pathNodes, "", "two")
			eventually(t, "changes arrive", func() bool {
				s := p.Snapshot()
				return inForce(p) == "security:prod/p default:prod/knp.default.k" && s.Workload("prod", "web-1") == nil && len(p.PodCIDRs()) == 2
			})
		})
	}
}

func TestCalicoGroupsComeAndGo(t *testing.T) {
	s := newAPIServer(true)
	s.serve(pathCRD)
	s.put(pathCRD+"networkpolicies", "prod", "default.p", `"spec":{}`)
	s.put(pathCRD+"tiers", "", "default", `"spec":{"order":1000000,"defaultAction":"Deny"}`)
	p, _ := watchPolicies(t, s, netip.MustParsePrefix("10.0.0.0/8"))
	eventually(t, "the fallback is read", isInForce(p, "default:prod/p"))

	// Calico's API server is installed: the same objects under the other group.
	s.serve(pathV3)
	s.put(pathV3+"tiers", "", "default", `"spec":{"order":1000000,"defaultAction":"Deny"}`)
	eventually(t, "it is noticed", func() bool { return strings.Contains(p.WhyPartial(), "prod/p") })
	if got := inForce(p); got != "default:prod/p" {
		t.Errorf("before the policy is there: %s", got)
	}
	s.put(pathV3+"networkpolicies", "prod", "p", `"spec":{"order":1}`)
	s.put(pathV3+"networkpolicies", "prod", "q", `"spec":{"order":2}`)
	eventually(t, "it is gone over to", isInForce(p, "default:prod/p default:prod/q"))

	// And removed again.
	s.unserve(pathV3)
	eventually(t, "the fallback is back", isInForce(p, "default:prod/p"))

	s.unserve(pathCRD)
	eventually(t, "no policy is left", isInForce(p, ""))
}

// Whatever an API server that is ill says, policies stay in force: it must not look as if there were none.
func TestOutageIsNotAbsence(t *testing.T) {
	for name, ill := range map[string]mood{"answers 503": down, "a proxy answers 404 to all": misread, "404 to what discovery lists": noGroups} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(true)
			s.serve(pathV3)
			s.put(pathV3+"networkpolicies", "prod", "p", `"spec":{}`)
			p, w := watchPolicies(t, s, netip.MustParsePrefix("10.0.0.0/8"))
			eventually(t, "it is read", isInForce(p, "default:prod/p"))
			s.become(ill)
			eventually(t, "the outage is noticed", func() bool {
				failed := 0
				for _, st := range w.Statuses() {
					if strings.HasSuffix(st.Name, "s."+groupV3) && st.Err != nil {
						failed++
					}
				}
				return failed == 5
			})
			if got := inForce(p); got != "default:prod/p" {
				t.Errorf("during the outage: %s", got)
			}
			for _, st := range w.Statuses() {
				if strings.HasSuffix(st.Name, "s."+groupV3) && st.Absent {
					t.Errorf("%s counts as not served", st.Name)
				}
			}
			s.become(well)
			s.put(pathV3+"networkpolicies", "prod", "q", `"spec":{"order":5}`)
			eventually(t, "it goes on after the outage", isInForce(p, "default:prod/q default:prod/p"))
		})
	}
	t.Run("from the start", func(t *testing.T) {
		s := newAPIServer(false)
		s.become(misread)
		p, _ := watchPolicies(t, s, netip.MustParsePrefix("10.0.0.0/8"))
		s.serve(pathV3)
		if got := inForce(p); !strings.HasPrefix(got, "unread") {
			t.Errorf("in force: %q", got)
		}
		s.become(well)
		eventually(t, "it is read", isInForce(p, ""))
	})
}

// What the trimmed pod keeps is all that policy reads of a whole one.
func TestTrimmedPodParsesAsAWholeOne(t *testing.T) {
	for name, text := range map[string]string{
		"a whole pod":       wholePod(3),
		"a mirror pod":      `{"metadata":{"name":"p","namespace":"a","annotations":{"kubernetes.io/config.mirror":"x","other":"y"}},"spec":{"nodeName":"n"},"status":{"podIP":"10.0.0.1"}}`,
		"the old alias":     `{"metadata":{"name":"p","namespace":"a"},"spec":{"nodeName":"n","serviceAccount":"web"},"status":{"podIPs":[{"ip":"10.0.0.1"}]}}`,
		"a host's pod":      `{"metadata":{"name":"p","namespace":"a"},"spec":{"nodeName":"n","hostNetwork":true},"status":{"podIP":"10.0.0.1"}}`,
		"a pod that ends":   `{"metadata":{"name":"p","namespace":"a","deletionTimestamp":"2026-01-01T00:00:00Z","annotations":{"cni.projectcalico.org/podIP":""}},"spec":{"nodeName":"n"},"status":{"podIP":"10.0.0.1"}}`,
		"annotated address": `{"metadata":{"name":"p","namespace":"a","annotations":{"cni.projectcalico.org/podIPs":"10.0.0.9/32"}},"spec":{"nodeName":"n"}}`,
		"ports":             `{"metadata":{"name":"p","namespace":"a"},"spec":{"nodeName":"n","containers":[{"ports":[{"name":"x","containerPort":1}]},{"ports":[{"name":"y","containerPort":2,"protocol":"SCTP"}]}]},"status":{"podIP":"fd00::1"}}`,
		"an address broken": `{"metadata":{"name":"p","namespace":"a"},"spec":{"nodeName":"n"},"status":{"podIP":"x"}}`,
	} {
		for _, sem := range []policy.Semantics{policy.Strict, policy.Calico} {
			whole, err := policy.DecodeAs("v1", "Pod", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			trimmed, err := podReading{}.decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want, wantProblems := policy.Parse(whole, sem)
			got, problems := policy.Parse(trimmed, sem)
			a, aErr := json.Marshal([]any{want, fmt.Sprint(wantProblems)})
			b, bErr := json.Marshal([]any{got, fmt.Sprint(problems)})
			if aErr != nil || bErr != nil || string(a) != string(b) {
				t.Errorf("%s: trimmed\n%s\nwhole\n%s", name, b, a)
			}
			pod, ok := trimmed.Value.(*corev1.Pod)
			if !ok || len(pod.Annotations) > 4 {
				t.Errorf("%s keeps annotations %v", name, pod.Annotations)
			}
		}
	}
}
