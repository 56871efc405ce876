// Package v1alpha1 is the configuration API of saguard: what is guarded (ServiceAccountGuard) and which ranges of
// policy order belong to whom (PolicyBand). Both are cluster-scoped; permissions themselves are ordinary RBAC.
//
// +kubebuilder:object:generate=true
// +groupName=saguard.io
package v1alpha1
