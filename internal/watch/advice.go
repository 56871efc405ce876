package watch

import (
	"math"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
)

// AccountsName is the name of the source of service accounts.
const AccountsName = "serviceaccounts"

// Advice returns the sources on which no decision rests, only what is said beside one: tiers and service accounts. Nothing waits
// for them.
func Advice(c *state.Cluster) []Source {
	sources := []Source{{Name: AccountsName, NewList: metadataList("", "v1", "ServiceAccountList"), Unawaited: true, Advisory: true, Paged: true, Sink: serviceAccounts(c)}}
	for _, gv := range calicoGroups() {
		gvk := gv.WithKind(policy.KindTier)
		sources = append(sources, Source{Name: TierName(gv), NewList: unstructuredList(gvk), Optional: true, Unawaited: true, Advisory: true, Sink: tiers(c, gvk)})
	}
	return sources
}

// TierName is the name of the source of tiers of a group.
func TierName(gv schema.GroupVersion) string { return policy.KindTier + "." + gv.Group }

// TiersCurrent reports whether the tiers of every group that is served were heard of within MaxAge.
func (w *Watcher) TiersCurrent() bool {
	for _, gv := range calicoGroups() {
		if !w.Current(TierName(gv)) {
			return false
		}
	}
	return true
}

// PoliciesCurrent reports whether every kind of policy was heard of within MaxAge.
func (w *Watcher) PoliciesCurrent() bool {
	for _, gv := range calicoGroups() {
		for _, kind := range policyKinds() {
			if !w.Current(policyName(kind, gv)) {
				return false
			}
		}
	}
	return true
}

func serviceAccounts(c *state.Cluster) Sink {
	return typed[*metav1.PartialObjectMetadata]{
		replace: func(all []*metav1.PartialObjectMetadata) {
			c.ReplaceAccounts(func(add func(string, string, map[string]string)) {
				for _, o := range all {
					add(o.Namespace, o.Name, o.Labels)
				}
			})
		},
		set:    func(o *metav1.PartialObjectMetadata) { c.SetAccount(o.Namespace, o.Name, o.Labels) },
		remove: func(o *metav1.PartialObjectMetadata) { c.DeleteAccount(o.Namespace, o.Name) },
	}
}

func tiers(c *state.Cluster, gvk schema.GroupVersionKind) Sink {
	resource := gvk.GroupKind().String()
	return typed[*unstructured.Unstructured]{
		replace: func(all []*unstructured.Unstructured) {
			list := make([]policy.Tier, 0, len(all))
			for _, o := range all {
				list = append(list, tier(o, gvk))
			}
			c.ReplaceTiers(resource, list)
		},
		set:    func(o *unstructured.Unstructured) { c.SetTier(resource, tier(o, gvk)) },
		remove: func(o *unstructured.Unstructured) { c.DeleteTier(resource, o.GetName()) },
	}
}

// tier gives one that cannot be read an order that is neither before nor after any other.
func tier(o *unstructured.Unstructured, gvk schema.GroupVersionKind) policy.Tier {
	unclear := policy.Tier{Name: o.GetName(), Order: math.NaN()}
	object, err := decodePolicy(o, gvk)
	if err != nil {
		return unclear
	}
	parsed, problems := policy.Parse(object, policy.Strict)
	t, ok := parsed.(*policy.Tier)
	if !ok || len(problems) > 0 || len(object.Unknown) > 0 {
		return unclear
	}
	return *t
}
