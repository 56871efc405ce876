// Command controlplane builds and runs the control plane the tests use.
//
//	controlplane build            fill the cache of programs, with progress
//	controlplane up [flags]       run a control plane until interrupted
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/saguard/saguard/e2e/controlplane"
)

const usage = `Usage:
  controlplane build        build the control plane's programs into the cache and print their folder
  controlplane up [flags]   run a control plane in the foreground until interrupted
`

// errUsage is the one error main shows the usage for.
var errUsage = errors.New("expected one of: build, up")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "controlplane: %v\n%s", err, usage)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	switch command, rest := args[0], args[1:]; command {
	case "build":
		if len(rest) > 0 {
			return fmt.Errorf("%w; build takes no arguments", errUsage)
		}
		return build(ctx, stdout, stderr)
	case "up":
		return up(ctx, rest, stdout, stderr)
	default:
		return fmt.Errorf("%w; got %q", errUsage, command)
	}
}

func build(ctx context.Context, stdout, stderr io.Writer) error {
	find, nodes := controlplane.Binaries, runtime.GOOS == "linux" && os.Getenv(controlplane.ModuleEnv) == "" // others have no kubelet
	if nodes {
		find = controlplane.NodeBinaries
	}
	paths, err := find(ctx, stderr)
	if missing := (*controlplane.MissingAssetsError)(nil); nodes && errors.As(err, &missing) {
		// A folder of ready-made programs may hold a control plane only.
		paths, err = controlplane.Binaries(ctx, stderr)
	}
	if err != nil {
		return err
	}
	for _, path := range []string{paths.Etcd, paths.APIServer, paths.ControllerManager, paths.Kubectl, paths.Scheduler, paths.Kubelet, paths.KubeProxy} {
		if path == "" {
			continue
		}
		if _, err := fmt.Fprintln(stdout, path); err != nil {
			return err
		}
	}
	return nil
}

// up prints the path of an administrator's kubeconfig, alone on standard
// output, when the control plane is usable; the rest goes to standard error.
func up(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	options := controlplane.Options{Log: stderr}
	flags.BoolVar(&options.ControllerManager, "controller-manager", true, "run kube-controller-manager too")
	flags.StringVar(&options.BindAddress, "bind-address", "", "IP address of the API server (default 127.0.0.1)")
	modes := flags.String("authorization-mode", "", "comma-separated authorization modes (default RBAC)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w; up takes no arguments but flags, got %q", errUsage, flags.Args())
	}
	if *modes != "" {
		options.AuthorizationModes = strings.Split(*modes, ",")
	}
	cp, err := controlplane.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.Stop(context.WithoutCancel(ctx))) }()
	kubeconfig, err := cp.Kubeconfig("controlplane-admin", "system:masters")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, kubeconfig); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stderr, "%s is up, as is its audit log %s; try\n  %s --kubeconfig %s get namespaces\nInterrupt to stop; nothing is kept.\n",
		cp.URL(), cp.AuditLog(), cp.Paths().Kubectl, kubeconfig); err != nil {
		return err
	}
	if err := cp.Wait(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
