//go:build unix && !linux

package controlplane

import (
	"os/exec"
	"syscall"
)

// tie gives the child a process group of its own. Only Linux can also make it
// die with its parent; elsewhere a killed caller leaves its children behind.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
