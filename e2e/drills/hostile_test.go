package drills

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// memoryLimit is the chart's.
	memoryLimit = 512 << 20
	// mostLatency is what good requests may take, at the 99th percentile, on a machine where they take less than a tenth of
	// it when left alone; on a slower one it is ten times what they take there.
	mostLatency = time.Second
	// hostileLoad is how many good requests are answered meanwhile.
	hostileLoad = 600
)

// Whoever reaches the port can send anything: bodies of the largest size, nesting, maps of hundreds of thousands of labels,
// bodies that never end and connections that say nothing. Good requests, through the API server, are judged meanwhile.
func hostile(t *testing.T, s *site) {
	replica := s.ensure(t, 1)[0]
	s.settle(t)
	calm := s.load(t)
	s.goOn(t, calm, 300)
	alone := report(t, "(the same replica, left alone)", calm.stop(), calm.began, "%d MiB at most", peak(t, replica.Pid())>>20)

	busy, began := cpu(t, replica.Pid()), time.Now()
	stop := startAttack(t, s, replica.Address)
	l := s.load(t)
	s.goOn(t, l, hostileLoad)
	samples := l.stop()
	counts := stop()
	t.Logf("within %s the replica used %s of processor time", time.Since(began).Round(time.Millisecond), cpu(t, replica.Pid())-busy)
	used := peak(t, replica.Pid())
	row := report(t, "hostile reviews", samples, l.began, "%d MiB at most of %d; hostile: %s", used>>20, memoryLimit>>20, counts)
	select {
	case <-replica.Done():
		t.Error("the replica ended")
	default:
	}
	if used > memoryLimit {
		t.Errorf("the replica used %d MiB", used>>20)
	}
	if lost := refused(samples); len(lost) > 0 {
		show(t, lost)
		t.Errorf("%d good requests were lost", len(lost))
	}
	if most := max(mostLatency, 10*alone.p99); row.p99 > most {
		t.Errorf("p99 %s, want at most %s", row.p99, most)
	}
	if report, err := replica.Ready(t.Context()); err != nil || !report.Ready {
		t.Errorf("readiness %+v, %v", report, err)
	}
}

// peak is the largest resident set a process has had.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// cpu is the processor time that a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		t.Fatal(err)
	}
	const tick = 10 * time.Millisecond // USER_HZ, the same on every Linux
	return time.Duration(user+system) * tick
}
