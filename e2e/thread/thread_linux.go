// Package thread runs functions on operating-system threads of their own, for what a thread cannot be rid of again, such as
// a network namespace.
package thread

import (
	"runtime"
	"syscall"
)

// Go runs f in a goroutine on a thread that nothing else uses and that ends with f. It is never the main thread: that one
// does not end before the process, and /proc/PID shows its namespaces as the process's.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() != syscall.Getpid() {
			f() // never unlocked: that ends the thread
			return
		}
		// This goroutine occupies the main thread until the other one has found another.
		defer runtime.UnlockOSThread()
		found := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(found)
			f()
		}()
		<-found
	}()
}
