// Package boot is what a node's first process does: mounts, then containerd,
// images, kubelet and kube-proxy. Its end is the end of the node.
package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Spec is a node as its first process reads it from standard input.
type Spec struct {
	Hostname string
	// Binds are folders of the machine and where the node has them: under /run,
	// which is the node's own, or in place of a folder of the machine.
	Binds []Bind
	// Stash is an empty folder of the machine, for a moment of mounting.
	Stash string
	// Sysctls are files under /proc/sys and what is written to them.
	Sysctls map[string]string
	// Pinned are files under /proc/sys that are the whole machine's: the node sees
	// this content instead, and its writes change nothing.
	Pinned map[string]string
	// Runtime must listen at RuntimeSocket before the images are imported and the
	// other services start.
	Runtime       Service
	RuntimeSocket string
	// Imports are commands that put images into the runtime.
	Imports  [][]string
	Services []Service
	// Env of every process.
	Env []string
}

// Bind is a folder of the machine, and its path on the node.
type Bind struct{ From, To string }

// Service is a program that must not end.
type Service struct {
	Name string
	Args []string
	// Log is the file its output is appended to.
	Log string
}

// serviceArg makes the process the second one: it starts the services, while the
// first, which every orphan of the node becomes a child of, only reaps.
const serviceArg = "services"

// Run is the whole program. As the first process of a pid namespace it does not
// return while the node lives.
func Run(args []string, in io.Reader) error {
	var spec Spec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("read the node's description: %w", err)
	}
	if len(args) == 1 && args[0] == serviceArg {
		return spec.serve()
	}
	if os.Getpid() != 1 {
		return errors.New("not the first process of a pid namespace: refused, since it would change the machine's own mounts")
	}
	if err := spec.mount(); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	return spec.first()
}

// first starts the second process and reaps whatever ends, until the second does.
func (s *Spec) first() error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("pass the node's description on: %w", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pass the node's description on: %w", err)
	}
	// By this name the program is found also where the node hides its folder.
	const self = "/proc/self/exe"
	second, err := os.StartProcess(self, []string{"nodeinit", serviceArg}, &os.ProcAttr{Env: s.Env, Dir: "/", Files: []*os.File{in, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("start the services: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("pass the node's description on: %w", err)
	}
	if err := errors.Join(in.Close(), out.Close()); err != nil {
		return fmt.Errorf("pass the node's description on: %w", err)
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT) // the node ends by SIGKILL
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case pid == second.Pid:
			return fmt.Errorf("the services ended: exit status %d", status.ExitStatus())
		}
	}
}

// command appends to the service's log.
func (s *Spec) command(service Service) (*exec.Cmd, error) {
	log, err := os.OpenFile(service.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", service.Name, err)
	}
	cmd := exec.Command(service.Args[0], service.Args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = log, log, s.Env, "/"
	return cmd, nil
}
