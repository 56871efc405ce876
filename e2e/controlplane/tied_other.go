//go:build unix && !linux

package controlplane

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// tie gives the child a process group of its own. Only Linux can also make it
// die with its parent; elsewhere a killed caller leaves its children behind.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// enterNetNS always fails: only Linux has network namespaces.
func enterNetNS(path string) error {
	return fmt.Errorf("enter network namespace %s: %w", path, errors.ErrUnsupported)
}
