// Package watch keeps in-memory state equal to what the API server holds: one client-go Reflector per resource, feeding a
// sink directly, and the truth about how fresh that is.
package watch

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Sink receives a resource's objects. Calls come from one goroutine per source, never two at once.
type Sink interface {
	// Replace says that these are all the objects there are.
	Replace(objs []client.Object)
	// Set says that an object was created or changed.
	Set(obj client.Object)
	// Delete says that an object is gone; obj is its last known state.
	Delete(obj client.Object)
}

// Absenter is a [Sink] to which a resource that is not served is another thing than one without objects. Absent is called in
// the place of Replace.
type Absenter interface {
	Absent()
}

// Source is one resource to follow.
type Source struct {
	// Name is the resource's name in logs, metrics and readiness, such as "rolebindings.rbac.authorization.k8s.io".
	Name string
	// NewList returns an empty list of the resource; unstructured and metadata lists carry their kind.
	NewList func() client.ObjectList
	// Optional says that the API server may not serve the resource: that is an empty list, looked for again every few
	// seconds. A resource that is not Optional and not served stays unsynced.
	Optional bool
	// Confirm, where given, is asked before a 404 counts as a resource that is not served: for a resource whose objects deny,
	// an outage must never look like their absence. An error, or false, is an outage.
	Confirm func(ctx context.Context) (absent bool, err error)
	// AbsentPoll is how often a resource that is not served is looked for again; 0 is 3 s. It has to be less than MaxAge.
	AbsentPoll time.Duration
	// Renew is how long a watch lasts at most before it is made anew, and 10 s less than what is stale; 0 is 15 s. Where every
	// node of a cluster follows the resource, that adds up for the API server.
	Renew time.Duration
	// Client reads the resource; nil = the Watcher's.
	Client client.WithWatch
	// Unawaited says that decisions in general do not wait for the resource: what is not known of it is asked live, or only
	// the decisions that need it wait. An aggregated API server that is down must not take admission down with it.
	Unawaited bool
	// Advisory says that no decision at all rests on the resource.
	Advisory bool
	// Paged says that the objects are large: where the API server does not send a list as a watch, it is read in pages.
	Paged bool
	// Sink receives the objects.
	Sink Sink
}

const (
	// watchTimeout is asked of the API server for every watch, unless its source says otherwise, so that a watch that says
	// nothing is one that just ended or one that is broken. Re-watching from a resource version costs the API server next to
	// nothing.
	watchTimeout = 15 * time.Second
	// watchGrace is how much longer than that a watch may live before it is given up here.
	watchGrace = 5 * time.Second
	// absentPoll is how often a resource that is not served is looked for again, unless its source says otherwise.
	absentPoll = 3 * time.Second
)

func (s *Source) renew() time.Duration { return cmp.Or(s.Renew, watchTimeout) }

// maxAge is the age at which the source counts as stale: more than a healthy one reaches.
func (s *Source) maxAge() time.Duration { return s.renew() + MaxAge - watchTimeout }

// listerWatcher is what the Reflector of a source calls.
type listerWatcher struct {
	source  Source
	client  client.WithWatch
	contact *contact
	// listedAbsent says that the last list found the resource not served. One goroutine, the Reflector's, uses it.
	listedAbsent bool
}

func (lw *listerWatcher) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if lw.source.Paged && opts.ResourceVersion == "0" {
		// "At any version" is answered from the API server's watch cache, which ignores the limit that a Reflector asks for.
		opts.ResourceVersion = ""
	}
	list := lw.source.NewList()
	err := lw.client.List(ctx, list, &client.ListOptions{Limit: opts.Limit, Continue: opts.Continue, Raw: &opts})
	absent := false
	if lw.absent(err) {
		absent, err = lw.confirmed(ctx, err)
	}
	if absent {
		lw.contact.touch(true)
		lw.listedAbsent = true
		return lw.source.NewList(), nil
	}
	if err != nil {
		lw.contact.failed(err)
		return nil, fmt.Errorf("list %s: %w", lw.source.Name, err)
	}
	lw.contact.touch(false)
	lw.listedAbsent = false
	return list, nil
}

func (lw *listerWatcher) watch(ctx context.Context, opts metav1.ListOptions) (apiwatch.Interface, error) {
	// Processes that lost the API server together do not come back together for ever.
	lasts := lw.source.renew() - rand.N(lw.source.renew()/5)
	seconds := int64(lasts / time.Second)
	opts.TimeoutSeconds = &seconds
	w, err := lw.client.Watch(ctx, lw.source.NewList(), &client.ListOptions{Raw: &opts})
	streams := opts.SendInitialEvents != nil && *opts.SendInitialEvents
	switch {
	case err != nil && !lw.absent(err):
		lw.contact.failed(err)
		return nil, fmt.Errorf("watch %s: %w", lw.source.Name, err)
	case err != nil && streams:
		// The Reflector falls back to List, which says what absence means.
		return nil, fmt.Errorf("watch %s: %w", lw.source.Name, err)
	case err != nil && lw.listedAbsent:
		lw.contact.touch(true)
		return idle(cmp.Or(lw.source.AbsentPoll, absentPoll)), nil
	case err != nil:
		// What was there is gone: the Reflector must list again, and find nothing.
		return nil, expired()
	case lw.listedAbsent && !streams:
		// What was not there is now: an empty list is no version to watch from.
		w.Stop()
		lw.listedAbsent = false
		return nil, expired()
	}
	lw.listedAbsent = false
	lw.contact.touch(false)
	return track(w, lw.contact, lw.source.renew()+watchGrace), nil
}

// expired is the answer that makes a Reflector list again.
func expired() error {
	return apierrors.NewResourceExpired("the resource came or went")
}

// absent reports that err means the resource is not served here, which only an optional source may be.
func (lw *listerWatcher) absent(err error) bool {
	return err != nil && lw.source.Optional && (meta.IsNoMatchError(err) || apierrors.IsNotFound(err))
}

// confirmed reports whether err, which is of absence, is to be believed; if not, the error is what to say instead.
func (lw *listerWatcher) confirmed(ctx context.Context, err error) (bool, error) {
	if lw.source.Confirm == nil {
		return true, err
	}
	absent, doubt := lw.source.Confirm(ctx)
	switch {
	case doubt != nil:
		return false, fmt.Errorf("%w, which is not confirmed: %w", err, doubt)
	case !absent:
		return false, fmt.Errorf("%w, though the API server says that it serves it", err)
	}
	return true, err
}
