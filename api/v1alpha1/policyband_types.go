package v1alpha1

import (
	"math"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyBand is a named range of policy order inside tiers. Whoever may "use" the band (RBAC verb on policybands in group
// saguard.io) may place policy in it. Bands of one tier do not overlap. Without any band the precedence check is off; as soon
// as there is one, a place in no band, also in a tier that no band names, is for those who may use all bands.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=pband,categories=saguard
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Tiers",type=string,JSONPath=`.spec.tiers`
// +kubebuilder:printcolumn:name="Min",type=number,JSONPath=`.spec.order.min`
// +kubebuilder:printcolumn:name="Max",type=number,JSONPath=`.spec.order.max`
// +kubebuilder:printcolumn:name="Default",type=boolean,JSONPath=`.spec.default`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PolicyBand struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec PolicyBandSpec `json:"spec"`
	// +optional
	Status PolicyBandStatus `json:"status,omitempty"`
}

// PolicyBandSpec is a half-open range of order.
//
// +kubebuilder:validation:XValidation:rule="!has(self.defaultOrder) || ((!has(self.order.min) || self.defaultOrder >= self.order.min) && (!has(self.order.max) || self.defaultOrder < self.order.max))",message="defaultOrder lies outside of order: it must be at least min and below max",fieldPath=".defaultOrder"
type PolicyBandSpec struct {
	// tiers are the names of the tiers that the band lies in.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Tiers []string `json:"tiers"`
	// order is the range, with min inside and max outside of it.
	Order OrderRange `json:"order"`
	// default makes the band everybody's.
	// +optional
	Default bool `json:"default,omitempty"`
	// defaultOrder is given to a policy of projectcalico.org/v3 without order, if the band is everybody's and the only such of
	// its tier with a defaultOrder. Of a band that is not everybody's it has no effect.
	// +optional
	DefaultOrder *float64 `json:"defaultOrder,omitempty"`
}

// OrderRange is the range min <= order < max. The unit is that of Calico's spec.order: lower is evaluated first, and an
// absent order is +Inf.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.min < self.max",message="the range is empty: min must be below max"
type OrderRange struct {
	// min is the lowest order of the band; absent = -Inf.
	// +optional
	Min *float64 `json:"min,omitempty"`
	// max is the first order above the band; absent = +Inf, and then policies without order are in it.
	// +optional
	Max *float64 `json:"max,omitempty"`
}

// Contains reports whether order lies in the range; +Inf, the order of a policy that has none, only in one without max.
func (r OrderRange) Contains(order float64) bool {
	if math.IsNaN(order) || (r.Min != nil && order < *r.Min) {
		return false
	}
	return r.Max == nil || order < *r.Max
}

// Overlaps reports whether an order lies in both ranges.
func (r OrderRange) Overlaps(o OrderRange) bool {
	return (r.Max == nil || o.Min == nil || *o.Min < *r.Max) && (o.Max == nil || r.Min == nil || *r.Min < *o.Max)
}

// SharedTier returns a tier that both bands lie in, the first of b's; "" if there is none.
func (b *PolicyBand) SharedTier(o *PolicyBand) string {
	for _, t := range b.Spec.Tiers {
		if slices.Contains(o.Spec.Tiers, t) {
			return t
		}
	}
	return ""
}

// PolicyBandStatus is written by the webhook's leader.
type PolicyBandStatus struct {
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready says that the band is in force.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PolicyBandList is a list of bands.
//
// +kubebuilder:object:root=true
type PolicyBandList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PolicyBand `json:"items"`
}
