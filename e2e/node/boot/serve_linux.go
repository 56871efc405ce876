package boot

import (
	"fmt"
	"net"
	"os/exec"
	"time"
)

// runtimePatience is how long containerd may take until it answers: a second on
// an idle machine.
const runtimePatience = time.Minute

// serve starts the services and returns when one ends.
func (s *Spec) serve() error {
	ended := make(chan error, 1+len(s.Services))
	if err := s.start(s.Runtime, ended); err != nil {
		return err
	}
	if err := s.awaitRuntime(ended); err != nil {
		return err
	}
	for _, args := range s.Imports {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = s.Env
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("import an image: %w\n%s", err, text)
		}
	}
	for _, service := range s.Services {
		if err := s.start(service, ended); err != nil {
			return err
		}
	}
	return <-ended
}

func (s *Spec) start(service Service, ended chan<- error) error {
	cmd, err := s.command(service)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", service.Name, err)
	}
	go func() {
		err := cmd.Wait()
		ended <- fmt.Errorf("%s ended, see %s: %w", service.Name, service.Log, orZero(err))
	}()
	return nil
}

// awaitRuntime waits until something listens at the runtime's socket.
func (s *Spec) awaitRuntime(ended <-chan error) error {
	deadline := time.After(runtimePatience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", s.RuntimeSocket)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-ended:
			return err
		case <-deadline:
			return fmt.Errorf("%s does not listen: %w", s.Runtime.Name, err)
		case <-tick.C:
		}
	}
}

func orZero(err error) error {
	if err == nil {
		return errZero
	}
	return err
}
