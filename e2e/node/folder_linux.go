package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// folder is the cluster's: keys, configuration, logs and the nodes' disks. A shell
// removes it, and the cgroups of the nodes, when this process is killed.
type folder struct {
	path    string
	id      string // what the names of cgroups begin with
	janitor *exec.Cmd
}

// janitorScript removes the folder $1 and the cgroups whose name begins with $2 at
// the end of standard input, and tries again for half a minute: processes of the
// nodes are dying at that moment.
const janitorScript = `cat >/dev/null
n=0
while [ $n -lt 300 ]; do
  for group in /sys/fs/cgroup/*/"$2"*; do
    [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} \;
  done
  rm -rf -- "$1"
  [ -e "$1" ] || ls -d /sys/fs/cgroup/*/"$2"* || break
  n=$((n+1)); sleep 0.1
done >/dev/null 2>&1`

func newFolder() (_ *folder, err error) {
	path, err := os.MkdirTemp("", "saguard-nodes-")
	if err != nil {
		return nil, fmt.Errorf("make the nodes' folder: %w", err)
	}
	f := &folder{path: path, id: "saguard-" + strings.TrimPrefix(filepath.Base(path), "saguard-nodes-") + "-"}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	f.janitor = exec.Command("/bin/sh", "-c", janitorScript, "janitor", path, f.id)
	f.janitor.Dir = "/"
	f.janitor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // outlives this process and a Ctrl-C
	if _, err := f.janitor.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the janitor of %s: %w", path, err)
	}
	if err := f.janitor.Start(); err != nil {
		return nil, fmt.Errorf("start the janitor of %s: %w", path, err)
	}
	return f, nil
}

// remove removes the folder; the nodes have removed their cgroups.
func (f *folder) remove() error {
	killErr := syscall.Kill(-f.janitor.Process.Pid, syscall.SIGKILL)
	if errors.Is(killErr, syscall.ESRCH) {
		killErr = nil
	}
	_ = f.janitor.Wait() // its error is the kill
	return errors.Join(killErr, os.RemoveAll(f.path))
}
