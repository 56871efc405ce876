package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Client asks the agent of this node.
type Client struct{ http *http.Client }

// NewClient returns a client of the agent that listens on socket.
func NewClient(socket string) *Client {
	return &Client{http: &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks how the node is enforced.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	out := &Status{}
	return out, c.ask(ctx, http.MethodGet, pathStatus, nil, out)
}

// Explain asks what becomes of a connection.
func (c *Client) Explain(ctx context.Context, q Question) (*Answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	out := &Answer{}
	return out, c.ask(ctx, http.MethodPost, pathExplain, bytes.NewReader(body), out)
}

// mostAnswer bounds what is read of an answer, in bytes.
const mostAnswer = 64 << 20

func (c *Client) ask(ctx context.Context, method, path string, body io.Reader, into any) (err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent says: %s", strings.TrimSpace(string(text)))
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
