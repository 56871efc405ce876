package extauthz_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/authz/extauthz"
	"github.com/saguard/saguard/policy"
)

// world: prod/api, which lets accounts with role=web GET below /public and call one gRPC method, and lets prod/ops do
// everything; prod/plain with the same policy in a namespace that takes plaintext; and callers.
const world = `
{apiVersion: v1, kind: Namespace, metadata: {name: prod}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: plain}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: prod, labels: {role: web}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: batch, namespace: prod, labels: {role: batch}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: ops, namespace: prod}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: api, namespace: prod}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: api, namespace: plain}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: prod}, spec: {nodeName: a, serviceAccountName: web}, status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: batch-0, namespace: prod}, spec: {nodeName: a, serviceAccountName: batch}, status: {podIPs: [{ip: 10.0.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ops-0, namespace: prod}, spec: {nodeName: b, serviceAccountName: ops}, status: {podIPs: [{ip: 10.0.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ghost-0, namespace: prod}, spec: {nodeName: a, serviceAccountName: ghost}, status: {podIPs: [{ip: 10.0.0.4}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin-0, namespace: prod}, spec: {nodeName: a, serviceAccountName: web}, status: {podIPs: [{ip: 10.0.0.5}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin-1, namespace: prod}, spec: {nodeName: b, serviceAccountName: web}, status: {podIPs: [{ip: 10.0.0.5}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-0, namespace: prod, labels: {app: api}}, spec: {nodeName: a, serviceAccountName: api}, status: {podIPs: [{ip: 10.0.1.1}, {ip: "fd00::a"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-0, namespace: plain, labels: {app: api}}, spec: {nodeName: a, serviceAccountName: api}, status: {podIPs: [{ip: 10.0.1.2}]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: api}
spec:
  selector: app == 'api'
  ingress:
  - {action: Deny, source: {serviceAccounts: {selector: role == 'batch'}, namespaceSelector: all()}}
  - action: Allow
    source: {serviceAccounts: {selector: role == 'web'}, namespaceSelector: all()}
    http: {methods: [GET], paths: [{prefix: /public}]}
  - action: Allow
    source: {serviceAccounts: {selector: role == 'web'}, namespaceSelector: all()}
    http: {methods: [POST], paths: [{prefix: /shop.Catalog/Get}, {prefix: /shop.Health}]}
  - {action: Allow, source: {serviceAccounts: {names: [ops]}, namespaceSelector: all()}}
`

func parse(t testing.TB, rev uint64, docs string) *policy.Snapshot {
	t.Helper()
	var resources []policy.Resource
	for doc := range strings.SplitSeq(docs, "\n---\n") {
		raw, err := yaml.YAMLToJSONStrict([]byte(doc))
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		o, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		r, problems := policy.Parse(o, policy.Strict)
		if len(problems) > 0 {
			t.Fatalf("%v", problems)
		}
		resources = append(resources, r)
	}
	return policy.NewSnapshot(rev, policy.Strict, resources)
}

// store is what the agent has: a snapshot, or none yet.
type store struct {
	current atomic.Pointer[policy.Snapshot]
}

func (s *store) Snapshot() (*policy.Snapshot, uint64, bool) {
	snapshot := s.current.Load()
	if snapshot == nil {
		return nil, 0, false
	}
	return snapshot, snapshot.Rev, true
}

// before calls something first.
type before struct {
	extauthz.Snapshots
	call func()
}

func (b before) Snapshot() (*policy.Snapshot, uint64, bool) {
	b.call()
	return b.Snapshots.Snapshot()
}

// journal keeps records, and refuses them while broken.
type journal struct {
	mu      sync.Mutex
	records []audit.Record
	broken  bool
}

func (j *journal) Write(r *audit.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken {
		return errors.New("disk full")
	}
	if err := r.Validate(); err != nil {
		return err
	}
	j.records = append(j.records, *r)
	return nil
}

func (j *journal) last(t testing.TB) audit.Record {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.records) == 0 {
		t.Fatal("nothing was recorded")
	}
	return j.records[len(j.records)-1]
}

// rig is a running server.
type rig struct {
	store    *store
	journal  *journal
	registry *prometheus.Registry
	server   *extauthz.Server
	grpc     string // path of the socket
	json     string
	client   authv3.AuthorizationClient
	conn     *grpc.ClientConn
	stop     func() error // ends the server, and says how it ended
}

func config(t testing.TB) *authz.Config {
	t.Helper()
	c, err := authz.NewConfig(authz.ConfigOptions{TrustDomains: []string{"cluster.local"}, PlaintextNamespaces: []string{"plain"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start serves on sockets in a folder of the test's own, until the test ends.
func start(t testing.TB, change func(*extauthz.Options)) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{
		store: &store{}, journal: &journal{}, registry: prometheus.NewRegistry(),
		grpc: filepath.Join(dir, "g"), json: filepath.Join(dir, "j"),
	}
	r.store.current.Store(parse(t, 7, world))
	metrics, err := extauthz.NewMetrics(r.registry)
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan []net.Addr, 1)
	o := extauthz.Options{
		Snapshots: r.store, Config: config(t), Recorder: r.journal, Metrics: metrics, Log: logr.Discard(), Now: time.Now,
		GRPC: extauthz.Endpoint{Socket: r.grpc}, JSON: extauthz.Endpoint{Socket: r.json},
		RecordAllowed: true, Listening: func(a []net.Addr) { listening <- a },
	}
	if change != nil {
		change(&o)
	}
	if r.server, err = extauthz.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.server.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case <-listening:
	case err := <-ended:
		ended <- err
		t.Fatalf("the server did not start: %v", err)
	}
	r.conn = dial(t, r.grpc)
	r.client = authv3.NewAuthorizationClient(r.conn)
	return r
}

func dial(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// request is a CheckRequest as Envoy's HTTP filter builds it.
func request(source, principal, destination, method, path string) *authv3.CheckRequest {
	r := connection(source, principal, destination)
	r.Attributes.Request = &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
		Id: "1", Method: method, Path: path, Host: "api", Scheme: "https", Protocol: "HTTP/2",
		Headers: map[string]string{":method": method, ":path": path, ":authority": "api"},
	}}
	return r
}

// connection is a CheckRequest as Envoy's network filter builds it.
func connection(source, principal, destination string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      &authv3.AttributeContext_Peer{Address: socketAddress(source, 40000), Principal: principal},
		Destination: &authv3.AttributeContext_Peer{Address: socketAddress(destination, 8080)},
	}}
}

func socketAddress(address string, port uint32) *corev3.Address {
	if address == "" {
		return nil
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

const (
	idWeb   = "spiffe://cluster.local/ns/prod/sa/web"
	idBatch = "spiffe://cluster.local/ns/prod/sa/batch"
	idOps   = "spiffe://cluster.local/ns/prod/sa/ops"
	idGhost = "spiffe://cluster.local/ns/prod/sa/ghost"
	idAPI   = "spiffe://cluster.local/ns/prod/sa/api"
)

func read(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// addressOf is a socket's address as Envoy writes it.
func addressOf(a net.Addr) *corev3.Address {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return nil
	}
	return socketAddress(tcp.AddrPort().Addr().Unmap().String(), uint32(tcp.AddrPort().Port()))
}
