package controlplane

import (
	"net"
	"slices"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options Options
		err     string
	}{
		{name: "nothing set"},
		{name: "a level", options: Options{AuditLevel: auditv1.LevelRequestResponse}},
		{name: "no such level", options: Options{AuditLevel: "Everything"}, err: "options.auditLevel"},
		{name: "an IPv6 address", options: Options{BindAddress: "::1"}},
		{name: "a name for an address", options: Options{BindAddress: "localhost"}, err: "options.bindAddress"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.options.withDefaults()
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("withDefaults: %v, want an error with %q", err, tc.err)
			}
		})
	}
}

func TestSANsAreSortedIntoNamesAndAddresses(t *testing.T) {
	dnsNames, ips := Options{BindAddress: "192.0.2.1", ExtraSANs: []string{"api.example.com", "192.0.2.9"}}.sans()
	for _, want := range []string{"api.example.com", "kubernetes.default.svc", "localhost"} {
		if !slices.Contains(dnsNames, want) {
			t.Errorf("names %q lack %s", dnsNames, want)
		}
	}
	for _, want := range []string{"192.0.2.1", "192.0.2.9", "127.0.0.1", serviceAddress} {
		if !slices.ContainsFunc(ips, net.ParseIP(want).Equal) {
			t.Errorf("addresses %v lack %s", ips, want)
		}
	}
}

func TestReservedPortIsNobodyElses(t *testing.T) {
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback} {
		port, err := reserve(ip)
		if err != nil {
			t.Fatal(err)
		}
		if listener, err := net.Listen("tcp", port.addr.String()); err == nil {
			t.Errorf("%s: someone else may listen there", listener.Addr())
			_ = listener.Close()
		}
		if conn, err := net.Dial("tcp", port.addr.String()); err == nil {
			t.Errorf("%s: a connection to a port nobody listens on", conn.RemoteAddr())
			_ = conn.Close()
		}
		if err := port.release(); err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", port.addr.String())
		if err != nil {
			t.Fatalf("after release: %v", err)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
}
