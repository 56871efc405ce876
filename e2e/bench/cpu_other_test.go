//go:build !linux

package bench_test

import (
	"errors"
	"time"
)

// cpuTime needs Linux.
func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }

// residentPeak needs Linux.
func residentPeak(int) (string, error) { return "", errNotLinux }

var errNotLinux = errors.New("looking into another process is only written for Linux")
