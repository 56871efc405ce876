package controlplane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reservation holds a TCP port without listening on it. With SO_REUSEPORT the
// API server (--permit-port-sharing) may bind the same port, since it runs as
// the same user, while the kernel gives it to nobody else, also not while the
// API server restarts. Connecting to a port that is only reserved is refused.
type reservation struct {
	fd   int
	addr net.TCPAddr
}

// reserve takes a free port of the address.
func reserve(ip net.IP) (_ *reservation, err error) {
	family, sockaddr := unix.AF_INET6, unix.Sockaddr(nil)
	if ip4 := ip.To4(); ip4 != nil {
		family, sockaddr = unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(ip4)}
	} else if ip16 := ip.To16(); ip16 != nil {
		sockaddr = &unix.SockaddrInet6{Addr: [16]byte(ip16)}
	} else {
		return nil, fmt.Errorf("reserve a port: %v is not an IP address", ip)
	}
	syscall.ForkLock.RLock() // no child may inherit the socket: it would hold the port
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("socket", err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("setsockopt", err))
	}
	if err := unix.Bind(fd, sockaddr); err != nil {
		return nil, fmt.Errorf("reserve a port of %v: %w", ip, os.NewSyscallError("bind", err))
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("getsockname", err))
	}
	r := &reservation{fd: fd, addr: net.TCPAddr{IP: ip}}
	switch a := bound.(type) {
	case *unix.SockaddrInet4:
		r.addr.Port = a.Port
	case *unix.SockaddrInet6:
		r.addr.Port = a.Port
	}
	return r, nil
}

func (r *reservation) release() error {
	return os.NewSyscallError("close", unix.Close(r.fd))
}

func (r *reservation) listen() int            { return r.addr.Port }
func (r *reservation) reachable() net.TCPAddr { return r.addr }
