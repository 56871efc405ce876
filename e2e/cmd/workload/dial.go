package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// errCut says that a connection that worked does not any more.
var errCut = errors.New("cut")

// dial sends one line and prints the answer.
func dial(ctx context.Context, network, address string, patience time.Duration, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	answer, err := ask(conn, bufio.NewReader(conn), "hello")
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, answer)
	return err
}

// hold asks again and again over one connection. It prints the first answer, and ends with errCut when an answer does not
// come in time: a connection that is cut by a firewall is silent.
func hold(ctx context.Context, network, address string, patience, every time.Duration, out io.Writer) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last time.Time // an answer came
	for n := 1; ; n++ {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		answer, err := ask(conn, answers, fmt.Sprint("line ", n))
		if err != nil && n > 1 {
			return fmt.Errorf("%w after %d answers, the last at %s: %w", errCut, n-1, last.UTC().Format(time.RFC3339Nano), err)
		}
		if err != nil {
			return err
		}
		last = time.Now()
		if n == 1 {
			if _, err := fmt.Fprint(out, answer); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			_, err := fmt.Fprintf(out, "held: %d answers\n", n)
			return err
		case <-tick.C:
		}
	}
}

func ask(conn net.Conn, answers *bufio.Reader, line string) (string, error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	return answers.ReadString('\n')
}
