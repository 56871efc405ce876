package extauthz

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/netutil"
)

// socketMode lets the owner and one group connect, and nobody else (Calico's checker leaves its socket open to all, D11).
const socketMode = 0o660

// maxConnections bounds the connections of one listener: more wait to be accepted. Proxies keep one for each worker.
const maxConnections = 1 << 10

// listen opens what the endpoint names: none, one or two listeners. TLS of a TCP listener is set up here, so that gRPC and
// HTTP are served in the same way; protocol is the one that is offered to clients (ALPN). refused is called for connections
// that are turned away.
func (e *Endpoint) listen(ctx context.Context, protocol string, refused func(error)) ([]net.Listener, error) {
	var out []net.Listener
	if e.Socket != "" {
		l, err := listenUnix(ctx, e.Socket, e.SocketGroup)
		if err != nil {
			return nil, err
		}
		out = append(out, netutil.LimitListener(l, maxConnections))
	}
	if e.Address != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.Address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", e.Address, err), closeAll(out))
		}
		l = netutil.LimitListener(newSharedListener(l, refused), maxConnections)
		out = append(out, tls.NewListener(l, e.TLS.config(protocol, refused)))
	}
	return out, nil
}

// unixListener removes its socket when it is closed, unless another process has put its own there meanwhile.
type unixListener struct {
	*net.UnixListener
	path string
	info os.FileInfo
}

// listenUnix makes the socket under another name and moves it into place when its mode and group are right: it never is
// open wider, what an earlier process left is replaced, and proxies find one socket or the other at every moment.
func listenUnix(ctx context.Context, path string, group int) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen on %s: the file there is not a socket", path)
	}
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: got a %T", path, l), l.Close())
	}
	unix.SetUnlinkOnClose(false)
	info, err := place(temporary, path, group)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), unix.Close(), os.Remove(temporary))
	}
	return &unixListener{UnixListener: unix, path: path, info: info}, nil
}

func place(temporary, path string, group int) (os.FileInfo, error) {
	if err := os.Chmod(temporary, socketMode); err != nil {
		return nil, err
	}
	if group != 0 {
		if err := os.Chown(temporary, -1, group); err != nil {
			return nil, err
		}
	}
	info, err := os.Lstat(temporary)
	if err != nil {
		return nil, err
	}
	return info, os.Rename(temporary, path)
}

// Addr implements net.Listener.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close implements net.Listener.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if info, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(info, l.info) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}
