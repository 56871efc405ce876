package controlplane

import "syscall"

// SignalEtcd sends etcd a signal: SIGSTOP makes it as slow as a disk can be, until SIGCONT. Stop needs it to go on.
func (cp *ControlPlane) SignalEtcd(sig syscall.Signal) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return ErrStopped
	}
	return cp.etcd.signal(sig)
}
