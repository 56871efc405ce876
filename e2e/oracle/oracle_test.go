package oracle_test

import (
	"flag"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/e2e/controlplane"
	"github.com/saguard/saguard/e2e/controlplane/controlplanetest"
	"github.com/saguard/saguard/rbac"
)

// seed makes everything of a run: worlds, subjects and questions. It is fixed, so that CI judges the commit and not the dice;
// other seeds are for whoever changes package rbac.
var seed = flag.Uint64("oracle.seed", 1, "seed of the random RBAC objects and questions")

// A round's cases, by where they come from.
const (
	worlds       = 4
	fromWorlds   = 400 // of each world, in each round
	fromBindings = 800 // of each state of the cluster: as made, and after changes also as it was
	leastCases   = 2000
)

// The Index must answer what SubjectAccessReview answers: over the cluster's own default roles and random ones, read back from
// the API server after its controllers have filled in aggregated ClusterRoles, and again over what is left after part of it
// was changed and deleted, which the Store is told event by event.
func TestIndexAnswersAsTheAPIServer(t *testing.T) {
	began := time.Now()
	c := newCluster(t, controlplanetest.Start(t, controlplane.Options{ControllerManager: true, AuditLevel: auditv1.LevelNone}))
	t.Logf("seed %d: repeat with -oracle.seed=%d", *seed, *seed)
	made := generateWorlds(*seed)
	c.apply(made)
	c.settle()

	store := rbac.NewStore()
	total := &tally{}

	before := c.read()
	c.awaitAuthorizer(&before)
	before.Fill(store)
	c.compare(store.Snapshot(), before, cases(*seed, before), "as made", total)

	events := c.disturb(*seed, made)
	after := c.read()
	c.awaitAuthorizer(&after)
	for _, event := range events {
		event(store)
	}
	for _, event := range c.markers {
		event(store)
	}
	c.compare(store.Snapshot(), after, cases(*seed+1, after, before), "after changes", total)

	if total.cases < leastCases {
		t.Errorf("%d cases, want at least %d", total.cases, leastCases)
	}
	total.checkCoverage(t)
	t.Logf("%d cases, %d SubjectAccessReviews, %d allowed (%.0f%%), %d objects, %s in all",
		total.cases, total.reviews, total.allowed, total.share(), after.count(), time.Since(began).Round(time.Second))
}
