package controlplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// folder is the control plane's own folder: keys, certificates, data, logs and
// sockets, readable by the owner only.
//
// Removing it must also work when this process is killed (a test that runs into
// its timeout never gets to its cleanup), so a shell waits for the end of a pipe
// only this process holds open, and removes the folder when it comes.
type folder struct {
	path    string
	janitor *exec.Cmd
}

// janitorScript removes the folder $1 at the end of standard input. The control
// plane's processes are dying at that moment and may still write a file, so a
// removal that fails is repeated for ten seconds.
const janitorScript = `cat >/dev/null
n=0
until rm -rf -- "$1" 2>/dev/null || [ $n -ge 100 ]; do n=$((n+1)); sleep 0.1; done`

// newFolder makes a folder in parent (os.TempDir if empty).
func newFolder(parent string) (_ *folder, err error) {
	path, err := os.MkdirTemp(parent, "saguard-controlplane-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("create the control plane's folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	cmd := exec.Command("/bin/sh", "-c", janitorScript, "janitor", path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // outlives this process and a Ctrl-C
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the janitor of %s: %w", path, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor of %s: %w", path, err)
	}
	return &folder{path: path, janitor: cmd}, nil
}

// remove removes the folder. The janitor is ended first, so that nothing
// removes a folder of the same name made later.
func (f *folder) remove() error {
	// Its children share its process group.
	killErr := syscall.Kill(-f.janitor.Process.Pid, syscall.SIGKILL)
	if errors.Is(killErr, syscall.ESRCH) {
		killErr = nil
	}
	_ = f.janitor.Wait() // its error is the kill; closes the pipe too
	return errors.Join(killErr, os.RemoveAll(f.path))
}
