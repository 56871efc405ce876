package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// makeCgroups makes a group of the name in every hierarchy: a kubelet wants its
// root to exist. Of cpuset it also wants processors and memory, which a new group
// of v1 has none of.
func makeCgroups(name string) error {
	mounted, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, m := range mounted {
		dir := filepath.Join(m.dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		if !slices.Contains(m.controllers, "cpuset") {
			continue
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(m.dir, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), value, 0o644)
			}
			if err != nil {
				return fmt.Errorf("make a cgroup: %w", err)
			}
		}
	}
	return nil
}

// removeCgroups removes the groups of the name, whose processes have been killed,
// and all below them. A group stays busy until its last process is reaped, so a
// removal that fails is repeated until ctx ends.
func removeCgroups(ctx context.Context, name string) error {
	mounted, err := cgroupMounts()
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		last = nil
		for _, m := range mounted {
			if err := removeGroup(filepath.Join(m.dir, name)); err != nil {
				last = err
			}
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("remove the cgroups %s: %w: %w", name, err, last)
	}
	return nil
}

// removeGroup removes a group and those in it, the innermost first. The files of a
// group go with it.
func removeGroup(dir string) error {
	var groups []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, g := range slices.Backward(groups) {
		if err := os.Remove(g); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
