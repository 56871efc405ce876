//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/internal/testenv"
)

// The report of a small run has every number. Setting up sees to it that every configuration judges.
func TestReportHasEveryNumber(t *testing.T) {
	s, err := newSpace(-1)
	if err != nil {
		testenv.Lacking(t, testenv.NetNS, err.Error())
		return
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "benchnode")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var tables bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, "-rounds", "1", "-time", "0", "-events", "3", "-pods", "300", "-policies", "200")
	cmd.Stderr = &tables
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &tables)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if want := 3 + 2*4 + 2 + 2; len(r.Packets.Rows) != want {
		t.Errorf("rows %v, want %d", r.Packets.Rows, want)
	}
	for _, w := range workloads() {
		for _, row := range r.Packets.Rows {
			if c := r.Packets.Cost[w.name][row]; c.Nanoseconds <= 0 || c.Conntrack <= 0 || c.None <= 0 {
				t.Errorf("%s %s: %+v", w.name, row, c)
			}
		}
	}
	for _, b := range []string{"bpf", "nft"} {
		e, m := r.Events[b], r.Memory[b]
		if e == nil || m == nil {
			t.Fatalf("no events or memory of %s", b)
		}
		if e.Whole <= 0 || e.Programs == 0 || m.Resident <= 0 || m.Heap <= 0 {
			t.Errorf("%s: %+v, %+v", b, e, m)
		}
		for _, kind := range e.Order {
			if n := e.Kinds[kind]; n.Events == 0 || n.P99 <= 0 || n.Median > n.P99 || n.P99 > n.Worst {
				t.Errorf("%s %s: %+v", b, kind, n)
			}
		}
	}
	for _, target := range r.Targets {
		if target.Value <= 0 || target.Held != (target.Value <= target.Most) {
			t.Errorf("%+v", target)
		}
		if !strings.Contains(tables.String(), target.Name) {
			t.Errorf("no %q in the tables", target.Name)
		}
	}
}

func TestUnusableFlags(t *testing.T) {
	s := &settings{only: "colours"}
	if err := s.run(t.Context(), &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), `"colours"`) {
		t.Errorf("unknown part: %v", err)
	}
	if _, err := openBackend("ipchains", t.TempDir()); err == nil || !strings.Contains(err.Error(), "ipchains") {
		t.Errorf("unknown backend: %v", err)
	}
}

// Both forms of the world of packets, spread and all on one pod, let a reach b on one port and nobody else does.
func TestWorldOfPacketsAllowsWhatIsMeasured(t *testing.T) {
	for _, w := range []packetWorld{newPacketWorld(10, 50, false), newPacketWorld(300, 50, false), newPacketWorld(300, 50, true)} {
		r, err := w.ruleset()
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range []uint8{6, 17} {
			for port, want := range map[uint16]bool{allowedPort: true, deniedPort: false} {
				f := ruleset.Flow{Source: address(addressA, 0), Destination: address(addressB, 0), Protocol: protocol, Port: port}
				egress, ingress := r.Eval(f)
				if !egress.Applies || !egress.Allow || !ingress.Applies || ingress.Allow != want {
					t.Errorf("%d policies, protocol %d, port %d: %+v, %+v; want both judged, ingress %v", len(w.rules), protocol, port, egress, ingress, want)
				}
			}
		}
	}
}

func TestEventWorldIsReadWithoutProblems(t *testing.T) {
	all, err := eventWorld{pods: 3000, policies: 500}.parsed()
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{"Pod": 3000, "Namespace": namespaces, "ServiceAccount": namespaces*accountsPer + 1, "NetworkPolicy": 375, "GlobalNetworkPolicy": 125, "Tier": 1} {
		if len(all[kind]) != want {
			t.Errorf("%d of %s, want %d", len(all[kind]), kind, want)
		}
	}
}

func TestQuantilesAndRatios(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 4, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := ratios([]float64{2, 9}, []float64{1, 3}); got[0] != 2 || got[1] != 3 {
		t.Errorf("ratios %v", got)
	}
	if _, err := processorTimeOf(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error without a file")
	}
	if _, err := os.Stat("/proc/self/schedstat"); err == nil {
		if d, err := processorTimeOf("/proc/self/schedstat"); err != nil || d <= 0 {
			t.Errorf("own processor time %v, %v", d, err)
		}
	}
}
