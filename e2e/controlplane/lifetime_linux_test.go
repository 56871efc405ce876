package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/controlplane/controlplanetest"
)

func TestStopLeavesNoProcessAndNoFolder(t *testing.T) {
	parent := t.TempDir()
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Dir: parent, ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"etcd", "kube-apiserver", "kube-controller-manager", "sh"}
	if got := programsOf(t, cp.Dir()); !slices.Equal(got, want) {
		t.Errorf("running: %q, want %q", got, want)
	}
	if info, err := os.Stat(cp.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder, which holds keys, has mode %v, %v; want 0700", info.Mode(), err)
	}
	// A watch that nobody ends must not hold up the stop.
	watch, err := kubernetes.NewForConfigOrDie(cp.AdminConfig()).CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	stop(t, cp)
	if err := nothingLeft(t, cp.Dir()); err != nil {
		t.Error(err)
	}
	if err := cp.Wait(t.Context()); err != nil {
		t.Errorf("Wait after Stop: %v", err)
	}
	if err := cp.RestartAPIServer(t.Context()); !errors.Is(err, controlplane.ErrStopped) {
		t.Errorf("RestartAPIServer after Stop: %v, want ErrStopped", err)
	}
	stop(t, cp)
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left in the parent folder: %v, %v", left, err)
	}
}

func TestStopWithAnEndedContextKillsAndSaysSo(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cp.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v, want context canceled", err)
	}
	if err := nothingLeft(t, cp.Dir()); err != nil {
		t.Error(err)
	}
}

func TestKilledParentLeavesNothing(t *testing.T) {
	parent, dir := startVictim(t, t.TempDir())
	want := []string{"etcd", "kube-apiserver", "kube-controller-manager", "sh"}
	if got := programsOf(t, dir); !slices.Equal(got, want) {
		t.Fatalf("the victim runs %q, want %q", got, want)
	}
	if err := parent.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error { return nothingLeft(t, dir) })
}

// The kernel's "parent" is a thread, see tie: a control plane must survive the
// thread its starter ran on.
func TestControlPlaneSurvivesTheThreadThatStartedIt(t *testing.T) {
	var cp *controlplane.ControlPlane
	var err error
	thread := onEndingThread(func() {
		cp, err = controlplane.Start(t.Context(), controlplane.Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, cp)
	eventually(t, 10*time.Second, func() error {
		if err := syscall.Kill(thread, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("thread %d has not ended", thread)
		}
		return nil
	})
	client := kubernetes.NewForConfigOrDie(cp.AdminConfig())
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if got, want := programsOf(t, cp.Dir()), []string{"etcd", "kube-apiserver", "sh"}; !slices.Equal(got, want) {
		t.Errorf("running: %q, want %q", got, want)
	}
}

// onEndingThread runs f on a thread that ends afterwards, and returns the
// thread's id.
func onEndingThread(f func()) (thread int) {
	done := make(chan int)
	go func() {
		// Never unlocked, so that the thread ends with the goroutine; all do but
		// the main thread, which is kept busy while another one is used.
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			thread := onEndingThread(f)
			runtime.UnlockOSThread()
			done <- thread
			return
		}
		f()
		done <- syscall.Gettid()
	}()
	return <-done
}

func TestTwoAtOnceDoNotCollide(t *testing.T) {
	planes := make([]*controlplane.ControlPlane, 2)
	errs := make(chan error, len(planes))
	for i := range planes {
		go func() {
			var err error
			planes[i], err = controlplane.Start(t.Context(), controlplane.Options{})
			errs <- err
		}()
	}
	for range planes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, cp := range planes {
		if cp == nil {
			t.FailNow()
		}
		defer stop(t, cp)
	}
	name := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "only-in-one"}}
	one, other := kubernetes.NewForConfigOrDie(planes[0].AdminConfig()), kubernetes.NewForConfigOrDie(planes[1].AdminConfig())
	if _, err := one.CoreV1().Namespaces().Create(t.Context(), &name, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := other.CoreV1().Namespaces().Get(t.Context(), name.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the other control plane has the namespace too: %v", err)
	}
	// An administrator of one is nobody to the other.
	stranger := planes[0].AdminConfig()
	stranger.Host, stranger.CAData = planes[1].URL(), planes[1].CABundle()
	_, err := kubernetes.NewForConfigOrDie(stranger).CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("a certificate of another control plane: %v, want Unauthorized", err)
	}
}

func TestRestartOfTheAPIServerKeepsDataAndAddress(t *testing.T) {
	cp := controlplanetest.Start(t, controlplane.Options{ControllerManager: true})
	client := kubernetes.NewForConfigOrDie(cp.AdminConfig())
	before, err := client.CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	url, pid := cp.URL(), pidOf(t, cp.Dir(), "kube-apiserver")
	if err := cp.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := pidOf(t, cp.Dir(), "kube-apiserver"); now == pid {
		t.Errorf("still process %d: not restarted", pid)
	}
	if cp.URL() != url {
		t.Errorf("the address changed from %s to %s", url, cp.URL())
	}
	after, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.UID != before.UID {
		t.Errorf("another object: UID %s, was %s", after.UID, before.UID)
	}
	// The controllers must find the new API server by themselves.
	if _, err := client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "after"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error {
		_, err := client.CoreV1().ServiceAccounts("after").Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

func TestComponentThatDiesIsReported(t *testing.T) {
	cp := controlplanetest.Start(t, controlplane.Options{})
	if err := syscall.Kill(pidOf(t, cp.Dir(), "etcd"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var failure *controlplane.ComponentError
	if err := cp.Wait(ctx); !errors.As(err, &failure) || failure.Component != "etcd" || failure.LogTail == "" {
		t.Errorf("Wait: %v, want a ComponentError of etcd with the end of its log", err)
	}
}

func TestStartThatFailsShowsTheLogAndLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		name      string
		options   controlplane.Options
		component string
		log       string
	}{
		{
			name:      "etcd refuses a flag",
			options:   controlplane.Options{EtcdFlags: []string{"--no-such-flag"}},
			component: "etcd",
			log:       "no-such-flag",
		},
		{
			name:      "the API server refuses a flag",
			options:   controlplane.Options{APIServerFlags: []string{"--no-such-flag"}},
			component: "kube-apiserver",
			log:       "no-such-flag",
		},
		{
			name:      "the controller manager refuses a flag",
			options:   controlplane.Options{ControllerManager: true, ControllerManagerFlags: []string{"--no-such-flag"}},
			component: "kube-controller-manager",
			log:       "no-such-flag",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.options.Dir = t.TempDir()
			cp, err := controlplane.Start(t.Context(), tc.options)
			if cp != nil {
				t.Error("a control plane beside an error")
			}
			var failure *controlplane.ComponentError
			if !errors.As(err, &failure) || failure.Component != tc.component || !strings.Contains(failure.LogTail, tc.log) {
				t.Errorf("Start: %v, want a ComponentError of %s whose log has %q", err, tc.component, tc.log)
			}
			if left, err := filepath.Glob(filepath.Join(tc.options.Dir, "*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
			if left := processesOf(t, tc.options.Dir); len(left) > 0 {
				t.Errorf("still running: %v", left)
			}
		})
	}
}

func stop(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	if err := cp.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
