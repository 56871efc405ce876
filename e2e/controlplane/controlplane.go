package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// stopGrace is how long one component may take to end before it is killed; the
// slowest, kube-apiserver, needs about a second.
const stopGrace = 30 * time.Second

// ControlPlane is a running control plane. Its methods may be called
// concurrently, except that nothing works any more once Stop was called.
type ControlPlane struct {
	options   Options
	paths     Paths
	folder    *folder
	address   address
	authority *authority
	admin     *rest.Config

	ended *ending

	mu                sync.Mutex // held by whatever starts or ends processes
	etcd              *process
	apiServer         *process
	controllerManager *process
	scheduler         *process
	stopped           bool
}

// ErrStopped is returned by what needs a running control plane, after Stop.
var ErrStopped = errors.New("the control plane is stopped")

// Start starts a control plane and returns when it is usable: the API server is
// ready, namespace "default" exists and, with a controller manager, so does its
// service account "default". That takes about five seconds.
//
// ctx bounds the start only; the control plane runs until Stop or until this
// process ends. If a component does not come up the error is a ComponentError
// with the end of its log, and nothing is left behind.
func Start(ctx context.Context, options Options) (_ *ControlPlane, err error) {
	options, err = options.withDefaults()
	if err != nil {
		return nil, err
	}
	if options.Paths == (Paths{}) {
		find := Binaries
		if options.Scheduler {
			find = NodeBinaries
		}
		if options.Paths, err = find(ctx, options.Log); err != nil {
			return nil, err
		}
	}
	cp := &ControlPlane{options: options, paths: options.Paths, ended: newEnding()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start a control plane: %w", err), cp.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if cp.folder, err = newFolder(options.Dir); err != nil {
		return nil, err
	}
	if cp.address, err = newAddress(options.BindAddress, options.NetNS); err != nil {
		return nil, err
	}
	if cp.authority, err = newAuthority(); err != nil {
		return nil, err
	}
	if cp.admin, err = cp.User("controlplane-admin", "system:masters"); err != nil {
		return nil, err
	}
	if err := cp.writeFiles(); err != nil {
		return nil, err
	}
	if err := cp.startComponents(ctx); err != nil {
		return nil, err
	}
	return cp, nil
}

// Stop stops the components, the API server before its etcd, and removes the
// folder. A component that does not end within 30 seconds, or before ctx ends,
// is killed, and an error says so; nothing is left behind either way.
// In a test's cleanup t.Context() has ended already: use
// context.WithoutCancel(t.Context()). Stopping twice is the same as once.
func (cp *ControlPlane) Stop(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return nil
	}
	cp.stopped = true
	cp.ended.because(ErrStopped)
	var errs []error
	if cp.apiServer != nil && cp.etcd.hasExited() {
		// Asked to end, it would wait for its etcd for minutes.
		errs = append(errs, cp.apiServer.kill())
	}
	for _, p := range []*process{cp.scheduler, cp.controllerManager, cp.apiServer, cp.etcd} {
		errs = append(errs, terminateWithin(ctx, p))
	}
	if cp.address != nil {
		errs = append(errs, cp.address.release())
	}
	if cp.folder != nil {
		errs = append(errs, cp.folder.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the control plane: %w", err)
	}
	return nil
}

// RestartAPIServer stops the API server and starts it again at the same address
// and with the same flags and data, and returns when it is ready. Requests are
// refused meanwhile.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return ErrStopped
	}
	if err := terminateWithin(ctx, cp.apiServer); err != nil {
		return fmt.Errorf("restart the API server: %w", err)
	}
	next, err := cp.startAPIServer()
	if err != nil {
		return fmt.Errorf("restart the API server: %w", err)
	}
	cp.apiServer = next
	if err := cp.awaitReady(ctx); err != nil {
		return fmt.Errorf("restart the API server: %w", err)
	}
	return nil
}

// Wait returns nil after Stop, a ComponentError as soon as a component ends
// without having been told to, and ctx's error when ctx ends first.
func (cp *ControlPlane) Wait(ctx context.Context) error {
	select {
	case <-cp.ended.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := cp.ended.reason(); !errors.Is(err, ErrStopped) {
		return err
	}
	return nil
}

// URL is the API server's, for example "https://127.0.0.1:36517". It stays the
// same over a restart.
func (cp *ControlPlane) URL() string {
	addr := cp.address.reachable()
	if addr.IP.IsUnspecified() {
		addr.IP = net.IPv4(127, 0, 0, 1)
	}
	return "https://" + net.JoinHostPort(addr.IP.String(), strconv.Itoa(addr.Port))
}

// Dir is the control plane's folder, with the log of each component as
// COMPONENT.log. It is gone after Stop.
func (cp *ControlPlane) Dir() string { return cp.folder.path }

// Paths are the programs the control plane runs.
func (cp *ControlPlane) Paths() Paths { return cp.paths }

// AuditLog is the path of the API server's audit log: one audit.k8s.io/v1 Event
// as JSON a line. It is not rotated.
func (cp *ControlPlane) AuditLog() string { return filepath.Join(cp.folder.path, auditLogFile) }
