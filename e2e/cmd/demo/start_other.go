//go:build !linux

package main

import (
	"context"

	"github.com/saguard/saguard/e2e/install"
)

// start installs saguard on an API server alone: nodes need Linux.
func start(ctx context.Context, o install.Options) (i *install.Installation, without string, err error) {
	i, err = startWithout(ctx, o)
	return i, "they need Linux", err
}
