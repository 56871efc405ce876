package extauthz_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/saguard/saguard/authz/extauthz"
)

// One client that takes all the connections it can get leaves the others theirs, and has its places again when it lets go.
func TestOneClientCannotUseUpTheConnections(t *testing.T) {
	ours := newAuthority(t, "cluster.local")
	r, calls, requests := onTCPEndpoints(t, &extauthz.MutualTLS{
		Credentials: ours.folder(t, ours.issue(t, idAgent, "agent")), Proxies: proxies(t, idAPI),
	})
	config := ours.calling("agent", ours.issue(t, idAPI))
	const many, allowedOf = 400, 128
	elsewhere := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for name, address := range map[string]string{"gRPC": calls, "JSON": requests} {
		before := r.counted(t, "saguard_authz_connections_refused_total")
		var held []net.Conn
		for range many {
			conn, err := elsewhere.DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
		}
		for deadline := time.Now().Add(20 * time.Second); r.counted(t, "saguard_authz_connections_refused_total")-before < many-allowedOf; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: only %v of %d connections of one client were refused", name, r.counted(t, "saguard_authz_connections_refused_total")-before, many)
			}
		}
		if grpcErr, jsonErr := overTCP(t, calls, requests, config); grpcErr != nil || jsonErr != nil {
			t.Errorf("%s: another client is not served: gRPC %v, JSON %v", name, grpcErr, jsonErr)
		}
		for _, conn := range held {
			conn.Close()
		}
	}
	again := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DialContext: elsewhere.DialContext, DisableKeepAlives: true}}
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = ask(t.Context(), again, requests); err == nil {
			return
		}
	}
	t.Errorf("a client that let go of its connections is not served: %v", err)
}

func ask(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
