package webhook

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
)

// Facts is all that a check may look at.
type Facts struct {
	*Request
	// Guards is what holds for the subject where the object lives.
	Guards guard.Effective
	// Namespace is that of the object; Absent for cluster-scoped objects.
	Namespace decision.Fact[guard.Namespace]

	// Account and OldAccount are set for service accounts; nil where the operation has no such object.
	Account, OldAccount *account
	// Guard is set for a ServiceAccountGuard that is created or updated.
	Guard *v1alpha1.ServiceAccountGuard
	// Band is set for a PolicyBand that is created or updated.
	Band *v1alpha1.PolicyBand
	// Bands are all bands of the cluster.
	Bands []v1alpha1.PolicyBand
}

// account is what decisions read of a core/v1 ServiceAccount.
type account struct {
	Metadata struct {
		Name        string            `json:"name"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	AutomountServiceAccountToken *bool `json:"automountServiceAccountToken"`
}

func (a *account) labels() map[string]string {
	if a == nil {
		return nil
	}
	return a.Metadata.Labels
}

func (a *account) annotation(key string) (string, bool) {
	if a == nil {
		return "", false
	}
	v, ok := a.Metadata.Annotations[key]
	return v, ok
}

// World is what the webhook knows of the cluster. Every method answers from memory unless it takes a context.
type World interface {
	// WhyNotSynced is "" once everything that decisions rest on has been read.
	WhyNotSynced() string
	// Guards never returns nil once synced.
	Guards() *guard.Set
	// Bands returns all PolicyBands.
	Bands() []v1alpha1.PolicyBand
	// Namespace looks a namespace up; with fresh, or if memory does not hold it, at the API server.
	Namespace(ctx context.Context, name string, fresh bool) decision.Fact[guard.Namespace]
	// Revision counts the changes that memory has seen.
	Revision() uint64
}

// failure is an answer that could not be found; it is refused with this code and reason (fails closed).
type failure struct {
	code   int32
	reason string
	err    error
}

func (f *failure) Error() string { return f.reason + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// gather is the only place where a request's facts come from, and the only I/O before RBAC is asked.
func (h *Handler) gather(ctx context.Context, r *Request) (*Facts, error) {
	if why := h.world.WhyNotSynced(); why != "" {
		return nil, &failure{code: statusUnavailable, reason: ReasonNotSynced, err: errors.New(why)}
	}
	f := &Facts{Request: r, Bands: h.world.Bands(), Namespace: decision.Absent[guard.Namespace]()}
	if err := f.decode(); err != nil {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: err}
	}
	guards := h.world.Guards()
	if r.Namespace == "" {
		f.Guards = guards.ForCluster(r.Subject)
		return f, nil
	}
	if h.excluded[r.Namespace] {
		return f, nil
	}
	deletes := r.Operation == admissionv1.Delete && identity.DeletesForNamespaces(r.Subject.User)
	if !deletes && !guards.NeedsNamespaceLabels() {
		f.Guards = guards.ForNamespace(nil, r.Subject)
		return f, nil
	}
	f.Namespace = h.world.Namespace(ctx, r.Namespace, deletes)
	ns, ok := f.Namespace.Get()
	if !ok {
		return nil, &failure{code: statusUnavailable, reason: ReasonNamespaceUnknown, err: fmt.Errorf("namespace %q: %s", r.Namespace, f.Namespace)}
	}
	f.Guards = guards.ForNamespace(ns.Labels, r.Subject)
	return f, nil
}

// decode reads the objects of the request into the views that checks use.
func (f *Facts) decode() error {
	switch f.groupResource() {
	case resourceServiceAccounts:
		if f.Subresource != "" {
			return nil
		}
		return errors.Join(decodeObject(f.Object, "object", &f.Account), decodeObject(f.OldObject, "oldObject", &f.OldAccount), f.needsBoth())
	case resourceGuards:
		return decodeObject(f.Object, "object", &f.Guard)
	case resourceBands:
		return decodeObject(f.Object, "object", &f.Band)
	default:
		return nil
	}
}

// needsBoth refuses a request that lacks an object its operation always has: judged on half of it, a change could pass.
func (f *Facts) needsBoth() error {
	if f.Account == nil && f.Operation != admissionv1.Delete {
		return fmt.Errorf("%s without object", f.Operation)
	}
	if f.OldAccount == nil && f.Operation != admissionv1.Create {
		return fmt.Errorf("%s without oldObject", f.Operation)
	}
	return nil
}

func decodeObject[T any](raw []byte, what string, into **T) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	v := new(T)
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	*into = v
	return nil
}
