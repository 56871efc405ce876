package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// Log gets what keeps nobody from leading.
	Log logr.Logger
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
					if err := l.own(ctx, client); err != nil {
						l.Log.Info("lease has no owner, and will be left by an uninstallation", "lease", l.Name, "error", err.Error())
					}
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

// own makes the service account that this process runs as the owner of the lease: the garbage collector deletes it with the
// account, and an uninstallation leaves nothing. The chart cannot have the lease among its objects, since Helm refuses to
// upgrade a release to one that an elector made before.
func (l *Leader) own(ctx context.Context, client kubernetes.Interface) error {
	me, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask who this is: %w", err)
	}
	name, ok := strings.CutPrefix(me.Status.UserInfo.Username, "system:serviceaccount:"+l.Namespace+":")
	if !ok {
		return errors.New("not run as a service account of its namespace")
	}
	account, err := client.CoreV1().ServiceAccounts(l.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get service account: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID},
	}}})
	if err != nil {
		return fmt.Errorf("encode owner: %w", err)
	}
	if _, err := client.CoordinationV1().Leases(l.Namespace).Patch(ctx, l.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch lease: %w", err)
	}
	return nil
}
