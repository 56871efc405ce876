package controlplane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/saguard/saguard/e2e/controlplane"
)

// victimEnv makes the test binary start a control plane in the folder it names,
// say so, and wait to be killed.
const victimEnv = "SAGUARD_TEST_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, victim(context.Background(), dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func victim(ctx context.Context, dir string) error {
	cp, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, ControllerManager: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	fmt.Println(cp.Dir())
	return cp.Wait(ctx)
}

// startVictim returns the process and the folder of its control plane.
func startVictim(t *testing.T, parent string) (victim *os.Process, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+parent)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("read the victim's folder: %v", err)
	}
	return cmd.Process, strings.TrimSpace(line)
}

// running is one process that mentions a folder in its command line.
type running struct {
	pid     int
	program string // base name
}

// processesOf lists the running processes that mention the folder, by program
// name. A zombie has no command line.
func processesOf(t *testing.T, dir string) []running {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(entries) == 0 {
		t.Fatalf("list processes: %d found, %v", len(entries), err)
	}
	var found []running
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(entry, "cmdline"))
		if err != nil || !strings.Contains(string(raw), dir) {
			continue // gone since it was listed, or another's
		}
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			t.Fatal(err)
		}
		program, _, _ := strings.Cut(string(raw), "\x00")
		found = append(found, running{pid: pid, program: filepath.Base(program)})
	}
	slices.SortFunc(found, func(a, b running) int { return strings.Compare(a.program, b.program) })
	return found
}

func programsOf(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, p := range processesOf(t, dir) {
		names = append(names, p.program)
	}
	return names
}

func pidOf(t *testing.T, dir, program string) int {
	t.Helper()
	for _, p := range processesOf(t, dir) {
		if p.program == program {
			return p.pid
		}
	}
	t.Fatalf("%s does not run", program)
	return 0
}

// eventually waits for a condition that answers nil.
func eventually(t *testing.T, within time.Duration, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		last = condition()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("within %s: %v", within, last)
	}
}

// nothingLeft fails unless no process and no file of dir is left.
func nothingLeft(t *testing.T, dir string) error {
	t.Helper()
	if left := processesOf(t, dir); len(left) > 0 {
		return fmt.Errorf("processes are left: %v", left)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("folder %s is left: %v", dir, err)
	}
	return nil
}

// soon is ample for what the API server does within a second.
const soon = 30 * time.Second

// wantMessage is nil if the error contains the text.
func wantMessage(err error, text string) error {
	if err == nil || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("error %v, want one with %q", err, text)
	}
	return nil
}
