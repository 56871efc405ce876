// Package review_test plays one story on real API servers, with the webhook as the chart installs it, and holds
// `kubectl saguard review` to what their audit logs have of it.
package review_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/install"
)

var update = flag.Bool("update", false, "write the golden files")

// clusters are shared by the tests of the package. The story is played on each.
var clusters struct {
	// metadata and bodies have what saguard grants from testdata; their logs differ in their level.
	metadata, bodies *played
	// fresh has no grant until those that the review suggests are applied, and webhooks that fail open.
	fresh *install.Installation
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	var all [3]*install.Installation
	defer func() {
		for _, i := range all {
			if i == nil {
				continue
			}
			if err := i.Close(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "close:", err)
				code = 1
			}
		}
	}()
	group, starting := errgroup.WithContext(ctx)
	for n, o := range [3]install.Options{
		{ControlPlane: controlplane.Options{AuditLevel: auditv1.LevelMetadata}, CLI: true},
		{ControlPlane: controlplane.Options{AuditLevel: auditv1.LevelRequestResponse}},
		{
			ControlPlane: controlplane.Options{AuditLevel: auditv1.LevelMetadata},
			Values:       []string{"webhook.failurePolicy.validating=Ignore", "webhook.failurePolicy.mutating=Ignore"},
		},
	} {
		group.Go(func() (err error) {
			o.ControlPlane.ControllerManager, o.ControlPlane.AuditBlocking = true, true
			o.ControlPlane.Log, o.Log = os.Stderr, os.Stderr
			if all[n], err = install.New(starting, o); err != nil {
				return fmt.Errorf("install: %w", err)
			}
			return prepare(starting, all[n])
		})
	}
	if err := group.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err, bodiesErr error
	clusters.fresh = all[2]
	clusters.metadata, err = playWithGrants(ctx, all[0])
	clusters.bodies, bodiesErr = playWithGrants(ctx, all[1])
	if err := errors.Join(err, bodiesErr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
