//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settings are the flags.
type settings struct {
	only    string
	part    string
	backend string
	rounds  int
	budget  time.Duration
	events  int
	pods    int
	rules   int
	cpu     int
	profile string
	world   string
}

// report is what is printed.
type report struct {
	Kernel     string                   `json:"kernel"`
	Processors int                      `json:"processors"`
	Load       [2]string                `json:"load"` // 1, 5 and 15 minutes; before and after
	Packets    *packetReport            `json:"packets,omitempty"`
	Events     map[string]*eventReport  `json:"events,omitempty"` // by backend
	Memory     map[string]*memoryReport `json:"memory,omitempty"`
	Targets    []target                 `json:"targets"`
}

func main() {
	var s settings
	flag.StringVar(&s.only, "only", "packets,events,memory", "parts to run")
	flag.IntVar(&s.rounds, "rounds", 20, "rounds of packets at most")
	flag.DurationVar(&s.budget, "time", time.Minute, "no further round of packets is begun after this time")
	flag.IntVar(&s.events, "events", 200, "events of each kind")
	flag.IntVar(&s.pods, "pods", 10_000, "pods of the cluster")
	flag.IntVar(&s.rules, "policies", 10_000, "policies of the cluster")
	flag.IntVar(&s.cpu, "cpu", -1, "processor of the packets; -1 is the last")
	flag.StringVar(&s.backend, "backend", "bpf,nft", "backends to measure in events and memory")
	flag.StringVar(&s.profile, "cpuprofile", "", "file for a profile of the part events, with the backend's name appended")
	flag.StringVar(&s.part, "part", "", "the part that this process is; not for people")
	flag.StringVar(&s.world, "write-world", "", "write the objects of the world, one JSON object a line, to this file, and do nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM) //nolint:forbidigo // this is a command, for developers
	defer stop()
	err := errors.New("needs root")
	switch {
	case s.world != "":
		err = eventWorld{pods: s.pods, policies: s.rules}.write(s.world)
	case os.Geteuid() != 0:
	case s.part != "":
		err = s.runPart(ctx, os.Stdout, os.Stderr)
	default:
		err = s.run(ctx, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchnode:", err) //nolint:errcheck // there is nobody else to tell
		os.Exit(1)                                 //nolint:forbidigo // this is a command, for developers
	}
}

func (s *settings) backends() []string { return strings.Split(s.backend, ",") }

// run starts a process for each part.
func (s *settings) run(ctx context.Context, out, tables io.Writer) error {
	r := &report{Processors: numCPU(), Events: map[string]*eventReport{}, Memory: map[string]*memoryReport{}}
	r.Kernel, r.Load[0] = kernelRelease(), loadAverage()
	for _, part := range strings.Split(s.only, ",") {
		switch part {
		case "packets":
			r.Packets = &packetReport{}
			if err := s.child(ctx, tables, r.Packets, "-part", part); err != nil {
				return err
			}
		case "events":
			for _, b := range s.backends() {
				r.Events[b] = &eventReport{}
				if err := s.child(ctx, tables, r.Events[b], "-part", part, "-backend", b); err != nil {
					return err
				}
			}
		case "memory":
			for _, b := range s.backends() {
				r.Memory[b] = &memoryReport{}
				if err := s.child(ctx, tables, r.Memory[b], "-part", part, "-backend", b); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("-only: %q: want packets, events, memory", part)
		}
	}
	r.Load[1] = loadAverage()
	r.Targets = r.targets(s)
	if err := r.table(tables); err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// child runs this program again, in a mount namespace of its own, so that BPF file systems are gone with it.
func (s *settings) child(ctx context.Context, messages io.Writer, into any, args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	args = append(args, "-rounds", fmt.Sprint(s.rounds), "-time", s.budget.String(), "-events", fmt.Sprint(s.events),
		"-pods", fmt.Sprint(s.pods), "-policies", fmt.Sprint(s.rules), "-cpu", fmt.Sprint(s.cpu), "-cpuprofile", s.profile)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = messages
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	cmd.Env = os.Environ()
	if args[1] == "packets" {
		// Threads that wait in the kernel for packets are not to be interrupted.
		cmd.Env = append(cmd.Env, "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=8")
	}
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args[:2], " "), err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read what %s printed: %w", strings.Join(args[:2], " "), err)
	}
	return nil
}

// runPart is the child's.
func (s *settings) runPart(ctx context.Context, out, messages io.Writer) error {
	dir, err := os.MkdirTemp("", "benchnode-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	var result any
	switch s.part {
	case "packets":
		result, err = s.packets(ctx, messages, dir)
	case "events":
		result, err = s.eventsToKernel(ctx, dir)
	case "memory":
		result, err = s.memory(ctx, dir)
	default:
		err = fmt.Errorf("-part: %q", s.part)
	}
	// What is mounted below is in the mount namespace of this process only.
	if err := errors.Join(err, unmountBelow(dir), os.RemoveAll(dir)); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}
