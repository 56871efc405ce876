package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/accessreview"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/hollow"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/internal/scan"
	"github.com/saguard/saguard/internal/scan/live"
	scanreport "github.com/saguard/saguard/internal/scan/report"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/rbac"
)

func (o *scanOptions) print(r *scanReport) error {
	switch o.out.format {
	case formatSARIF:
		return scanreport.SARIF(o.streams.Out, r.Result, o.version)
	case formatJUnit:
		return scanreport.JUnit(o.streams.Out, r.Result)
	case formatOpenReports:
		reports, cluster := scanreport.Reports(r.Result)
		var objects []runtime.Object
		for i := range reports {
			objects = append(objects, &reports[i])
		}
		if cluster != nil {
			objects = append(objects, cluster)
		}
		return printObjects(o.streams.Out, formatYAML, objects)
	default:
		out := &o.out
		return out.print(o.streams.Out, r)
	}
}

func (o *scanOptions) excludedNamespaces() []string {
	return append([]string{metav1.NamespaceSystem}, o.excluded...)
}

// scanCluster looks at all that the user may list. Guards, policies, namespaces and RBAC have to be among it: without one of them every answer
// would be misleading.
func (o *scanOptions) scanCluster(ctx context.Context) (*scan.Result, []string, error) {
	cfg, err := restConfig(o.flags)
	if err != nil {
		return nil, nil, err
	}
	mapper, err := o.flags.ToRESTMapper()
	if err != nil {
		return nil, nil, fmt.Errorf("discover resources: %w", err)
	}
	var api client.Client
	world, err := newCheckWorld(func(ctx context.Context, name string) decision.Fact[guard.Namespace] {
		return watch.LiveNamespace(api)(ctx, name)
	})
	if err != nil {
		return nil, nil, err
	}
	if api, err = client.New(cfg, client.Options{Scheme: world.scheme, Mapper: mapper}); err != nil {
		return nil, nil, fmt.Errorf("create client: %w", err)
	}
	if err := world.fill(nil, nil, fromCluster(ctx, api)); err != nil {
		return nil, nil, err
	}
	typed, err := rbacclient.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create RBAC client: %w", err)
	}
	objects, err := rbacFromCluster(ctx, typed, "")
	if err != nil {
		return nil, nil, err
	}
	index := indexOf(objects)
	authorizer, notes, err := askAboutOthers(ctx, cfg, index)
	if err != nil {
		return nil, nil, err
	}
	bar := o.counter()
	result, err := live.Scan(ctx, live.Options{
		Reader: api, World: world.cluster, Guards: world.cluster.GuardObjects(), Index: index, Authorizer: authorizer,
		Excluded: o.excludedNamespaces(), Only: o.only, Progress: bar.at,
	})
	bar.finish()
	if world.cluster.Guards().Empty() {
		notes = append(notes, "there is no ServiceAccountGuard: nothing is guarded, and nothing would be refused")
	}
	return result, slices.Concat(world.problems, dangling(objects), notes), err
}

// askAboutOthers answers from RBAC and then, where the user may ask it, from the API server, which may have other authorizers.
func askAboutOthers(ctx context.Context, cfg *rest.Config, index *rbac.Index) (*rbac.Authorizer, []string, error) {
	alone := rbac.Options{Index: func() *rbac.Index { return index }}
	c, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create authorization client: %w", err)
	}
	both := alone
	both.Reviewer, both.DenyTTL = accessreview.New(c.SubjectAccessReviews()), rbac.MaxDenyTTL
	a, err := rbac.NewAuthorizer(both)
	if err != nil {
		return nil, nil, err
	}
	_, err = a.Authorize(ctx, request.Subject("system:anonymous", nil), rbac.UseAccount(metav1.NamespaceDefault, "default"))
	switch {
	case apierrors.IsForbidden(err):
		a, err = rbac.NewAuthorizer(alone)
		return a, []string{"you may not create subjectaccessreviews.authorization.k8s.io: only RBAC was asked, and no other authorizer that the cluster may have"}, err
	case err != nil:
		return nil, nil, err
	default:
		return a, nil, nil
	}
}

