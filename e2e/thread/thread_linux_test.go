package thread

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestThreadsAreNeverTheMainOneAndEnd(t *testing.T) {
	const n = 200
	tids := make(chan int, n)
	var running sync.WaitGroup
	running.Add(n)
	for range n {
		Go(func() {
			defer running.Done()
			tids <- syscall.Gettid()
		})
	}
	running.Wait()
	for range n {
		tid := <-tids
		if tid == syscall.Getpid() {
			t.Fatal("the main thread was used")
		}
		for deadline := time.Now().Add(20 * time.Second); !errors.Is(syscall.Kill(tid, 0), syscall.ESRCH); {
			if time.Now().After(deadline) {
				t.Fatalf("thread %d does not end", tid)
			}
		}
	}
}
