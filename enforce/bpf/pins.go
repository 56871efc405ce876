//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A set is the pins of one program: a directory DIR/set-LAYOUT-NUMBER with its maps and, once it is attached, its links. While
// a link is pinned, the program judges, whoever runs or not.
const setPrefix = "set-"

// families are those that the program is attached to, by the name of the link's pin.
func families() []struct {
	pin    string
	family link.NetfilterProtocolFamily
} {
	return []struct {
		pin    string
		family link.NetfilterProtocolFamily
	}{
		{pin: "link4", family: link.NetfilterProtoIPv4},
		{pin: "link6", family: link.NetfilterProtoIPv6},
	}
}

// ipDefrag is BPF_F_NETFILTER_IP_DEFRAG (linux/bpf.h): the hook sees no fragments. The constant of cilium/ebpf v0.22 is 0.
const ipDefrag link.NetfilterAttachFlags = 1

func attach(p *ebpf.Program, family link.NetfilterProtocolFamily, priority int32) (link.Link, error) {
	l, err := link.AttachNetfilter(link.NetfilterOptions{
		Program: p, ProtocolFamily: family, Hook: link.NetfilterInetForward, Priority: priority, NetfilterFlags: ipDefrag,
	})
	if err != nil {
		return nil, fmt.Errorf("attach at priority %d: %w", priority, err)
	}
	return l, nil
}

// mountBPF makes sure that dir's parent is on a BPF file system.
func mountBPF(dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(parent, &stat); err != nil {
		return fmt.Errorf("look at %s: %w", parent, err)
	}
	if stat.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", parent, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system on %s: %w", parent, err)
	}
	return nil
}

// set is an attached or attachable program and its pins.
type set struct {
	*kernel
	dir      string
	number   uint64
	priority int32
	links    []link.Link // as families
}

func setName(number uint64) string {
	return fmt.Sprintf("%s%d-%020d", setPrefix, layoutVersion, number)
}

// parseSet returns the layout and number of a set; ok is false for what has another name.
func parseSet(name string) (layout, number uint64, ok bool) {
	rest, found := strings.CutPrefix(name, setPrefix)
	first, second, dash := strings.Cut(rest, "-")
	layout, err1 := strconv.ParseUint(first, 10, 64)
	number, err2 := strconv.ParseUint(second, 10, 64)
	return layout, number, found && dash && err1 == nil && err2 == nil
}

// setNames returns the sets in dir, oldest first.
func setNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list pinned sets: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := parseSet(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		_, m, _ := parseSet(a)
		_, n, _ := parseSet(b)
		return int(int64(m) - int64(n))
	})
	return names, nil
}

// publish pins the maps of k in a new set, attaches the program and pins its links. What was attached before judges, too.
// After an error nothing is left of the set; k is the caller's.
func publish(k *kernel, dir string, number uint64, base int32) (*set, error) {
	s := &set{kernel: k, dir: filepath.Join(dir, setName(number)), number: number}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of pins: %w", err)
	}
	for name, m := range k.pinned() {
		if err := (*m).Pin(filepath.Join(s.dir, name)); err != nil {
			return nil, errors.Join(fmt.Errorf("pin map %s: %w", name, err), removeSet(s.dir))
		}
	}
	if err := s.attach(base); err != nil {
		return nil, errors.Join(err, removeSet(s.dir))
	}
	return s, nil
}

// attach takes the first priority that is free for both families.
func (s *set) attach(base int32) error {
	var busy error
	for i := range uint64(priorities) {
		s.priority = base + int32((s.number+i)%priorities)
		busy = s.attachAt(s.priority)
		if busy == nil || !errors.Is(busy, unix.EBUSY) {
			return busy
		}
	}
	return busy
}

func (s *set) attachAt(priority int32) error {
	for _, f := range families() {
		l, err := attach(s.Forward, f.family, priority)
		if err != nil {
			return errors.Join(err, s.detach())
		}
		s.links = append(s.links, l)
		if err := l.Pin(filepath.Join(s.dir, f.pin)); err != nil {
			return errors.Join(fmt.Errorf("pin %s: %w", f.pin, err), s.detach())
		}
	}
	return nil
}

// detach closes the links and takes their pins away: packets are not judged by this set any more.
func (s *set) detach() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	s.links = nil
	for _, f := range families() {
		if err := os.Remove(filepath.Join(s.dir, f.pin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("unpin %s: %w", f.pin, err))
		}
	}
	return errors.Join(errs...)
}

// remove detaches, takes all pins away and closes the maps.
func (s *set) remove() error {
	return errors.Join(s.detach(), removeSet(s.dir), s.Close())
}

// release closes what the process holds. What is pinned goes on.
func (s *set) release() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, s.Close())...)
}

// removeSet takes away a set that may be another process's: first the links.
func removeSet(dir string) error {
	for _, f := range families() {
		if err := os.Remove(filepath.Join(dir, f.pin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpin link: %w", err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pinned set: %w", err)
	}
	return nil
}

// pinned names the maps that are pinned.
func (k *kernel) pinned() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		judgeMapBuckets: &k.Buckets, judgeMapCells: &k.Cells, judgeMapEvents: &k.Events, judgeMapGeneration: &k.Generation,
		judgeMapHits: &k.Hits, judgeMapHosts: &k.Hosts, judgeMapPrefixes: &k.Prefixes, judgeMapSegments: &k.Segments,
		judgeMapSubjects: &k.Subjects,
	}
}

// isAttached reports whether the set has a link for every family: it was made to the end.
func isAttached(dir string) bool {
	for _, f := range families() {
		if _, err := os.Lstat(filepath.Join(dir, f.pin)); err != nil {
			return false
		}
	}
	return true
}

// open opens a set that another process pinned. It has no program.
func open(dir, name string) (*set, error) {
	layout, number, _ := parseSet(name)
	if layout != layoutVersion {
		return nil, fmt.Errorf("pinned set %s has layout %d, this program knows %d", name, layout, layoutVersion)
	}
	s := &set{kernel: &kernel{}, dir: filepath.Join(dir, name), number: number}
	for name, m := range s.pinned() {
		var err error
		if *m, err = ebpf.LoadPinnedMap(filepath.Join(s.dir, name), nil); err != nil {
			return nil, errors.Join(fmt.Errorf("open pinned map %s: %w", name, err), s.Close())
		}
	}
	return s, nil
}
