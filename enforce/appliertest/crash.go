package appliertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// The process that is killed is this test binary again, told so by these variables.
const (
	childNode = "APPLIERTEST_CHILD_NODE"
	childDir  = "APPLIERTEST_CHILD_DIR"
	childSeed = "APPLIERTEST_CHILD_SEED"
)

// child is an agent in a process of its own, until it is killed or its standard input ends: it takes over what is there and
// changes it without pause. It writes a line after each step. It returns false in a process that is not to be killed.
func child(t *testing.T, b Backend) bool {
	t.Helper()
	name := os.Getenv(childNode)
	if name == "" {
		return false
	}
	var seed int
	if _, err := fmt.Sscan(os.Getenv(childSeed), &seed); err != nil {
		t.Fatalf("read %s: %v", childSeed, err)
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin) // ends with the parent
		t.Errorf("parent ended: %v", errors.Join(err, syscall.Kill(os.Getpid(), syscall.SIGKILL)))
	}()
	here, err := netns.Get()
	if err != nil {
		t.Fatalf("find namespace: %v", err)
	}
	n := &node{
		Node: Node{Name: name, Dir: os.Getenv(childDir), NetNS: int(here)}, ns: &namespace{name: name, handle: here},
		rig: &rig{t: t, backend: b, refused: map[uint64]refusal{}},
	}
	n.rig.nodes = []*node{n}
	n.worker = newWorker(t, n.ns)
	say := func(what string) {
		if _, err := fmt.Fprintln(os.Stdout, what); err != nil {
			t.Fatalf("tell parent: %v", err)
		}
	}
	w := crashWorld(t, n.rig)
	w.sides[0].open(t)
	say("opened")
	w.sync()
	say("ready")
	for i := seed; ; i++ {
		w.churn(i)
		if i%16 == 15 {
			w.sync()
		} else {
			w.apply()
		}
		say("step")
	}
}

// crashWorld holds the cast and what the flood's flows depend on, with Appliers to be opened.
func crashWorld(t testing.TB, r *rig) *world {
	t.Helper()
	w := emptyWorld(t, r)
	w.set(cast(t)...)
	w.set(mustDecode(t, called)...)
	return w
}

// crash: an agent is killed at any moment, over and over, and another takes over. No packet is the wrong way at any time.
func crash(t *testing.T, b Backend) {
	r := newRig(t, b)
	r.place(cast(t))
	w := crashWorld(t, r)
	n := r.nodes[0]
	good, bad := w.goodAndBad()
	good, bad = good[:2], bad[:2] // those of node-1 alone
	w.mustStand(good, bad)
	random := rand.New(rand.NewPCG(1, 1))
	var f *flood
	killed := map[string]int{}
	for i := range 12 * volume(t) {
		agent := n.startChild(t, i*7)
		want := "ready"
		if i%3 == 2 {
			want = "opened" // then it is killed at its first Sync
		}
		if err := agent.until(want); err != nil {
			t.Fatal(err)
		}
		if f == nil {
			f = r.flood(good, bad)
		}
		if err := f.more(2); err != nil {
			t.Error(err)
		}
		if want == "ready" {
			for range random.IntN(20) {
				if err := agent.until("step"); err != nil {
					t.Fatal(err)
				}
			}
		}
		pause(t.Context(), time.Duration(random.IntN(4000))*time.Microsecond)
		killed[agent.kill()]++
		if err := f.more(2); err != nil {
			t.Error(err)
		}
	}
	t.Logf("killed after %v", killed)
	// The last agent is this process.
	w.flush()
	w.sides[0].open(t)
	w.sides[1].open(t)
	t.Cleanup(func() { w.sides[0].close(t) })
	t.Cleanup(func() { w.sides[1].close(t) })
	w.syncSide(w.sides[0])
	w.syncSide(w.sides[1])
	if err := f.more(2); err != nil {
		t.Error(err)
	}
	w.clean(f)
	if err := w.verify(w.sides[0]); err != nil {
		t.Errorf("Verify: %v", err)
	}
	for _, flow := range append(good, bad...) {
		if _, err := w.lookup(flow); err != nil {
			t.Errorf("Lookup: %v", err)
		}
	}
}

type agent struct {
	cmd   *exec.Cmd
	lines chan string
	last  string
	over  sync.Once
}

// startChild starts the test binary again, in the node's namespace.
func (n *node) startChild(t *testing.T, seed int) *agent {
	t.Helper()
	root, _, _ := strings.Cut(t.Name(), "/")
	a := &agent{lines: make(chan string, 1000)}
	var err error
	n.worker.run(func() {
		a.cmd = exec.Command(os.Args[0], "-test.run=^"+regexp.QuoteMeta(root)+"$", "-test.count=1", "-test.v") //nolint:gosec // ourselves
		a.cmd.Env = append(os.Environ(), childNode+"="+n.Name, childDir+"="+n.Dir, fmt.Sprintf("%s=%d", childSeed, seed))
		a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if _, err = a.cmd.StdinPipe(); err != nil { // it ends when we do
			return
		}
		var out io.ReadCloser
		if out, err = a.cmd.StdoutPipe(); err != nil {
			return
		}
		a.cmd.Stderr = a.cmd.Stdout
		if err = a.cmd.Start(); err != nil {
			return
		}
		go func() {
			defer close(a.lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				a.lines <- s.Text()
			}
		}()
	})
	if err != nil {
		t.Fatalf("start agent: %v", err)
	}
	t.Cleanup(func() { a.kill() })
	return a
}

// until reads lines until one is what is wanted.
func (a *agent) until(want string) error {
	timer := time.NewTimer(3 * patience)
	defer timer.Stop()
	var all []string
	for {
		select {
		case line, ok := <-a.lines:
			if !ok {
				return fmt.Errorf("wait for agent's %q: it ended after %q", want, all)
			}
			all = append(all, line)
			a.last = line
			if line == want {
				return nil
			}
		case <-timer.C:
			return fmt.Errorf("wait for agent's %q: it says %q", want, all)
		}
	}
}

// kill kills the agent and says after which line; only the first time, it does something.
func (a *agent) kill() (last string) {
	a.over.Do(func() { last = a.killOnce() })
	return last
}

func (a *agent) killOnce() string {
	if err := a.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err.Error()
	}
	for line := range a.lines {
		a.last = line
	}
	var died *exec.ExitError
	if err := a.cmd.Wait(); a.cmd.ProcessState == nil || (err != nil && !errors.As(err, &died)) {
		return err.Error()
	}
	return a.last
}
