package webhook

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/internal/identity"
)

// podView is what decisions read of a core/v1 Pod or PodTemplateSpec.
type podView struct {
	Metadata podMetadata `json:"metadata"`
	Spec     podSpec     `json:"spec"`
}

type podMetadata struct {
	Labels map[string]string `json:"labels"`
	// Annotations are read by the keys that decide.
	Annotations struct {
		Mirror *string `json:"kubernetes.io/config.mirror"`
	} `json:"annotations"`
	OwnerReferences []ownerReference `json:"ownerReferences"`
}

type ownerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Controller *bool  `json:"controller"`
}

// podSpec holds both spellings of the account. serviceAccount is deprecated, but counts where serviceAccountName is empty
// (k8s.io/kubernetes pkg/apis/core/v1 conversion), and nobody can say what the controller of a custom kind makes of two
// that differ.
type podSpec struct {
	ServiceAccountName string      `json:"serviceAccountName"`
	ServiceAccount     string      `json:"serviceAccount"`
	NodeName           string      `json:"nodeName"`
	Containers         []container `json:"containers"`
	InitContainers     []container `json:"initContainers"`
}

// container holds the only field of a running pod's container through which it can be made to run something else.
type container struct {
	Image string `json:"image"`
}

// The fields of an account's name, below a pod spec.
const (
	fieldAccountName       = "serviceAccountName"
	fieldDeprecatedAccount = "serviceAccount"
)

// defaultAccount is whom a pod runs as that names nobody.
const defaultAccount = "default"

// namedAccount is an account that a pod spec asks for, and the field that does.
type namedAccount struct{ field, name string }

// accounts returns whom pods of the spec may run as: one, or two if the spellings differ.
func (s *podSpec) accounts() []namedAccount {
	switch {
	case s.ServiceAccountName == "" && s.ServiceAccount == "":
		return []namedAccount{{field: fieldAccountName, name: defaultAccount}}
	case s.ServiceAccountName == "":
		return []namedAccount{{field: fieldDeprecatedAccount, name: s.ServiceAccount}}
	case s.ServiceAccount == "" || s.ServiceAccount == s.ServiceAccountName:
		return []namedAccount{{field: fieldAccountName, name: s.ServiceAccountName}}
	default:
		return []namedAccount{{field: fieldAccountName, name: s.ServiceAccountName}, {field: fieldDeprecatedAccount, name: s.ServiceAccount}}
	}
}

// sameImages reports that no container of a pod was made to run another image.
func sameImages(a, b *podSpec) bool {
	return sameContainers(a.Containers, b.Containers) && sameContainers(a.InitContainers, b.InitContainers)
}

func sameContainers(a, b []container) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// isMirrorOn reports whether the pod is the image of a manifest on the node's own disk. It has no account: the API server
// refuses one (ServiceAccount admission), and so does this.
func (p *podView) isMirrorOn(node string) bool {
	return node != "" && p.Spec.NodeName == node && p.Metadata.Annotations.Mirror != nil &&
		p.Spec.ServiceAccountName == "" && p.Spec.ServiceAccount == ""
}

// creation names the object for identity.CreatesFromTemplates.
func creation(gr schema.GroupResource, owners []ownerReference) identity.Creation {
	c := identity.Creation{Group: gr.Group, Resource: gr.Resource}
	for _, o := range owners {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		c.OwnerKind = o.Kind
		if gv, err := schema.ParseGroupVersion(o.APIVersion); err == nil {
			c.OwnerGroup = gv.Group
		} else {
			c.OwnerGroup = o.APIVersion // of no group there is
		}
	}
	return c
}

func isNull(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }
