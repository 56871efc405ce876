package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// logTailBytes is how much of a log an error carries: enough for the last
// messages of kube-apiserver, whose start-up errors come after a usage text.
const logTailBytes = 4 << 10

// ComponentError says that a component of the control plane did not do what it
// was started for, and shows the end of its log.
type ComponentError struct {
	Component string // for example "kube-apiserver"
	Err       error
	LogTail   string // at most 4 KiB
}

func (e *ComponentError) Error() string {
	return fmt.Sprintf("%s: %v; end of its log:\n%s", e.Component, e.Err, e.LogTail)
}

func (e *ComponentError) Unwrap() error { return e.Err }

// errExited is the cause when a component ended without having been told to.
var errExited = errors.New("exited by itself")

// process is one running component. It is started and never restarted; a
// restart makes a new process.
type process struct {
	name    string
	pid     int
	logPath string
	done    chan struct{} // closed when the process is reaped
	err     error         // how it ended; read only after done
	asked   atomic.Bool   // whether the end was asked for
}

// startProcess runs a component in dir, and in a network namespace unless netns
// is empty, with its output appended to NAME.log there, and tells ended if it
// exits without having been asked to. The environment is minimal: a proxy or a
// KUBECONFIG of the caller's shell must not change what the component does.
func startProcess(name, path, dir, netns string, args []string, ended *ending) (*process, error) {
	logPath := filepath.Join(dir, name+".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, log, log, minimalEnv(dir)
	exited, err := startTied(cmd, netns)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, pid: cmd.Process.Pid, logPath: logPath, done: make(chan struct{})}
	go func() {
		p.err = <-exited
		if !p.asked.Load() {
			ended.because(p.unexpected())
		}
		close(p.done)
	}()
	return p, nil
}

func minimalEnv(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
}

// terminate asks the process to end and waits; when ctx ends first it is
// killed, waited for all the same, and an error returned. A process that has
// ended already is no error: [ControlPlane.Wait] reports those.
func (p *process) terminate(ctx context.Context) error {
	p.asked.Store(true)
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if err := p.kill(); err != nil {
		return err
	}
	return p.failure(fmt.Errorf("killed, it did not end on SIGTERM: %w", context.Cause(ctx)))
}

// kill ends the process without asking it, and waits.
func (p *process) kill() error {
	p.asked.Store(true)
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done // SIGKILL cannot be refused
	return nil
}

func (p *process) hasExited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) error {
	if p.hasExited() {
		return nil // reaped: its pid may belong to someone else
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// failure wraps err with the end of the component's log.
func (p *process) failure(err error) error {
	return &ComponentError{Component: p.name, Err: err, LogTail: logTail(p.logPath)}
}

// unexpected is the failure of a process that ended by itself.
func (p *process) unexpected() error {
	if p.err == nil {
		return p.failure(errExited)
	}
	return p.failure(fmt.Errorf("%w: %w", errExited, p.err))
}

func logTail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(lastBytes(raw, logTailBytes))
}

// lastBytes is the end of b, at most n bytes.
func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
