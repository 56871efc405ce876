package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/saguard/saguard/internal/accessreview"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/internal/watch"
	"github.com/saguard/saguard/rbac"
)

// gatherCheck reads files and, where they do not say everything, the cluster.
func gatherCheck(ctx context.Context, f *checkFlags, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) (*checkInput, []string, error) {
	namespace, err := (&place{}).resolve(flags)
	if err != nil {
		return nil, nil, err
	}
	read := map[string][]manifest{}
	for _, l := range []struct {
		name  string
		paths []string
	}{{"-f", f.files}, {"--rbac", f.rbac}, {"--guards", f.guards}} {
		if len(l.paths) == 0 {
			continue
		}
		if read[l.name], err = readManifests(l.paths, streams.In); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	in := &checkInput{subject: request.Subject(f.user, f.groups), live: noLive}
	var notes []string
	if len(f.rbac) > 0 {
		objects, _, more, err := rbacFromManifests(read["--rbac"], namespace)
		if err != nil {
			return nil, nil, err
		}
		notes = more
		index := indexOf(objects)
		if in.authorizer, err = rbac.NewAuthorizer(rbac.Options{Index: func() *rbac.Index { return index }}); err != nil {
			return nil, nil, err
		}
	}
	added := policiesAndNamespaces(slices.Concat(read["-f"], read["--rbac"], read["--guards"]))
	find := request.Guessed
	if f.connected() {
		find, err = in.connect(ctx, flags, len(f.guards) > 0, read["--guards"], added)
	} else {
		err = in.offline(read["--guards"], added)
	}
	if err != nil {
		return nil, nil, err
	}
	if in.world.cluster.Guards().Empty() {
		return nil, nil, errors.New("there is no ServiceAccountGuard, so nothing would be checked: give guards with --guards")
	}
	for _, m := range read["-f"] {
		item, err := newItem(m, find, namespace)
		if err != nil {
			return nil, nil, err
		}
		in.items = append(in.items, item)
	}
	return in, notes, nil
}

func (in *checkInput) offline(guards, added []manifest) (err error) {
	in.world, err = newCheckWorld(func(context.Context, string) decision.Fact[guard.Namespace] {
		return decision.Unknown[guard.Namespace]("it is not in the files")
	})
	if err != nil {
		return err
	}
	return in.world.fill(guards, added, fromFiles)
}

// connect fills the world, from the cluster if no guards are given, and makes the authorizer if there is none yet.
func (in *checkInput) connect(ctx context.Context, flags *genericclioptions.ConfigFlags, given bool, guards, added []manifest) (request.ResourceOf, error) {
	cfg, err := restConfig(flags)
	if err != nil {
		return nil, err
	}
	mapper, err := flags.ToRESTMapper()
	if err != nil {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	var reader client.Reader
	in.world, err = newCheckWorld(func(ctx context.Context, name string) decision.Fact[guard.Namespace] {
		return watch.LiveNamespace(reader)(ctx, name)
	})
	if err != nil {
		return nil, err
	}
	if reader, err = client.New(cfg, client.Options{Scheme: in.world.scheme, Mapper: mapper}); err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	list := fromCluster(ctx, reader)
	if given {
		list = fromFiles
	}
	if err := in.world.fill(guards, added, list); err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	in.live = liveFrom(objects)
	if in.authorizer == nil {
		return request.Mapped(mapper), in.askCluster(ctx, cfg)
	}
	return request.Mapped(mapper), nil
}

// askCluster has permissions asked by SubjectAccessReview, and asks once to see whether the caller may.
func (in *checkInput) askCluster(ctx context.Context, cfg *rest.Config) error {
	c, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("create authorization client: %w", err)
	}
	a, err := rbac.NewAuthorizer(rbac.Options{Reviewer: accessreview.New(c.SubjectAccessReviews()), DenyTTL: rbac.MaxDenyTTL})
	if err != nil {
		return err
	}
	if _, err := a.Authorize(ctx, in.subject, rbac.UseAccount(metav1.NamespaceDefault, "default")); err != nil {
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("you may not ask the cluster about others: ask for `kubectl auth can-i create subjectaccessreviews.authorization.k8s.io -A`, or give the RBAC as files with --rbac: %w", err)
		}
		return err
	}
	in.authorizer = a
	return nil
}

// liveFrom reads the object that an item would update.
func liveFrom(c dynamic.Interface) liveObject {
	return func(ctx context.Context, i *checkItem) (*unstructured.Unstructured, error) {
		if i.GetName() == "" {
			return nil, nil
		}
		var objects dynamic.ResourceInterface = c.Resource(i.resource)
		if i.namespaced {
			objects = c.Resource(i.resource).Namespace(i.GetNamespace())
		}
		live, err := objects.Get(ctx, i.GetName(), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("get the object that it would update: %w", err)
		default:
			return live, nil
		}
	}
}
