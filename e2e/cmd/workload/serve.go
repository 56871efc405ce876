package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// serve answers at every NETWORK:PORT until ctx ends.
func serve(ctx context.Context, listeners []string, out io.Writer) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this pod's name: %w", err)
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		network, port, _ := strings.Cut(l, ":")
		switch network {
		case "tcp":
			listener, err := net.Listen(network, ":"+port)
			if err != nil {
				return err
			}
			go func() { failed <- serveStreams(listener, name) }()
		case "udp":
			conn, err := net.ListenPacket(network, ":"+port)
			if err != nil {
				return err
			}
			go func() { failed <- serveDatagrams(conn, name) }()
		default:
			return fmt.Errorf("%s: want tcp:PORT or udp:PORT", l)
		}
		if _, err := fmt.Fprintln(out, "serving", l); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func serveStreams(l net.Listener, name string) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // one client's trouble
		}
		go func() {
			defer func() { _ = conn.Close() }()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintf(conn, "%s heard %s\n", name, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

func serveDatagrams(conn net.PacketConn, name string) error {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(fmt.Appendf(nil, "%s heard %s\n", name, strings.TrimSpace(string(buf[:n]))), from); err != nil && errors.Is(err, net.ErrClosed) {
			return err
		}
	}
}
