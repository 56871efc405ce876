package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

var errZero = errors.New("exit status 0")

// mounting is one mount(2).
type mounting struct {
	source, target, kind string
	flags                uintptr
	data                 string
	make                 bool // the target
}

// mount gives the node what a machine has of its own. Everything else of the file
// system is the real machine's.
func (s *Spec) mount() error {
	const cgroups = "/sys/fs/cgroup"
	all := []mounting{
		// First: nothing of what follows may reach the machine.
		{source: "none", target: "/", flags: unix.MS_REC | unix.MS_PRIVATE},
		// A sysfs of the node's own network, with the machine's cgroups in it.
		{source: cgroups, target: s.Stash, flags: unix.MS_BIND | unix.MS_REC},
		{source: "sysfs", target: "/sys", kind: "sysfs"},
		{source: s.Stash, target: cgroups, flags: unix.MS_MOVE},
		{source: "proc", target: "/proc", kind: "proc"},
		{source: "tmpfs", target: "/run", kind: "tmpfs", data: "mode=0755"},
	}
	// Opened before the mounts may hide them.
	for _, bind := range s.Binds {
		f, err := os.OpenFile(bind.From, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("bind %s: %w", bind.From, err)
		}
		defer func() { _ = f.Close() }()
		all = append(all, mounting{source: fmt.Sprintf("/proc/self/fd/%d", f.Fd()), target: bind.To, flags: unix.MS_BIND, make: true})
	}
	for _, m := range all {
		if err := m.do(); err != nil {
			return err
		}
	}
	// As init systems do, for programs that pin BPF objects. Each mount is empty and of its own: nothing outlives the node.
	if err := (mounting{source: "bpf", target: "/sys/fs/bpf", kind: "bpf", data: "mode=0700"}).do(); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if err := s.pin(); err != nil {
		return err
	}
	for path, value := range s.Sysctls {
		if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s: %w", path, err)
		}
	}
	// Last: kubelet and pods pass mounts on to each other, inside this node.
	return mounting{source: "none", target: "/", flags: unix.MS_REC | unix.MS_SHARED}.do()
}

// pin puts ordinary files over settings of the whole machine.
func (s *Spec) pin() error {
	const dir = "/run/pinned"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("pin settings: %w", err)
	}
	n := 0
	for path, value := range s.Pinned {
		n++
		target := filepath.Join("/proc/sys", path)
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		file := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("pin %s: %w", path, err)
		}
		if err := (mounting{source: file, target: target, flags: unix.MS_BIND}).do(); err != nil {
			return err
		}
	}
	return nil
}

func (m mounting) do() error {
	if m.make {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("mount %s: %w", m.source, err)
		}
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.source, m.target, err)
	}
	return nil
}
