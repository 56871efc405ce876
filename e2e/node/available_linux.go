package node

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Available says why this machine cannot run nodes; nil if nothing is known to be
// in the way. It leaves nothing behind; packages are fetched by Start, see [PackagesError].
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	mounted, err := cgroupMounts()
	if err != nil {
		return err
	}
	var missing []string
	for _, controller := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"} {
		if !slices.ContainsFunc(mounted, func(m cgroupMount) bool { return slices.Contains(m.controllers, controller) }) {
			missing = append(missing, controller)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("needs cgroup v1 hierarchies of %s: none is mounted", strings.Join(missing, ", "))
	}
	kinds, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("list kinds of file systems: %w", err)
	}
	if !slices.Contains(strings.Fields(string(kinds)), "overlay") {
		return errors.New("needs overlayfs in the kernel")
	}
	for program, pkg := range map[string]string{"nft": "nftables", "nsenter": "util-linux", "apt-get": "apt", "dpkg-deb": "dpkg"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("needs the program %s of Debian's package %s", program, pkg)
		}
	}
	return permitted()
}

// permitted tries what root of a container may not be allowed to do.
func permitted() error {
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("needs the right to make namespaces: %w", err)
	}
	name := fmt.Sprintf("saguard-probe-%d", os.Getpid())
	// Both, so that what was made in some hierarchies is removed where another is read-only.
	err := makeCgroups(name)
	mounted, listErr := cgroupMounts()
	err = errors.Join(err, listErr)
	for _, m := range mounted {
		err = errors.Join(err, removeGroup(filepath.Join(m.dir, name)))
	}
	if err != nil {
		return fmt.Errorf("needs the right to make cgroups: %w", err)
	}
	return nil
}

// cgroupMount is one mounted cgroup hierarchy of the machine.
type cgroupMount struct {
	dir         string
	controllers []string // of v1, its name=NAME among them; none of v2
}

// cgroupMounts reads /proc/self/mountinfo, see proc_pid_mountinfo(5).
func cgroupMounts() ([]cgroupMount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	defer func() { _ = f.Close() }()
	var found []cgroupMount
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(super) < 3 || !strings.HasPrefix(mount[4], "/sys/fs/cgroup") {
			continue
		}
		switch super[0] {
		case "cgroup":
			found = append(found, cgroupMount{dir: mount[4], controllers: strings.Split(super[2], ",")})
		case "cgroup2":
			found = append(found, cgroupMount{dir: mount[4]})
		}
	}
	return found, lines.Err()
}
