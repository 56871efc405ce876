package extauthz_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/saguard/saguard/enforce/nft"
	"github.com/saguard/saguard/policy/compile"
)

const (
	patience = 20 * time.Second
	// unreachable is how long a connection that packet rules drop is waited for.
	unreachable = 500 * time.Millisecond
)

// mesh: prod/api lets web read /public over TLS and in the clear, batch read /batch, and web speak TCP; prod/stray nothing.
// The packet rules let web and batch reach it, and stray not; who asks for what is for the identity check to say.
const mesh = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: web}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: batch, namespace: prod, labels: {role: batch}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: stray, namespace: prod}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: api, namespace: prod}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: prod}, spec: {nodeName: a, serviceAccountName: web}, status: {podIPs: [{ip: 10.44.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: batch, namespace: prod}, spec: {nodeName: a, serviceAccountName: batch}, status: {podIPs: [{ip: 10.44.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: stray, namespace: prod}, spec: {nodeName: a, serviceAccountName: stray}, status: {podIPs: [{ip: 10.44.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: prod}, spec: {nodeName: a, serviceAccountName: api}, status: {podIPs: [{ip: 10.44.0.9}]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: api, namespace: prod}
spec:
  selector: projectcalico.org/serviceaccount == 'api'
  ingress:
  - action: Allow
    protocol: TCP
    source: {serviceAccounts: {selector: role == 'web'}}
    destination: {ports: [8443, 8080]}
    http: {methods: [GET], paths: [{prefix: /public}]}
  - action: Allow
    protocol: TCP
    source: {serviceAccounts: {selector: role == 'batch'}}
    destination: {ports: [8443, 8080]}
    http: {methods: [GET], paths: [{prefix: /batch}]}
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {selector: role == 'web'}}, destination: {ports: [9443]}}
  - action: Allow
    protocol: TCP
    source: {serviceAccounts: {selector: role == 'batch'}}
    destination: {ports: [9443]}
    http: {methods: [GET]}
`

// stage is a node with pods, their certificates, the packet rules and the proxies of prod/api.
type stage struct {
	rig           *rig
	pods          map[string]*place
	ours, foreign *authority
	kernel        *nft.Applier
	tls           map[string]tls.Certificate // by the name of the account
	http, plain   *proxy
	tcp           *proxy
}

const (
	httpsAddress = "10.44.0.9:8443"
	plainAddress = "10.44.0.9:8080"
	tcpAddress   = "10.44.0.9:9443"
)

func newStage(t *testing.T) *stage {
	t.Helper()
	node := newNode(t)
	s := &stage{pods: map[string]*place{}, ours: newAuthority(t, "cluster.local"), foreign: newAuthority(t, "evil.example"), tls: map[string]tls.Certificate{}}
	for i, name := range []string{"web", "batch", "stray", "api"} {
		s.pods[name] = node.newPod(t, i, map[string]string{"web": "10.44.0.1", "batch": "10.44.0.2", "stray": "10.44.0.3", "api": "10.44.0.9"}[name])
		s.tls[name] = s.ours.issue(t, "spiffe://cluster.local/ns/prod/sa/"+name, "api")
	}
	s.tls["foreign"] = s.foreign.issue(t, "spiffe://evil.example/ns/prod/sa/web")
	s.tls["malformed"] = s.ours.issue(t, "spiffe://cluster.local/web")
	s.rig = start(t, nil)
	node.must(t, func() (err error) {
		s.kernel, err = nft.New(nft.Options{})
		return err
	})
	t.Cleanup(func() { s.kernel.Close() })
	s.publish(t, mesh)
	s.pack(t, mesh)

	// The mesh is federated: the proxy trusts both authorities, and leaves it to the check what that is worth.
	serving := s.ours.serving(s.tls["api"])
	serving.ClientCAs = serving.ClientCAs.Clone()
	serving.ClientCAs.AddCert(s.foreign.certificate)
	api := s.pods["api"]
	app := api.listen(t, "127.0.0.1:8081")
	backend := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.WriteString(w, "the application at "+r.URL.Path); err != nil {
			t.Error(err)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- backend.Serve(app) }()
	t.Cleanup(func() {
		backend.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the application ended with %v", err)
		}
	})
	upstream := func(ctx context.Context) (net.Conn, error) { return api.dial(ctx, "127.0.0.1:8081") }
	s.http = &proxy{tls: serving, client: s.rig.client, upstream: upstream}
	s.plain = &proxy{client: s.rig.client, upstream: upstream}
	s.tcp = &proxy{tls: serving, client: s.rig.client, upstream: upstream}
	s.http.serveHTTP(t, api.listen(t, httpsAddress))
	s.plain.serveHTTP(t, api.listen(t, plainAddress))
	s.tcp.serveTCP(t, api.listen(t, tcpAddress))
	return s
}

// publish gives the identity check a world.
func (s *stage) publish(t testing.TB, docs string) { s.rig.store.current.Store(parse(t, 7, docs)) }

// pack gives the kernel a world.
func (s *stage) pack(t testing.TB, docs string) {
	t.Helper()
	rules, problems := compile.Compile(parse(t, 7, docs), "a")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := s.kernel.Sync(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
}

// client calls from a pod with a certificate; over one connection if keep.
func (s *stage) client(from, certificate string, keep bool) *http.Client {
	config := s.ours.calling("api", s.tls[certificate])
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: !keep, TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return s.pods[from].dial(ctx, address) },
	}}
}

func get(t testing.TB, c *http.Client, url string) (status int, body string) {
	t.Helper()
	in, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Do(in)
	if err != nil {
		return 0, err.Error()
	}
	defer out.Body.Close()
	return out.StatusCode, read(t, out.Body)
}

// say sends a line over TLS and returns the answer, "" if the connection was closed instead.
func (s *stage) say(t testing.TB, from, certificate string) string {
	t.Helper()
	raw, err := s.pods[from].dial(t.Context(), tcpAddress)
	if err != nil {
		return err.Error()
	}
	c := tls.Client(raw, s.ours.calling("api", s.tls[certificate]))
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return ""
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(answer))
}

func TestTwoFactorsBetweenNamespaces(t *testing.T) {
	s := newStage(t)
	cases := map[string]struct {
		from, certificate string
		url               string
		status            int
		reason            string
	}{
		"both right":                                {from: "web", certificate: "web", url: "https://" + httpsAddress + "/public/a", status: 200, reason: "policy-rule"},
		"both right, another account":               {from: "batch", certificate: "batch", url: "https://" + httpsAddress + "/batch", status: 200, reason: "policy-rule"},
		"both right, another's path":                {from: "batch", certificate: "batch", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "end-of-tier"},
		"right certificate, wrong pod":              {from: "batch", certificate: "web", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "identity-mismatch"},
		"right certificate, wrong pod's path":       {from: "batch", certificate: "web", url: "https://" + httpsAddress + "/batch", status: 403, reason: "identity-mismatch"},
		"wrong certificate, right pod":              {from: "web", certificate: "batch", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "identity-mismatch"},
		"wrong certificate, right pod, its path":    {from: "web", certificate: "batch", url: "https://" + httpsAddress + "/batch", status: 403, reason: "identity-mismatch"},
		"both wrong":                                {from: "batch", certificate: "stray", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "identity-mismatch"},
		"the server's own certificate":              {from: "web", certificate: "api", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "identity-mismatch"},
		"a foreign authority's certificate":         {from: "web", certificate: "foreign", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "foreign-trust-domain"},
		"a certificate that names no account":       {from: "web", certificate: "malformed", url: "https://" + httpsAddress + "/public/a", status: 403, reason: "malformed-identity"},
		"plaintext":                                 {from: "web", certificate: "web", url: "http://" + plainAddress + "/public/a", status: 403, reason: "missing-identity"},
		"a path that leads out":                     {from: "web", certificate: "web", url: "https://" + httpsAddress + "/public/%2e%2e/batch", status: 403, reason: "end-of-tier"},
		"a pod whose packets are dropped":           {from: "stray", certificate: "stray", url: "https://" + httpsAddress + "/public/a"},
		"a stolen certificate and dropped packets":  {from: "stray", certificate: "web", url: "https://" + httpsAddress + "/public/a"},
		"plaintext from a pod that may read /batch": {from: "batch", certificate: "batch", url: "http://" + plainAddress + "/batch", status: 403, reason: "missing-identity"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, body := get(t, s.client(tc.from, tc.certificate, false), tc.url)
			p := s.http
			if strings.HasPrefix(tc.url, "http:") {
				p = s.plain
			}
			if status != tc.status || tc.reason != "" && p.reason() != tc.reason {
				t.Fatalf("got %d %q for %s, want %d for %s", status, body, p.reason(), tc.status, tc.reason)
			}
			if status == 403 && body != "denied\n" || status == 200 && !strings.HasPrefix(body, "the application at") {
				t.Errorf("got body %q", body)
			}
			if status == 0 && !strings.Contains(body, "timeout") {
				t.Errorf("got %q, want a timeout: the packet rules drop", body)
			}
		})
	}
	for name, tc := range map[string]struct{ from, certificate, want, reason string }{
		"TCP, both right":                        {from: "web", certificate: "web", want: "HELLO", reason: "policy-rule"},
		"TCP, right certificate, wrong pod":      {from: "batch", certificate: "web", reason: "identity-mismatch"},
		"TCP, wrong certificate, right pod":      {from: "web", certificate: "batch", reason: "identity-mismatch"},
		"TCP, both wrong":                        {from: "batch", certificate: "stray", reason: "identity-mismatch"},
		"TCP, a foreign authority's certificate": {from: "web", certificate: "foreign", reason: "foreign-trust-domain"},
		"TCP, where only HTTP is allowed":        {from: "batch", certificate: "batch", reason: "end-of-tier"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.say(t, tc.from, tc.certificate); got != tc.want || s.tcp.reason() != tc.reason {
				t.Errorf("got %q for %s, want %q for %s", got, s.tcp.reason(), tc.want, tc.reason)
			}
		})
	}
}

// A change of labels holds for the next request on a connection that is open already, and for its packets when the kernel
// has it.
func TestRevokedLabelEndsWhatIsOpen(t *testing.T) {
	s := newStage(t)
	url := "https://" + httpsAddress + "/public/a"
	open := s.client("web", "web", true)
	if status, body := get(t, open, url); status != 200 {
		t.Fatalf("got %d %q", status, body)
	}
	revoked := strings.Replace(mesh, "labels: {role: web}", "labels: {role: none}", 1)
	s.publish(t, revoked)
	if status, body := get(t, open, url); status != 403 || s.http.reason() != "end-of-tier" {
		t.Errorf("after the change: got %d %q for %s", status, body, s.http.reason())
	}
	s.pack(t, revoked)
	if status, body := get(t, s.client("web", "web", false), url); status != 0 {
		t.Errorf("with packet rules: got %d %q, want no connection", status, body)
	}
	s.publish(t, mesh)
	s.pack(t, mesh)
	if status, body := get(t, s.client("web", "web", false), url); status != 200 {
		t.Errorf("granted again: got %d %q", status, body)
	}
}

// What failure_mode_allow means: a stopped agent closes, or opens, what its proxies guard.
func TestStoppedAgentMeansDeniedUnlessTheProxySaysOtherwise(t *testing.T) {
	s := newStage(t)
	url := "https://" + httpsAddress + "/public/a"
	s.rig.store.current.Store(nil)
	for _, stopped := range []bool{false, true} {
		if stopped {
			if err := s.rig.stop(); err != nil {
				t.Fatal(err)
			}
		}
		for _, open := range []bool{false, true} {
			s.http.failureModeAllow = open
			want := map[bool]int{false: 403, true: 200}[open]
			for _, certificate := range []string{"web", "batch"} {
				if status, body := get(t, s.client("web", certificate, false), url); status != want {
					t.Errorf("stopped %v, failure_mode_allow %v, certificate of %s: got %d %q, want %d", stopped, open, certificate, status, body, want)
				}
			}
		}
	}
}