// scanFiles looks at all objects of the files.
func (o *scanOptions) scanFiles(ctx context.Context) (*scan.Result, []string, error) {
	namespace, err := (&place{}).resolve(o.flags)
	if err != nil {
		return nil, nil, err
	}
	manifests, err := readManifests(o.files, o.streams.In)
	if err != nil {
		return nil, nil, err
	}
	objects, _, notes, err := rbacFromManifests(manifests, namespace)
	if err != nil {
		return nil, nil, err
	}
	world, err := newCheckWorld(func(context.Context, string) decision.Fact[guard.Namespace] {
		return decision.Unknown[guard.Namespace]("it is not in the files")
	})
	if err != nil {
		return nil, nil, err
	}
	if err := world.fill(manifests, nil, fromFiles); err != nil {
		return nil, nil, err
	}
	if world.cluster.Guards().Empty() {
		return nil, nil, errors.New("there is no ServiceAccountGuard in the files, so nothing would be refused")
	}
	index := indexOf(objects)
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: func() *rbac.Index { return index }})
	if err != nil {
		return nil, nil, err
	}
	items, err := scanItems(manifests, namespace)
	if err != nil {
		return nil, nil, err
	}
	s, err := scan.New(scan.Options{
		World: world.cluster, Index: index, Authorizer: authorizer, Excluded: o.excludedNamespaces(), Only: o.only, Owner: ownerAmong(items),
	})
	if err != nil {
		return nil, nil, err
	}
	tally := scan.NewTally(scan.Limits{}, world.cluster.Guards().Names())
	namespaces := map[string]map[string]string{}
	for i := range items {
		item := &items[i]
		if item.resource.GroupResource() == (schema.GroupResource{Resource: "namespaces"}) {
			namespaces[item.GetName()] = namespaceLabels(item.Unstructured)
		}
		tally.Add(s.Object(ctx, item.resource, item.Unstructured, item.source))
	}
	tally.Looked(len(items))
	tally.Add(s.Hollow(ctx, hollow.Input{RBAC: objects, Guards: decision.Known(hollow.NewGuardModes(world.cluster.GuardObjects(), namespaces))}))
	return tally.Result(), slices.Concat(notes, world.problems), nil
}

// scanItems are the manifests in the order in which a scan has to look at them.
func scanItems(manifests []manifest, namespace string) ([]checkItem, error) {
	var items []checkItem
	for _, m := range manifests {
		item, err := newItem(m, request.Guessed, namespace)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	resources := scan.Resources()
	rank := func(i checkItem) int {
		return slices.IndexFunc(resources, func(r scan.Resource) bool { return r.Resource.GroupResource() == i.resource.GroupResource() })
	}
	slices.SortStableFunc(items, func(a, b checkItem) int { return rank(a) - rank(b) })
	return items, nil
}

// ownerAmong finds owners in the files. One that is not there may be in the cluster.
func ownerAmong(items []checkItem) func(context.Context, string, scan.Owner) decision.Fact[*unstructured.Unstructured] {
	return func(_ context.Context, namespace string, owner scan.Owner) decision.Fact[*unstructured.Unstructured] {
		for i := range items {
			o := items[i].Unstructured
			if o.GetKind() == owner.Kind && o.GetAPIVersion() == owner.APIVersion && o.GetName() == owner.Name && o.GetNamespace() == namespace {
				return decision.Known(o)
			}
		}
		return decision.Unknown[*unstructured.Unstructured](fmt.Sprintf("its owner %s %s is not in the files", owner.Kind, owner.Name))
	}
}

// counter shows how many objects have been looked at, and how fast; nil shows nothing.
type counter struct{ bar *progressbar.ProgressBar }

func (o *scanOptions) counter() *counter {
	if o.noProgress || !isTerminal(o.streams.ErrOut) {
		return nil
	}
	return &counter{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(o.streams.ErrOut), progressbar.OptionSetDescription("scanning"), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("objects"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

func (c *counter) at(objects int64) {
	if c != nil {
		_ = c.bar.Set64(objects) //nolint:errcheck // only the terminal's looks
	}
}

func (c *counter) finish() {
	if c != nil {
		_ = c.bar.Finish() //nolint:errcheck // only the terminal's looks
	}
}
