package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// tie makes the kernel kill the child when its parent is gone (prctl(2),
// PR_SET_PDEATHSIG). The "parent" in that rule is the thread that forked, not
// the process: tied children must be started through [startTied] or [runTied],
// which keep that thread for as long as the child lives.
// The child leads a process group of its own, so that a Ctrl-C in the terminal
// reaches only the caller, which then stops things in their right order.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
}

// enterNetNS moves the calling thread, which must be locked and then end, into a
// network namespace. Children that it starts are in it too.
func enterNetNS(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, os.NewSyscallError("setns", err))
	}
	return nil
}
