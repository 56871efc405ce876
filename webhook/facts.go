package webhook

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
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

	// Templates are the pod templates that the request writes: the pod itself, and those of workloads that differ from before.
	Templates []template
	// FromTemplate says that a built-in controller makes the object out of a template whose writer was judged.
	FromTemplate bool
	// Sightings are the templates that guards name for the object's kind.
	Sightings []Sighting
	// Pod is the pod that a request wants to get into or a kubelet wants a token for; Absent where there is none, and in
	// requests that mean none.
	Pod decision.Fact[identity.Pod]
	// SamePod says that an update of a pod's ephemeral containers changes none.
	SamePod bool
	// TokenRequest is set for a CREATE of serviceaccounts/token, PodCertificate for one of podcertificaterequests.
	TokenRequest   *tokenRequest
	PodCertificate *podCertificate
	// Secret, NamespaceObject, Binding and their old objects are set for what is created or updated of these kinds.
	Secret, OldSecret                   *secret
	NamespaceObject, OldNamespaceObject *labelled
	Binding, OldBinding                 *binding
	// Relabelled and OldRelabelled are set for the subresources of pods that can change labels: the pod itself, or the Binding
	// whose labels it is to get.
	Relabelled, OldRelabelled *labelled
	// Policy and OldPolicy are set for Calico's policies where a guard guards them: as it would be, and as it is.
	Policy, OldPolicy *policyView
	// SamePolicy says that an update changes nothing of what the policy says.
	SamePolicy bool
	// Shadow is the enforced policy that Policy is, among Others, which exist; nil and Unknown where nothing is to be said of it.
	Shadow *shadow.Policy
	Others decision.Fact[shadow.Others]
	// Nobody is what Policy names and no account is or has.
	Nobody []reference.Mention
	// EndpointSet and OldEndpointSet are set for network sets and host endpoints that are created or updated.
	EndpointSet, OldEndpointSet *endpointSet
}

// World is what the webhook knows of the cluster. Every method answers from memory unless it takes a context.
type World interface {
	// WhyNotCurrent is "" while everything that decisions in general rest on has been read and is fresh.
	WhyNotCurrent() string
	// WhyPoliciesUnread is "" once every policy has been read: what guards with fromPolicies rest on.
	WhyPoliciesUnread() string
	// Guards never returns nil once synced.
	Guards() *guard.Set
	// Bands returns all PolicyBands.
	Bands() []v1alpha1.PolicyBand
	// Namespace looks a namespace up; with fresh, or if memory does not hold it, at the API server.
	Namespace(ctx context.Context, name string, fresh bool) decision.Fact[guard.Namespace]
	// PodAccount looks up as whom a pod runs; if memory does not hold that, at the API server.
	PodAccount(ctx context.Context, namespace, name string) decision.Fact[identity.Pod]
	// Others are the policies that exist, among which one of the namespace stands; "" is that of global ones. Unknown if memory may
	// not hold them all.
	Others(namespace string) decision.Fact[shadow.Others]
	// AnyAccount reports whether there is an account that the grant speaks of, in the namespace or with "" in any. Unknown if memory
	// may not hold them all.
	AnyAccount(namespace string, g reference.Grant) decision.Fact[bool]
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
	if why := h.world.WhyNotCurrent(); why != "" {
		return nil, &failure{code: statusUnavailable, reason: ReasonNotSynced, err: errors.New(why)}
	}
	f := &Facts{
		Request: r, Bands: h.world.Bands(), Namespace: decision.Absent[guard.Namespace](), Pod: decision.Absent[identity.Pod](),
	}
	if err := h.gatherGuards(ctx, f); err != nil {
		return nil, err
	}
	if err := f.decode(); err != nil {
		return nil, &failure{code: statusBadRequest, reason: ReasonMalformed, err: err}
	}
	if why := h.world.WhyPoliciesUnread(); why != "" && f.groupResource() == resourceServiceAccounts && f.Guards.FromPolicies() {
		return nil, &failure{code: statusUnavailable, reason: ReasonNotSynced, err: errors.New(why)}
	}
	return f, h.gatherPod(ctx, f)
}

// gatherGuards finds what holds where the object lives. A Namespace is cluster-scoped, though the API server puts its name
// into the request's namespace.
func (h *Handler) gatherGuards(ctx context.Context, f *Facts) error {
	guards := h.world.Guards()
	switch {
	case f.groupResource() == resourceNamespaces && h.excluded[f.Name], h.excluded[f.Request.Namespace]:
		return nil
	case f.groupResource() == resourceNamespaces, f.Request.Namespace == "":
		f.Guards = guards.ForCluster(f.Subject)
		return nil
	}
	deletes := f.Operation == admissionv1.Delete && identity.DeletesForNamespaces(f.Subject.User)
	if !deletes && !guards.NeedsNamespaceLabels() {
		f.Guards = guards.ForNamespace(f.Request.Namespace, nil, f.Subject)
		return nil
	}
	f.Namespace = h.world.Namespace(ctx, f.Request.Namespace, deletes)
	ns, ok := f.Namespace.Get()
	if !ok {
		return &failure{code: statusUnavailable, reason: ReasonNamespaceUnknown, err: fmt.Errorf("namespace %q: %s", f.Request.Namespace, f.Namespace)}
	}
	f.Guards = guards.ForNamespace(f.Request.Namespace, ns.Labels, f.Subject)
	return nil
}

// gatherPod looks up the pod that the request wants to get at. If it cannot be known, a guard that enforces has the request
// tried again; one that only warns must not be in the way, and its check says that it does not know.
func (h *Handler) gatherPod(ctx context.Context, f *Facts) error {
	name, mode := f.wantedPod()
	if name == "" || mode == v1alpha1.ModeOff {
		return nil
	}
	f.Pod = h.world.PodAccount(ctx, f.Request.Namespace, name)
	if why := f.Pod.WhyUnknown(); why != "" && mode == v1alpha1.ModeEnforce {
		return &failure{code: statusUnavailable, reason: ReasonPodUnknown, err: fmt.Errorf("pod %q: %s", name, why)}
	}
	return nil
}

// wantedPod returns the name of the pod whose account decides, and the mode of the check that wants to know; "" if that
// does not depend on any pod, or is in the request.
func (f *Facts) wantedPod() (string, v1alpha1.Mode) {
	switch {
	case f.groupResource() == resourcePods && f.Operation == admissionv1.Connect && intoPod(f.Subresource) != "":
		return f.Name, f.Guards.Connect()
	case f.Subject.NodeName() == "":
		return "", v1alpha1.ModeOff
	case f.TokenRequest != nil:
		return f.TokenRequest.boundPod(), f.Guards.Tokens()
	case f.PodCertificate != nil:
		return f.PodCertificate.Spec.PodName, f.Guards.Tokens()
	default:
		return "", v1alpha1.ModeOff
	}
}
