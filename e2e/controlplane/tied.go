package controlplane

import (
	"os/exec"

	"github.com/saguard/saguard/e2e/thread"
)

// startTied starts a child that dies with this process (on Linux; see tie) and
// has a process group of its own; it sets SysProcAttr. exited gets the result of
// Wait, once; callers must not call Wait themselves.
func startTied(cmd *exec.Cmd, netns string) (exited <-chan error, err error) {
	tie(cmd)
	started, done := make(chan error, 1), make(chan error, 1)
	thread.Go(func() {
		if netns != "" {
			if err := enterNetNS(netns); err != nil {
				started <- err
				return
			}
		}
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	})
	if err := <-started; err != nil {
		return nil, err
	}
	return done, nil
}

// runTied starts the child and waits for it.
func runTied(cmd *exec.Cmd) error {
	exited, err := startTied(cmd, "")
	if err != nil {
		return err
	}
	return <-exited
}
