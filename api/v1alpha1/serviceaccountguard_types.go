package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceAccountGuard says what is guarded, in which namespaces, and how hard. Where several guards match, the strictest
// mode wins for each check; where none matches, nothing is enforced.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=sag;saguard,categories=saguard
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Labels",type=string,JSONPath=`.spec.labels.mode`
// +kubebuilder:printcolumn:name="Workloads",type=string,JSONPath=`.spec.workloads.mode`
// +kubebuilder:printcolumn:name="References",type=string,JSONPath=`.spec.policies.references`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Violations",type=integer,JSONPath=`.status.violations.total`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceAccountGuard struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ServiceAccountGuardSpec `json:"spec"`
	// +optional
	Status ServiceAccountGuardStatus `json:"status,omitempty"`
}

// ServiceAccountGuardSpec is what a platform team writes. A section that is absent is off.
type ServiceAccountGuardSpec struct {
	// namespaceSelector says where the guard holds, by the labels of the namespace. Empty selects every namespace.
	// kube-system and the namespace that saguard runs in are never matched. Cluster-scoped objects are judged by every guard.
	// +optional
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// labels guards the labels of service accounts (check label-use).
	// +optional
	Labels *LabelGuard `json:"labels,omitempty"`
	// workloads guards who may run as which service account (checks account-use, account-connect, account-token).
	// +optional
	Workloads *WorkloadGuard `json:"workloads,omitempty"`
	// policies guards Calico policies (checks policy-reference, policy-precedence, policy-hygiene, reserved-label).
	// +optional
	Policies *PolicyGuard `json:"policies,omitempty"`
	// defaultAccount guards the service accounts named "default" (check default-binding).
	// +optional
	DefaultAccount *DefaultAccountGuard `json:"defaultAccount,omitempty"`
	// exempt names who is not judged by this guard. Where Calico's API server is in use, name its account here: it writes to
	// group crd.projectcalico.org what users have written to projectcalico.org, which was judged then; else it has no
	// permission to write policy at all. The same goes for Calico's operator and kube-controllers, if they write policies of
	// their own. There is no exemption that is built in: who may act as these accounts goes past the guard.
	// +optional
	Exempt Exemption `json:"exempt,omitempty"`
}

// LabelGuard guards labels of service accounts.
//
// +kubebuilder:validation:XValidation:rule="(has(self.keys) && size(self.keys) > 0) || (has(self.fromPolicies) && self.fromPolicies)",message="guards no label: set keys, or fromPolicies: true"
type LabelGuard struct {
	// mode says what happens to a user without the permission.
	// +kubebuilder:default=Enforce
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// keys are the guarded label keys: a whole key ("role", "example.com/team") or every key of a prefix ("example.com/*").
	// +kubebuilder:validation:MaxItems=128
	// +listType=set
	// +optional
	Keys []LabelKeyPattern `json:"keys,omitempty"`
	// fromPolicies also guards every label key that a service-account selector of a Calico policy reads.
	// +optional
	FromPolicies bool `json:"fromPolicies,omitempty"`
}

// LabelKeyPattern is a label key, or a prefix and "/*".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=317
// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/\*$`
type LabelKeyPattern string

// WorkloadGuard guards the identity of running workloads.
type WorkloadGuard struct {
	// mode is that of account-use: creating pods and workloads that run as an account.
	// +kubebuilder:default=Enforce
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// templates names custom kinds that hold a pod template.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Templates []WorkloadTemplate `json:"templates,omitempty"`
	// connect is the mode of account-connect: exec, attach, portforward and ephemeral containers.
	// +kubebuilder:default=Enforce
	// +optional
	Connect Mode `json:"connect,omitempty"`
	// tokens is the mode of account-token: token requests and token Secrets.
	// +kubebuilder:default=Enforce
	// +optional
	Tokens Mode `json:"tokens,omitempty"`
}

// WorkloadTemplate says where a custom kind holds its pod template.
type WorkloadTemplate struct {
	// apiGroup of the kind, such as "argoproj.io".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	APIGroup string `json:"apiGroup"`
	// kind, such as "Rollout".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// path of the pod template inside the object, such as "spec.template".
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`
	Path string `json:"path"`
}

// PolicyGuard guards Calico policies.
type PolicyGuard struct {
	// references is the mode of policy-reference.
	// +kubebuilder:default=Enforce
	// +optional
	References Mode `json:"references,omitempty"`
	// precedence is the mode of policy-precedence; without any PolicyBand the check is off.
	// +kubebuilder:default=Enforce
	// +optional
	Precedence Mode `json:"precedence,omitempty"`
	// hygiene is the mode of policy-hygiene and reserved-label.
	// +kubebuilder:default=Enforce
	// +optional
	Hygiene Mode `json:"hygiene,omitempty"`
}

// DefaultAccountGuard guards the service accounts named "default".
type DefaultAccountGuard struct {
	// bindings is the mode of default-binding.
	// +kubebuilder:default=Enforce
	// +optional
	Bindings Mode `json:"bindings,omitempty"`
	// disableTokenMount sets automountServiceAccountToken to false on accounts named "default" that say nothing about it.
	// An explicit value is left alone.
	// +optional
	DisableTokenMount bool `json:"disableTokenMount,omitempty"`
}

// Exemption names subjects by exact name.
type Exemption struct {
	// users are exact user names.
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=set
	// +optional
	Users []string `json:"users,omitempty"`
	// groups are exact group names. A group that contains every user, every service account or every service account of
	// kube-system (whose controllers act for everybody) is refused.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.exists(g, g in ['system:authenticated', 'system:unauthenticated', 'system:serviceaccounts', 'system:serviceaccounts:kube-system'])",message="a group that contains everyone, or the controllers that act for everyone, cannot be exempt: name users"
	// +listType=set
	// +optional
	Groups []string `json:"groups,omitempty"`
}

// ServiceAccountGuardStatus is written by the webhook's leader.
type ServiceAccountGuardStatus struct {
	// observedGeneration is the generation that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// guardedKeys are the label keys and prefixes in force: those of the spec, and those that policies read.
	// +listType=atomic
	// +optional
	GuardedKeys []string `json:"guardedKeys,omitempty"`
	// violations counts what exists and would be refused today.
	// +optional
	Violations *ViolationCount `json:"violations,omitempty"`
	// conditions: Ready says that the guard is in force.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ViolationCount is the result of a background scan.
type ViolationCount struct {
	// total is the sum over all checks.
	Total int64 `json:"total"`
	// byCheck counts by the check's ID.
	// +optional
	ByCheck map[string]int64 `json:"byCheck,omitempty"`
	// unjudged counts what the scan could not judge: it may be in order or not.
	// +optional
	Unjudged int64 `json:"unjudged,omitempty"`
	// lastScan is when the scan ended.
	// +optional
	LastScan *metav1.Time `json:"lastScan,omitempty"`
}

// ServiceAccountGuardList is a list of guards.
//
// +kubebuilder:object:root=true
type ServiceAccountGuardList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceAccountGuard `json:"items"`
}
