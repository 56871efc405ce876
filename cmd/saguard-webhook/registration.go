package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"
	admissionregistrationclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/registration"
)

// The commands beside serving, which the chart's hooks run.
const (
	// verify proves that admission is in force; `helm test`.
	commandVerify = "verify"
	// unregister deletes the webhook configurations; before `helm uninstall` takes the webhook away.
	commandUnregister = "unregister"
)

// registrationOptions are the flags of both commands, checked.
type registrationOptions struct {
	command    string
	kubeconfig string
	timeout    time.Duration
}

// isRegistration tells whether the arguments are one of the commands' and not the server's, which are flags only.
func isRegistration(args []string) bool {
	return len(args) > 0 && (args[0] == commandVerify || args[0] == commandUnregister)
}

// parseRegistration returns nil options, and no error, where help was asked for.
func parseRegistration(args []string, out io.Writer) (*registrationOptions, error) {
	o := &registrationOptions{command: args[0]}
	fs := pflag.NewFlagSet("saguard-webhook "+o.command, pflag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig file; empty means the pod's own service account.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long it may take; attempts are repeated meanwhile.")
	if err := fs.Parse(args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, nil
		}
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("argument %q: there are only flags", fs.Arg(0))
	case o.timeout <= 0:
		return nil, fmt.Errorf("--timeout: %s: want more than 0s", o.timeout)
	}
	return o, nil
}

// runRegistration carries a command out and says on out what is so now.
func runRegistration(ctx context.Context, o *registrationOptions, out io.Writer) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("load client configuration: %w", err)
	}
	cfg.UserAgent = "saguard-webhook/" + o.command
	cfg.QPS = -1 // a few requests; a limit of the client's would be what an attempt fails by
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if o.command == commandUnregister {
		configurations, err := admissionregistrationclient.NewForConfig(cfg)
		if err != nil {
			return fmt.Errorf("create client: %w", err)
		}
		if err := registration.Remove(ctx, configurations.ValidatingWebhookConfigurations(), configurations.MutatingWebhookConfigurations()); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, "the webhooks are no longer registered: nothing is enforced")
		return err
	}
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	guards := objects.Resource(v1alpha1.GroupVersion().WithResource("serviceaccountguards"))
	if err := registration.Verify(ctx, guards, time.Second); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "admission is in force: the API server asks saguard, which refuses what it has to and lets pass what is in order")
	return err
}
