package status_test

import (
	"reflect"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/status"
)

func at(sec int64) metav1.Time { return metav1.NewTime(time.Unix(sec, 0)) }

func TestGuardStatus(t *testing.T) {
	g := v1alpha1.ServiceAccountGuard{ObjectMeta: metav1.ObjectMeta{Name: "g", Generation: 3}}
	g.Status.Violations = &v1alpha1.ViolationCount{Total: 7}
	g.Status.Conditions = []metav1.Condition{{Type: "Scanned", Status: metav1.ConditionTrue, Reason: "Done", LastTransitionTime: at(1)}}
	first := status.Guard(&g, []string{"role"}, nil, at(100))
	ready := apimeta.FindStatusCondition(first.Conditions, status.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || first.ObservedGeneration != 3 || !reflect.DeepEqual(first.GuardedKeys, []string{"role"}) {
		t.Fatalf("status %+v", first)
	}
	if first.Violations.Total != 7 || apimeta.FindStatusCondition(first.Conditions, "Scanned") == nil {
		t.Error("what others wrote is lost")
	}
	g.Status = first
	if again := status.Guard(&g, []string{"role"}, nil, at(200)); !reflect.DeepEqual(again, first) {
		t.Errorf("a later look at the same guard changes %+v to %+v", first, again)
	}
	g.Spec.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}
	broken := apimeta.FindStatusCondition(status.Guard(&g, nil, nil, at(300)).Conditions, status.ConditionReady)
	if broken.Status != metav1.ConditionFalse || broken.Reason != status.ReasonSelectorInvalid || broken.LastTransitionTime != at(300) {
		t.Errorf("condition %+v", broken)
	}
}

func TestBandStatus(t *testing.T) {
	band := func(name, tier string, lo, hi float64) v1alpha1.PolicyBand {
		return v1alpha1.PolicyBand{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PolicyBandSpec{Tiers: []string{tier}, Order: v1alpha1.OrderRange{Min: &lo, Max: &hi}}}
	}
	a, b, c, other := band("a", "default", 0, 10), band("b", "default", 5, 15), band("c", "default", 10, 20), band("other", "x", 0, 10)
	for name, tc := range map[string]struct {
		all  []v1alpha1.PolicyBand
		want metav1.ConditionStatus
	}{
		"alone":           {all: []v1alpha1.PolicyBand{a}, want: metav1.ConditionTrue},
		"a neighbour":     {all: []v1alpha1.PolicyBand{a, c}, want: metav1.ConditionTrue},
		"another tier":    {all: []v1alpha1.PolicyBand{a, other}, want: metav1.ConditionTrue},
		"an overlap":      {all: []v1alpha1.PolicyBand{a, b}, want: metav1.ConditionFalse},
		"an overlap last": {all: []v1alpha1.PolicyBand{a, c, b}, want: metav1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			got := apimeta.FindStatusCondition(status.Band(&a, tc.all, at(1)).Conditions, status.ConditionReady)
			if got.Status != tc.want {
				t.Errorf("condition %+v", got)
			}
		})
	}
}

func TestTemplatesFoundCondition(t *testing.T) {
	rollout := v1alpha1.WorkloadTemplate{APIGroup: "argoproj.io", Kind: "Rollout", Path: "spec.template"}
	other := v1alpha1.WorkloadTemplate{APIGroup: "argoproj.io", Kind: "Rollout", Path: "spec.other"}
	g := v1alpha1.ServiceAccountGuard{Spec: v1alpha1.ServiceAccountGuardSpec{Workloads: &v1alpha1.WorkloadGuard{Templates: []v1alpha1.WorkloadTemplate{rollout}}}}
	for name, tc := range map[string]struct {
		seen map[v1alpha1.WorkloadTemplate]bool
		want metav1.ConditionStatus
	}{
		"nothing came by":            {want: metav1.ConditionUnknown},
		"only another kind came by":  {seen: map[v1alpha1.WorkloadTemplate]bool{other: true}, want: metav1.ConditionUnknown},
		"the path led to a template": {seen: map[v1alpha1.WorkloadTemplate]bool{rollout: true, other: false}, want: metav1.ConditionTrue},
		"the path led to nothing":    {seen: map[v1alpha1.WorkloadTemplate]bool{rollout: false, other: true}, want: metav1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			got := apimeta.FindStatusCondition(status.Guard(&g, nil, tc.seen, at(1)).Conditions, status.ConditionTemplatesFound)
			if got == nil || got.Status != tc.want {
				t.Errorf("condition %+v", got)
			}
		})
	}
	g.Status = status.Guard(&g, nil, nil, at(1))
	g.Spec.Workloads = nil
	if got := apimeta.FindStatusCondition(status.Guard(&g, nil, nil, at(2)).Conditions, status.ConditionTemplatesFound); got != nil {
		t.Errorf("a guard without templates keeps %+v", got)
	}
}
