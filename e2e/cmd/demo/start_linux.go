package main

import (
	"context"
	"fmt"

	"github.com/saguard/saguard/e2e/install"
	"github.com/saguard/saguard/e2e/node"
)

// start installs saguard on two real nodes where this machine can run them; otherwise on an API server alone, and without
// says why.
func start(ctx context.Context, o install.Options) (i *install.Installation, without string, err error) {
	if err = node.Available(); err == nil {
		_, err = node.Packages(ctx, o.Log)
	}
	if err != nil {
		without = err.Error()
		i, err = startWithout(ctx, o)
		return i, without, err
	}
	fmt.Println("Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and two nodes, and installing saguard by its chart ...")
	o.Agent = true
	if i, _, err = install.OnNodes(ctx, o, node.Options{}); err != nil {
		return nil, "", err
	}
	return i, "", nil
}
