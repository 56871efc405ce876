package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/testenv"
)

func TestAvailableLeavesNothingAndSaysWhatIsMissing(t *testing.T) {
	err := Available()
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "root") {
			t.Errorf("Available: %v, want that it needs root", err)
		}
		return
	}
	if left, globErr := filepath.Glob("/sys/fs/cgroup/*/saguard-probe-*"); globErr != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, globErr)
	}
	if err != nil {
		testenv.Lacking(t, testenv.Nodes, err.Error())
	}
	t.Setenv("PATH", t.TempDir())
	if err := Available(); err == nil || !strings.Contains(err.Error(), "needs the program") {
		t.Errorf("Available without programs: %v, want which it needs", err)
	}
}

func TestCgroupMountsAreThoseOfTheMachine(t *testing.T) {
	mounted, err := cgroupMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounted {
		if _, err := os.Stat(filepath.Join(m.dir, "cgroup.procs")); err != nil {
			t.Errorf("%+v is no cgroup hierarchy: %v", m, err)
		}
	}
}
