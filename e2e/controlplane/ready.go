package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// pollEvery is how often a condition is looked at.
const pollEvery = 50 * time.Millisecond

// startComponents starts the processes, each when what it needs is there.
func (cp *ControlPlane) startComponents(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	var err error
	if cp.etcd, err = cp.startEtcd(); err != nil {
		return err
	}
	if err := cp.awaitEtcd(ctx); err != nil {
		return err
	}
	if cp.apiServer, err = cp.startAPIServer(); err != nil {
		return err
	}
	if err := cp.awaitReady(ctx); err != nil {
		return err
	}
	if cp.options.Scheduler {
		kubeconfig, err := cp.writeKubeconfig(cp.NetNSURL(), schedulerAccount, nil)
		if err != nil {
			return err
		}
		if cp.scheduler, err = cp.startScheduler(kubeconfig); err != nil {
			return err
		}
	}
	if !cp.options.ControllerManager {
		return nil
	}
	kubeconfig, err := cp.writeKubeconfig(cp.NetNSURL(), controllersAccount, nil)
	if err != nil {
		return err
	}
	if cp.controllerManager, err = cp.startControllerManager(kubeconfig); err != nil {
		return err
	}
	return cp.awaitServiceAccount(ctx)
}

// awaitEtcd waits until etcd listens. What it answers is the API server's to
// judge; without a socket that would wait a full second before its next try.
func (cp *ControlPlane) awaitEtcd(ctx context.Context) error {
	return cp.await(ctx, cp.etcd, func(context.Context) error {
		_, err := os.Stat(filepath.Join(cp.folder.path, etcdSocket))
		return err
	})
}

// awaitReady waits for /readyz, which includes the bootstrap of RBAC, and for
// namespace "default", which a controller in the API server creates.
func (cp *ControlPlane) awaitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	return cp.await(ctx, cp.apiServer, func(ctx context.Context) error {
		var code int
		body, err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&code).Raw()
		if err != nil {
			return fmt.Errorf("/readyz: %w: %s", err, body)
		}
		if code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d: %s", code, body)
		}
		_, err = client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

func (cp *ControlPlane) awaitServiceAccount(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	return cp.await(ctx, cp.controllerManager, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// await polls a condition until it answers nil. It gives up as soon as any process
// ends, and names the component waited for when ctx ends.
func (cp *ControlPlane) await(ctx context.Context, on *process, condition func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if err := cp.ended.reason(); err != nil {
			return false, err
		}
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		last = condition(attempt)
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	if component := (*ComponentError)(nil); errors.As(err, &component) {
		return err
	}
	return on.failure(fmt.Errorf("wait until it is ready: %w (last answer: %w)", context.Cause(ctx), last))
}

// terminateWithin ends a process; there may be none.
func terminateWithin(ctx context.Context, p *process) error {
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	return p.terminate(ctx)
}
