// Package clientaddr says which connections belong to one client, for bounds that clients share.
package clientaddr

import (
	"net"
	"net/netip"
)

// Of is what the connections of one client have in common: an IPv4 address, or the /64 of an IPv6 address, since whoever has one
// address of that usually has them all. Connections whose address is none of TCP count as one client's.
func Of(conn net.Conn) netip.Prefix {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := addr.AddrPort().Addr().Unmap()
	return netip.PrefixFrom(ip, min(ip.BitLen(), 64)).Masked()
}
