package controlplane

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel kill the child when its parent is gone (prctl(2),
// PR_SET_PDEATHSIG). The "parent" in that rule is the thread that forked, not
// the process: tied children must be started through [startTied] or [runTied],
// which keep that thread for as long as the child lives.
// The child leads a process group of its own, so that a Ctrl-C in the terminal
// reaches only the caller, which then stops things in their right order.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
