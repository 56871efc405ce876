package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/install"
)

// observer looks at every replica's certificate all the time, and at the caBundles: what is served has to be trusted by
// every caBundle of the last settling time.
type observer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu         sync.Mutex
	handshakes int
	serials    map[string]bool
	together   int // looks at which the replicas served different certificates
	untrusted  []string
	largest    int // certificates in a caBundle
}

// bundles as they were read at a time.
type bundles struct {
	until time.Time
	text  []string
}

func observe(t *testing.T, admin kubernetes.Interface) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := &observer{cancel: cancel, serials: map[string]bool{}}
	replicas := shared.Service().Ready()
	if len(replicas) != 2 {
		t.Fatalf("%d replicas are ready", len(replicas))
	}
	client, err := api.client(apiServerName)
	if err != nil {
		t.Fatal(err)
	}
	o.done.Go(func() {
		var recent []bundles
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now, err := read(ctx, admin)
			if err != nil {
				continue // the load sees the same API server
			}
			for len(recent) > 0 && time.Since(recent[0].until) > settle {
				recent = recent[1:]
			}
			recent = append(recent, bundles{until: time.Now(), text: now})
			o.look(ctx, replicas, client, recent)
		}
	})
	t.Cleanup(cancel)
	return o
}

// read returns the caBundle of every webhook.
func read(ctx context.Context, admin kubernetes.Interface) ([]string, error) {
	v, err := admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, "validate.saguard.io", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	m, err := admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "mutate.saguard.io", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range v.Webhooks {
		out = append(out, string(v.Webhooks[i].ClientConfig.CABundle))
	}
	for i := range m.Webhooks {
		out = append(out, string(m.Webhooks[i].ClientConfig.CABundle))
	}
	return out, nil
}

func (o *observer) look(ctx context.Context, replicas []*install.Replica, client tls.Certificate, recent []bundles) {
	seen := map[string]bool{}
	for _, r := range replicas {
		leaf, err := served(ctx, r.Address, client)
		if err != nil {
			continue
		}
		seen[leaf.SerialNumber.String()] = true
		problem := ""
		pools := map[string]bool{}
		for _, b := range recent {
			for _, text := range b.text {
				if !pools[text] {
					pools[text] = true
					if err := verify(leaf, text); err != nil {
						problem = err.Error()
					}
				}
			}
		}
		o.mu.Lock()
		o.handshakes++
		o.serials[leaf.SerialNumber.String()] = true
		if problem != "" {
			o.untrusted = append(o.untrusted, fmt.Sprintf("%s: %s", r.Name, problem))
		}
		for text := range pools {
			o.largest = max(o.largest, count(text))
		}
		o.mu.Unlock()
	}
	o.mu.Lock()
	if len(seen) > 1 {
		o.together++
	}
	o.mu.Unlock()
}

func count(text string) (n int) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(text))
	return len(pool.Subjects()) //nolint:staticcheck // not the system's pool
}

// verify asks as an API server does.
func verify(leaf *x509.Certificate, bundle string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(bundle))
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"})
	return err
}

// served is the certificate that a replica shows.
func served(ctx context.Context, address string, client tls.Certificate) (*x509.Certificate, error) {
	d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{client}}} //nolint:gosec // it is looked at, not trusted
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("connection is %T", conn)
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func (o *observer) stop(t *testing.T) {
	t.Helper()
	o.cancel()
	o.done.Wait()
	t.Logf("%d handshakes, %d certificates, %d looks at which replicas served different ones, at most %d CAs in a caBundle",
		o.handshakes, len(o.serials), o.together, o.largest)
	for i, u := range o.untrusted {
		if i < 3 {
			t.Errorf("served, and not trusted by a caBundle of the last %s: %s", settle, u)
		}
	}
}

// ask opens a connection and says something, since it is only then that a client learns that its certificate was refused.
func ask(t *testing.T, address string, client tls.Certificate) error {
	t.Helper()
	d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{client}}} //nolint:gosec // a test's own server
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 16))
	return err
}
