//go:build linux

package bpf

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestKilledAtAnyPointLeavesAnEnforcingState(t *testing.T) {
	r := newRig(t, "a", "b", "c")
	r.serve("b", 5000)
	dir := pinDir(t)
	rules := plainRulesetOf(podsOfRig())
	first := newApplier(t, dir)
	r.must(first.Sync(t.Context(), rules))
	r.must(first.Close())

	stop := r.flood()
	random := rand.New(rand.NewPCG(1, 2))
	left := map[int]int{}
	for range 25 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		var stderr bytes.Buffer
		child.Stderr = &stderr
		r.must(child.Start()) // by this thread: in this namespace
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond)
		r.must(child.Process.Signal(syscall.SIGKILL))
		if err := child.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("child: %v: %s", err, stderr.String())
		}
		names, err := setNames(dir)
		r.must(err)
		left[len(names)]++
	}
	stop()
	t.Logf("sets that were left, by number: %v", left)

	last := newApplier(t, dir)
	r.must(last.Sync(t.Context(), rules))
	r.must(last.Verify(t.Context()))
}
