package run

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Leader runs parts on one replica at a time. Losing the lease ends the parts, not the process: an admission webhook must go
// on answering while the API server, and with it the lease, is out of reach.
type Leader struct {
	// Config is the client to hold the lease with.
	Config *rest.Config
	// Namespace and Name are the lease's; Identity is this replica's.
	Namespace, Name, Identity string
	// Lead runs while this replica holds the lease.
	Lead func(ctx context.Context) error
}

// The lease's timing: another replica takes over at most leaseDuration after one dies.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// NeedLeaderElection says that every replica stands for election.
func (l *Leader) NeedLeaderElection() bool { return false }

// Start stands for election until ctx ends, again after every loss. An error of Lead ends it.
func (l *Leader) Start(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(l.Config)
	if err != nil {
		return fmt.Errorf("create lease client: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, l.Namespace, l.Name, client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: l.Identity})
	if err != nil {
		return fmt.Errorf("make lease lock: %w", err)
	}
	for ctx.Err() == nil {
		failed := make(chan error, 1)
		term, cancel := context.WithCancel(ctx)
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
			ReleaseOnCancel: true, Name: l.Name,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					failed <- l.Lead(ctx)
					cancel()
				},
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			cancel()
			return fmt.Errorf("make leader elector: %w", err)
		}
		elector.Run(term)
		cancel()
		select {
		case err := <-failed:
			if err != nil {
				return fmt.Errorf("lead: %w", err)
			}
		default:
		}
	}
	return nil
}
