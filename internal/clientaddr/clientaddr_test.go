package clientaddr

import (
	"net"
	"net/netip"
	"testing"
)

type conn struct {
	net.Conn
	remote net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.remote }

func TestConnectionsOfOneClientHaveTheSame(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1:1":               "192.0.2.1/32",
		"[::ffff:192.0.2.1]:2":      "192.0.2.1/32",
		"[2001:db8:0:1::1]:1":       "2001:db8:0:1::/64",
		"[2001:db8:0:1:ffff::9]:65": "2001:db8:0:1::/64",
		"[2001:db8:0:2::1]:1":       "2001:db8:0:2::/64",
	} {
		if got := Of(conn{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))}); got != netip.MustParsePrefix(want) {
			t.Errorf("%s is %s's, want %s", text, got, want)
		}
	}
	if got := Of(conn{remote: &net.UnixAddr{Name: "a"}}); got != (netip.Prefix{}) {
		t.Errorf("a socket is %s's", got)
	}
}
