// Package status tells in the status of guards and bands whether they are in force. What to write is pure; the writer runs on
// one replica at a time.
package status

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
)

// The conditions.
const (
	// ConditionReady says whether an object is in force as written.
	ConditionReady = "Ready"
	// ConditionTemplatesFound says whether the paths of spec.workloads.templates led to a pod template in every kind of which
	// an object came by. It is what the replica that writes status has seen since it started.
	ConditionTemplatesFound = "TemplatesFound"
)

// The reasons of conditions.
const (
	ReasonInForce         = "InForce"
	ReasonPathNotFound    = "PathNotFound"
	ReasonPathsFound      = "PathsFound"
	ReasonNotSeen         = "NotSeen"
	ReasonSelectorInvalid = "NamespaceSelectorInvalid"
	ReasonOverlap         = "BandsOverlap"
)

// Guard returns the status that a guard should have; seen says of workload templates, of whose kind an object came by,
// whether their path led to a pod template. It keeps what others wrote: counts of violations, other conditions, and the time
// of a transition that has not happened.
func Guard(g *v1alpha1.ServiceAccountGuard, keys []string, seen map[v1alpha1.WorkloadTemplate]bool, now metav1.Time) v1alpha1.ServiceAccountGuardStatus {
	s := *g.Status.DeepCopy()
	s.ObservedGeneration, s.GuardedKeys = g.Generation, keys
	ready := metav1.Condition{
		Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonInForce, ObservedGeneration: g.Generation,
		Message: "The guard is in force in the namespaces it selects.", LastTransitionTime: now,
	}
	if _, problems := guard.Compile([]v1alpha1.ServiceAccountGuard{*g}); len(problems) > 0 {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, ReasonSelectorInvalid, problems[0].Message
	}
	apimeta.SetStatusCondition(&s.Conditions, ready)
	if g.Spec.Workloads == nil || len(g.Spec.Workloads.Templates) == 0 {
		apimeta.RemoveStatusCondition(&s.Conditions, ConditionTemplatesFound)
		return s
	}
	found := metav1.Condition{
		Type: ConditionTemplatesFound, Status: metav1.ConditionTrue, Reason: ReasonPathsFound, ObservedGeneration: g.Generation,
		Message: "Every path led to a pod template.", LastTransitionTime: now,
	}
	for _, t := range g.Spec.Workloads.Templates {
		what := t.Path + " of " + t.Kind + "." + t.APIGroup
		switch ok, came := seen[t]; {
		case came && !ok:
			found.Status, found.Reason = metav1.ConditionFalse, ReasonPathNotFound
			found.Message = "No pod template at " + what + ": its pods are judged, its writers are not."
		case !came && found.Status == metav1.ConditionTrue:
			found.Status, found.Reason = metav1.ConditionUnknown, ReasonNotSeen
			found.Message = "Nothing came by with " + what + " since the start: is its resource among the chart's webhook.customWorkloads?"
		}
	}
	apimeta.SetStatusCondition(&s.Conditions, found)
	return s
}

// Band returns the status that a band should have among all bands. The overlap of two that were written at the same moment
// through two replicas is found here.
func Band(b *v1alpha1.PolicyBand, all []v1alpha1.PolicyBand, now metav1.Time) v1alpha1.PolicyBandStatus {
	s := *b.Status.DeepCopy()
	s.ObservedGeneration = b.Generation
	ready := metav1.Condition{
		Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonInForce, ObservedGeneration: b.Generation,
		Message: "The band is in force in its tiers.", LastTransitionTime: now,
	}
	for i := range all {
		if o := &all[i]; o.Name != b.Name && b.SharedTier(o) != "" && b.Spec.Order.Overlaps(o.Spec.Order) {
			ready.Status, ready.Reason = metav1.ConditionFalse, ReasonOverlap
			ready.Message = "Overlaps band " + o.Name + " in a tier: an order in both takes the permission for both."
		}
	}
	apimeta.SetStatusCondition(&s.Conditions, ready)
	return s
}
