package drills

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saguard/saguard/e2e/controlplane"
)

// What is sent to the port of the only replica, all of it at once and again a while after it was answered.
const (
	hostileClients = 500
	slowClients    = 200
	silentClients  = 400
	attackPause    = 3 * time.Second
)

// attacker sends what is hostile until stopped.
type attacker struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	// begun is closed when most of what is sent was answered once.
	begun chan struct{}
	// answers counts status codes by what was sent; 0 is a connection that was ended.
	answers map[string]map[int]int
}

// startAttack runs the attacker in a process of its own that leaves the processor to others: it would be on another machine.
// It returns when the first requests were answered; stop ends it and returns what was answered.
func startAttack(t *testing.T, s *site, address string) (stop func() string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), attackEnv+"="+address, attackCAEnv+"="+string(s.CP.CABundle()))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = out
	exited, err := controlplane.StartTied(cmd)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() string {
		stdin.Close()
		err := <-exited
		text, readErr := os.ReadFile(out.Name())
		if err := errors.Join(err, readErr); err != nil {
			t.Errorf("attack: %v", err)
		}
		_, counts, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return counts
	})
	t.Cleanup(func() { stop() })
	s.await(t, "the attack to begin", func(context.Context) error {
		if text, err := os.ReadFile(out.Name()); err != nil || len(text) == 0 {
			return errNot("begun", err)
		}
		return nil
	})
	return stop
}

// The environment by which this test's program knows that it is the attacker: the address, and the CA's certificate.
const attackEnv, attackCAEnv = "SAGUARD_DRILLS_ATTACK", "SAGUARD_DRILLS_ATTACK_CA"

// attack is the attacker's main: it goes on until its standard input ends, and prints what was answered.
func attack(ctx context.Context, address, ca string) error {
	bodies, err := hostileBodies()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &attacker{cancel: cancel, begun: make(chan struct{}), answers: map[string]map[int]int{}}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	client := func() *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DialContext: elsewhere().DialContext}}
	}
	kinds := slices.Sorted(maps.Keys(bodies))
	for n := range hostileClients {
		kind, c := kinds[n%len(kinds)], client()
		a.again(ctx, kind, func() int { return send(ctx, c, address, bytes.NewReader(bodies[kind]), -1) })
	}
	slow := client()
	for range slowClients {
		a.again(ctx, "slow bodies", func() int { return send(ctx, slow, address, drip{ctx}, 60<<10) })
	}
	for range silentClients {
		a.again(ctx, "silence", func() int { return silence(ctx, address) })
	}
	<-a.begun
	fmt.Println("begun")
	_, err = io.Copy(io.Discard, os.Stdin)
	fmt.Println(a.stop())
	return err
}

// elsewhere connects from another address than the API server's: the server shares room for connections out by address, and a
// pod that attacks has its own.
func elsewhere() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
}

func hostileBodies() (map[string][]byte, error) {
	large, err := labels(7<<20 - 1<<10)
	if err != nil {
		return nil, err
	}
	small, err := labels(60 << 10)
	if err != nil {
		return nil, err
	}
	deep, err := nested(7<<20 - 1<<10)
	return map[string][]byte{
		"7 MiB of labels": large, "60 KiB of labels": small, "7 MiB of nesting": deep, "9 MiB": bytes.Repeat([]byte("x"), 9<<20),
	}, err
}

// again does one thing until ctx ends, a moment after it last ended: the attacker's own processor is the API server's, too.
func (a *attacker) again(ctx context.Context, kind string, do func() int) {
	a.done.Go(func() {
		pause := time.NewTimer(0)
		defer pause.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
			code := do()
			a.mu.Lock()
			if a.answers[kind] == nil {
				a.answers[kind] = map[int]int{}
				if len(a.answers) == 4 {
					close(a.begun)
				}
			}
			a.answers[kind][code]++
			a.mu.Unlock()
			pause.Reset(attackPause)
		}
	})
}

// stop returns what was answered.
func (a *attacker) stop() string {
	a.cancel()
	a.done.Wait()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(a.answers)) {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(a.answers[kind])) {
			what := strconv.Itoa(code)
			if code == 0 {
				what = "cut off"
			}
			codes = append(codes, fmt.Sprintf("%d %s", a.answers[kind][code], what))
		}
		parts = append(parts, kind+" "+strings.Join(codes, ", "))
	}
	return strings.Join(parts, "; ")
}

func send(ctx context.Context, c *http.Client, address string, body io.Reader, length int64) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/validate?timeout=5s", body)
	if err != nil {
		return 0
	}
	if length >= 0 {
		req.ContentLength = length
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// drip is a body of which a byte comes from time to time.
type drip struct{ ctx context.Context } //nolint:containedctx // an io.Reader has no other

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(500 * time.Millisecond):
		return copy(p, " "), nil
	}
}

// silence connects and waits to be cut off.
func silence(ctx context.Context, address string) int {
	conn, err := elsewhere().DialContext(ctx, "tcp", address)
	if err != nil {
		return 0
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return 0
	}
	return 0
}

// labels is a review of some size, of an account with as many labels as that holds.
func labels(size int) ([]byte, error) {
	more := map[string]string{}
	for n := range size / 16 {
		more[fmt.Sprintf("k%07d", n)] = "v"
	}
	return review(mallory, "r0", more)
}

// nested is a review of some size, whose object is nested as deeply as that allows.
func nested(size int) ([]byte, error) {
	body, err := review(mallory, "r0", nil)
	deep := strings.Repeat("[", size/2) + strings.Repeat("]", size/2)
	return []byte(strings.Replace(string(body), `"metadata":{`, `"metadata":{"x":`+deep+`,`, 1)), err
}
