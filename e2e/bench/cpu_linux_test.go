package bench_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// residentPeak is the most memory that a process has had resident (VmHWM of proc_pid_status(5)), as text with its unit.
func residentPeak(pid int) (string, error) { return statusOf(pid, "VmHWM") }

// statusOf returns a field of proc_pid_status(5), as text with its unit.
func statusOf(pid int, field string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// cpuTime is the CPU that all threads of a process have used since it started, from the process's own clock (nanoseconds,
// where /proc/PID/stat counts in hundredths of a second). The clock's id is made as clock_getcpuclockid(3) makes it.
func cpuTime(pid int) (time.Duration, error) {
	const perProcessSched = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcessSched), &ts); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
