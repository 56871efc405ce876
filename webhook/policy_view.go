package webhook

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/policy/hygiene"
	"github.com/saguard/saguard/policy/reference"
)

// The API groups of Calico's policies: the one that users write, and its store, which who may can write past it.
const (
	groupCalico = "projectcalico.org"
	groupStore  = hygiene.GroupCRD
)

// isCalicoPolicy reports whether checks policy-reference, policy-precedence and policy-hygiene look at the resource.
func isCalicoPolicy(gr schema.GroupResource) bool {
	if gr.Group != groupCalico && gr.Group != groupStore {
		return false
	}
	switch gr.Resource {
	case "networkpolicies", "globalnetworkpolicies", "stagednetworkpolicies", "stagedglobalnetworkpolicies":
		return true
	default:
		return false
	}
}

// policyView is what decisions read of a policy.
type policyView struct {
	raw []byte
	// object is one of the four v3 types; nil if the JSON is of nothing like it.
	object metav1.Object
	// misfits are the fields that do not fit into the type; readable says that object holds all the others.
	misfits  field.ErrorList
	readable bool
	// policy says what it refers to and where it stands.
	policy *reference.Policy
}

// guardsPolicies reports whether anything of a policy makes a difference to the guards that hold.
func (f *Facts) guardsPolicies() bool {
	return f.Guards.References() != v1alpha1.ModeOff || f.Guards.Precedence() != v1alpha1.ModeOff || f.Guards.Hygiene() != v1alpha1.ModeOff
}

// decodePolicy reads the policy of the request. What does not fit is no error here: whether it is refused is for the checks,
// which take a policy that cannot be read for one that may say anything.
func (f *Facts) decodePolicy() error {
	if !f.guardsPolicies() {
		return nil
	}
	f.Policy, f.OldPolicy = readPolicy(f.Object, f.Request.Namespace), readPolicy(f.OldObject, f.Request.Namespace)
	if f.Operation == admissionv1.Delete {
		f.Policy = nil
	}
	if err := f.needs(f.Policy != nil, f.OldPolicy != nil); err != nil {
		return err
	}
	f.SamePolicy = f.Operation == admissionv1.Update && f.Policy.sameSpec(f.OldPolicy)
	return nil
}

// readPolicy returns nil for no object.
func readPolicy(raw []byte, namespace string) *policyView {
	if isNull(raw) {
		return nil
	}
	v := &policyView{raw: raw}
	v.object, v.misfits = hygiene.Decode(raw)
	// A field that the type does not have is forbidden and read past; any other error has hidden something.
	v.readable = v.object != nil && !slices.ContainsFunc(v.misfits, func(e *field.Error) bool { return e.Type != field.ErrorTypeForbidden })
	v.policy = reference.Read(v.object, namespace)
	v.policy.Unreadable = v.policy.Unreadable || !v.readable
	return v
}

// sameSpec compares what Calico obeys. What cannot be compared is not the same (fails closed).
func (v *policyView) sameSpec(o *policyView) bool {
	switch {
	case v == nil || o == nil || v.object == nil || o.object == nil:
		return false
	case len(v.misfits)+len(o.misfits) > 0:
		// A newer Calico has fields that the type does not: what is not read must be equal as it stands.
		now, was := rawSpec(v.raw), rawSpec(o.raw)
		return now != nil && was != nil && sameJSON(now, was)
	default:
		return reflect.DeepEqual(v.spec(), o.spec())
	}
}

// rawSpec returns nil if there is none.
func rawSpec(object []byte) []byte {
	var top struct {
		Spec json.RawMessage `json:"spec"`
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(object, &top) != nil || isNull(top.Spec) {
		return nil
	}
	return top.Spec
}

func (v *policyView) spec() any {
	switch p := v.object.(type) {
	case *v3.NetworkPolicy:
		return p.Spec
	case *v3.GlobalNetworkPolicy:
		return p.Spec
	case *v3.StagedNetworkPolicy:
		return p.Spec
	case *v3.StagedGlobalNetworkPolicy:
		return p.Spec
	default:
		return v // the same as nothing else
	}
}

// judgesPolicy reports whether the request writes a policy and changes what it says.
func (f *Facts) judgesPolicy() bool {
	return (f.Policy != nil || f.OldPolicy != nil) && !f.SamePolicy && !emptiesNamespace(f)
}

// endpointSet is what decisions read of a NetworkSet, GlobalNetworkSet or HostEndpoint: what selectors take for an endpoint.
type endpointSet struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Profiles []string `json:"profiles"`
	} `json:"spec"`
}

// isEndpointSet reports whether check reserved-label looks at the resource as at one of Calico's.
func isEndpointSet(gr schema.GroupResource) bool {
	if gr.Group != groupCalico && gr.Group != groupStore {
		return false
	}
	switch gr.Resource {
	case "networksets", "globalnetworksets", "hostendpoints":
		return true
	default:
		return false
	}
}

// labels are those in the object's own metadata.
func (s *endpointSet) labels() map[string]string {
	if s == nil {
		return nil
	}
	return s.Metadata.Labels
}

// stored returns the labels in the annotation that stands for the metadata in Calico's store. It is read as Calico reads it,
// with encoding/json, for which the case of field names does not matter.
func (s *endpointSet) stored() (map[string]string, error) {
	if s == nil || s.Metadata.Annotations[hygiene.MetadataAnnotation] == "" {
		return nil, nil
	}
	var meta metav1.ObjectMeta
	if err := json.Unmarshal([]byte(s.Metadata.Annotations[hygiene.MetadataAnnotation]), &meta); err != nil {
		return nil, fmt.Errorf("decode annotation %s: %w", hygiene.MetadataAnnotation, err)
	}
	return meta.Labels, nil
}

// inherited returns the profiles through which it would have the labels of an account or of a namespace: Calico names them
// ksa.NAMESPACE.NAME and kns.NAMESPACE (libcalico-go/lib/backend/k8s/conversion).
func (s *endpointSet) inherited() []string {
	if s == nil {
		return nil
	}
	var out []string
	for _, p := range s.Spec.Profiles {
		if strings.HasPrefix(p, "ksa.") || strings.HasPrefix(p, "kns.") {
			out = append(out, p)
		}
	}
	return out
}
