package nodestatus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	applycoordinationv1 "k8s.io/client-go/applyconfigurations/coordination/v1"

	"github.com/saguard/saguard/internal/nodestatus"
)

// cluster takes Leases, or does not answer.
type cluster struct {
	mu     sync.Mutex
	down   bool
	writes []*applycoordinationv1.LeaseApplyConfiguration
	report nodestatus.Report
}

func (c *cluster) Apply(_ context.Context, l *applycoordinationv1.LeaseApplyConfiguration, _ metav1.ApplyOptions) (*coordinationv1.Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, l)
	return &coordinationv1.Lease{}, nil
}

func (c *cluster) Get(context.Context, string, metav1.GetOptions) (*corev1.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, errors.New("no answer")
	}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one", UID: "u"}}, nil
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cluster) holders() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, w := range c.writes {
		out = append(out, *w.Spec.HolderIdentity)
	}
	return strings.Join(out, " ")
}

// write runs test beside a writer that looks every second, in a bubble.
func write(t *testing.T, c *cluster, test func(pass func(time.Duration))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		w := &nodestatus.Writer{Leases: c, Nodes: c, Namespace: "saguard-system", Node: "one", Log: logr.Discard(), Now: time.Now, Ticks: ticker.C, Report: func() nodestatus.Report {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.report
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		test(func(d time.Duration) {
			time.Sleep(d) //nolint:forbidigo // of a synctest bubble, no real time
			synctest.Wait()
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestOneWriteForAChangeOfState(t *testing.T) {
	c := &cluster{report: nodestatus.Report{State: "Waiting"}}
	write(t, c, func(pass func(time.Duration)) {
		c.set(func() {
			c.report = nodestatus.Report{State: "Enforcing", Backend: "bpf", Revision: 7, Message: strings.Repeat("x", 5000)}
		})
		pass(5 * time.Second)
		for range 30 { // events and ages do not count
			c.set(func() { c.report.Revision++; c.report.Message += "x" })
			pass(time.Second)
		}
		if got := c.holders(); got != "Waiting Enforcing/bpf" {
			t.Errorf("written: %s", got)
		}
		l := c.writes[1]
		if *l.Name != "node.one" || l.Annotations[nodestatus.AnnotationRevision] != "7" || len(l.Annotations[nodestatus.AnnotationMessage]) > 1024 || *l.OwnerReferences[0].Name != "one" {
			t.Errorf("%+v", l)
		}
		// What does not last is not written.
		c.set(func() { c.report.State = "Failing" })
		pass(time.Second)
		c.set(func() { c.report.State = "Enforcing" })
		pass(10 * time.Second)
		if got := c.holders(); got != "Waiting Enforcing/bpf" {
			t.Errorf("written: %s", got)
		}
		pass(10 * time.Minute)
		if n := len(c.writes); n < 6 || n > 8 {
			t.Errorf("%d writes after ten minutes of the same state", n)
		}
	})
}

func TestWriteIsTriedAgain(t *testing.T) {
	c := &cluster{down: true, report: nodestatus.Report{State: "Stale"}}
	write(t, c, func(pass func(time.Duration)) {
		pass(time.Minute)
		if got := c.holders(); got != "" {
			t.Errorf("written: %s", got)
		}
		c.set(func() { c.down = false })
		pass(2 * time.Second)
		if got := c.holders(); got != "Stale" {
			t.Errorf("written: %s", got)
		}
	})
}

func TestNamesAreValid(t *testing.T) {
	long := strings.Repeat("a", 250)
	for _, node := range []string{"one", "ip-10-0-0-1.ec2.internal", long, long + "bc"} {
		if errs := validation.IsDNS1123Subdomain(nodestatus.Name(node)); len(errs) > 0 {
			t.Errorf("%s: %v", nodestatus.Name(node), errs)
		}
	}
	if nodestatus.Name(long+"b") == nodestatus.Name(long+"c") {
		t.Error("two nodes, one name")
	}
}
