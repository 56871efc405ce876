//go:build !linux

// Package thread runs functions on operating-system threads of their own.
package thread

import "runtime"

// Go runs f in a goroutine on a thread that nothing else uses.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		f()
	}()
}
