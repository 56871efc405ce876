package controlplane

import "os/exec"

// StartTied starts a command that dies with this process, also if this process is killed; exited gets the result of Wait,
// once. It is for what runs beside a control plane, such as a webhook.
func StartTied(cmd *exec.Cmd) (exited <-chan error, err error) { return startTied(cmd, "") }

// StartTiedIn is [StartTied] in the network namespace of a path (Linux).
func StartTiedIn(netns string, cmd *exec.Cmd) (exited <-chan error, err error) {
	return startTied(cmd, netns)
}
