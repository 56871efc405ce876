package state_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/state"
)

func TestPodIsAskedLiveUnlessMemoryIsSure(t *testing.T) {
	asked, current := 0, true
	live := decision.Known(identity.Pod{Account: "live", Node: "n9"})
	c := state.New(state.Live{
		PodsCurrent: func() bool { return current },
		Pod: func(_ context.Context, namespace, name string) decision.Fact[identity.Pod] {
			asked++
			if namespace != "prod" || name == "" {
				t.Errorf("asked for %s/%s", namespace, name)
			}
			return live
		},
	}, nil)
	look := func(when, name, account string, asks int) {
		t.Helper()
		asked = 0
		p, ok := c.PodAccount(t.Context(), "prod", name).Get()
		if !ok || p.Account != account || asked != asks {
			t.Errorf("%s: %+v %v, asked %d times, want account %s and %d", when, p, ok, asked, account, asks)
		}
	}
	look("empty memory", "web-0", "live", 1)
	c.SetPod("prod", "web-0", identity.Pod{Account: "web"})
	look("a pod that is not bound", "web-0", "live", 1)
	c.SetPod("prod", "web-0", identity.Pod{Account: "web", Node: "n1"})
	look("a bound pod", "web-0", "web", 0)
	c.SetPod("dev", "web-1", identity.Pod{Account: "other", Node: "n1"})
	look("a namesake in another namespace", "web-1", "live", 1)
	current = false
	look("memory that may be old", "web-0", "live", 1)
	current = true
	c.DeletePod("prod", "web-0")
	look("a pod that is gone", "web-0", "live", 1)
	c.ReplacePods(2, func(add func(string, string, identity.Pod)) {
		add("prod", "a", identity.Pod{Account: "a", Node: "n1"})
		add("prod", "b", identity.Pod{Account: "b", Node: "n1"})
	})
	c.ReplacePods(1, func(add func(string, string, identity.Pod)) {
		add("prod", "b", identity.Pod{Account: "b2", Node: "n1"})
	})
	look("replaced and gone", "a", "live", 1)
	look("replaced and there", "b", "b2", 0)
	for name, answer := range map[string]decision.Fact[identity.Pod]{"absent": decision.Absent[identity.Pod](), "unknown": decision.Unknown[identity.Pod]("timeout")} {
		live = answer
		if got := c.PodAccount(t.Context(), "prod", "new"); got != answer {
			t.Errorf("%s: got %s, want %s", name, got, answer)
		}
	}
}

func TestPodsOfAClusterWithoutAnAPIServerAreUnknown(t *testing.T) {
	c := state.New(state.Live{}, nil)
	c.SetPod("prod", "web-0", identity.Pod{Account: "web", Node: "n1"})
	if got := c.PodAccount(t.Context(), "prod", "web-0"); got.WhyUnknown() == "" {
		t.Errorf("got %s, want Unknown", got)
	}
}

// For the race detector.
func TestPodsReadAndWrittenAtOnce(t *testing.T) {
	c := state.New(state.Live{PodsCurrent: func() bool { return true }, Pod: func(context.Context, string, string) decision.Fact[identity.Pod] {
		return decision.Absent[identity.Pod]()
	}}, nil)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 200 {
				name := fmt.Sprint(w)
				c.SetPod("prod", name, identity.Pod{Account: name, Node: "n"})
				if i%3 == 0 {
					c.DeletePod("prod", name)
				}
				if i%50 == 0 {
					c.ReplacePods(0, func(func(string, string, identity.Pod)) {})
				}
			}
		})
	}
	for i := range 1000 {
		name := fmt.Sprint(i % 4)
		if p, ok := c.PodAccount(t.Context(), "prod", name).Get(); ok && p.Account != name {
			t.Fatalf("pod %s has account %s", name, p.Account)
		}
	}
	writers.Wait()
}

// The memory of a cluster's pods must stay small beside the pods themselves. Baseline: small whole Pods in a map.
func BenchmarkMemoryOf20000Pods(b *testing.B) {
	const pods = 20_000
	name := func(i int) (string, string) {
		return fmt.Sprintf("ns-%d", i%100), fmt.Sprintf("deployment-%d-5d4f8c7b9d-%05x", i%2000, i)
	}
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		c := state.New(state.Live{}, nil)
		for i := range pods {
			ns, n := name(i)
			c.SetPod(ns, n, identity.Pod{Account: fmt.Sprintf("account-%d", i%500), Node: fmt.Sprintf("node-%d", i%200)})
		}
		ours := heap() - before
		before = heap()
		whole := map[string]*corev1.Pod{}
		for i := range pods {
			ns, n := name(i)
			whole[ns+"/"+n] = &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: n, Labels: map[string]string{"app": n}},
				Spec:       corev1.PodSpec{ServiceAccountName: "a", NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			}
		}
		theirs := heap() - before
		b.ReportMetric(ours/(1<<20), "MiB")
		b.ReportMetric(ours/theirs, "x-whole-pods")
		runtime.KeepAlive(c)
		runtime.KeepAlive(whole)
	}
}
