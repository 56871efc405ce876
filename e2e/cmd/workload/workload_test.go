package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// server starts serve's handler on loopback and returns its address.
func server(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = serveStreams(l, "one") }()
	return l.Addr().String()
}

func TestDialPrintsWhoAnswers(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"dial", "tcp", server(t)}, &out); err != nil || out.String() != "one heard hello\n" {
		t.Errorf("dial: %q, %v", out.String(), err)
	}
}

func TestDialFailsWithoutAnAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	var out strings.Builder
	if err := run(t.Context(), []string{"dial", "-patience=50ms", "tcp", silent.Addr().String()}, &out); err == nil || out.Len() > 0 {
		t.Errorf("dial: %q, %v; want an error and no output", out.String(), err)
	}
}

func TestDatagramsAreAnswered(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() { _ = serveDatagrams(conn, "one") }()
	var out strings.Builder
	if err := run(t.Context(), []string{"dial", "udp", conn.LocalAddr().String()}, &out); err != nil || out.String() != "one heard hello\n" {
		t.Errorf("dial: %q, %v", out.String(), err)
	}
}

func TestHoldSaysWhenItIsCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() { // answers three lines, then falls silent without closing
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		lines := bufio.NewScanner(conn)
		for n := 0; lines.Scan(); n++ {
			if n < 3 {
				fmt.Fprintln(conn, "heard "+lines.Text())
			}
		}
	}()
	var out strings.Builder
	err = run(t.Context(), []string{"hold", "-patience=100ms", "-every=1ms", "tcp", l.Addr().String()}, &out)
	if !errors.Is(err, errCut) || !strings.Contains(err.Error(), "after 3 answers") || out.String() != "heard line 1\n" {
		t.Errorf("hold: %v, %q; want errCut after 3 answers", err, out.String())
	}
}

func TestHoldEndsWellWhenAskedTo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, []string{"hold", "-every=1ms", "tcp", server(t)}, &out); err != nil || !strings.Contains(out.String(), "held: ") {
		t.Errorf("hold: %v, %q", err, out.String())
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"sing"}, {"serve"}, {"serve", "icmp:1"}, {"dial", "tcp"}, {"hold", "tcp"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
