package controlplane

import (
	"net"
	"strconv"
)

// address is where the API server listens, and where this process reaches it.
type address interface {
	// listen is the port of the bind address that the API server takes.
	listen() int
	// reachable is the address in this process's network namespace.
	reachable() net.TCPAddr
	release() error
}

// newAddress reserves a port of this process's own network, or relays to that of
// another network namespace.
func newAddress(bind, netns string) (address, error) {
	// Nothing is returned beside an error: a nil pointer in an interface is not nil.
	if netns == "" {
		r, err := reserve(net.ParseIP(bind))
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	r, err := newRelay(netns, net.JoinHostPort(bind, strconv.Itoa(relayedPort)))
	if err != nil {
		return nil, err
	}
	return r, nil
}
