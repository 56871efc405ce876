package authz

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/saguard/saguard/internal/decision"
)

// Request is what a proxy says about a connection or an HTTP request; the fields are those of Envoy's CheckRequest
// (envoy/service/auth/v3/attribute_context.proto). Nothing in it is believed but what the proxy itself observed. Fields that
// are not listed, labels above all, are ignored.
type Request struct {
	Source      Peer  `json:"source"`
	Destination Peer  `json:"destination"`
	HTTP        *HTTP `json:"http,omitempty"` // nil for a connection that is not HTTP
}

// Peer is one end.
type Peer struct {
	// Address is the IP address of the socket, "" if the request carries none.
	Address string `json:"address,omitempty"`
	// Port is the port of the socket; 0 if the request carries none.
	Port uint32 `json:"port,omitempty"`
	// Protocol is "TCP", "UDP" (HTTP/3), or "" for TCP.
	Protocol string `json:"protocol,omitempty"`
	// Principal is the authenticated identity of the peer: for Envoy the first URI of the certificate's alternative names.
	Principal string `json:"principal,omitempty"`
}

// HTTP is an HTTP or gRPC request.
type HTTP struct {
	Method string `json:"method"`
	// Path is the request target with its query, as the client sent it.
	Path string `json:"path"`
	Host string `json:"host,omitempty"` // not read by any rule
	// Headers by lower-case name. Only x-forwarded-client-cert is ever read, and only where Config says so.
	Headers map[string]string `json:"headers,omitempty"`
}

// address parses the peer's address; IPv4-mapped addresses become IPv4. Zones are refused: no pod address has one.
func (p *Peer) address() (netip.Addr, bool) {
	a, err := netip.ParseAddr(p.Address)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// port is Unknown where the request does not carry a usable one.
func (p *Peer) port() decision.Fact[uint16] {
	if p.Port == 0 || p.Port > 65535 {
		return decision.Unknown[uint16]("not given")
	}
	return decision.Known(uint16(p.Port))
}

// ServerName names the pod that a request is for; the zero value leaves it to the destination address.
type ServerName struct{ Namespace, Name string }

// ParseServerName parses "namespace/name"; "" is the zero value.
func ParseServerName(s string) (ServerName, error) {
	if s == "" {
		return ServerName{}, nil
	}
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return ServerName{}, fmt.Errorf("parse server %q: want namespace/name of a pod", s)
	}
	return ServerName{Namespace: namespace, Name: name}, nil
}
