package webhook

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/saguard/saguard/api/v1alpha1"
)

//nolint:gochecknoglobals // constants of a struct type
var (
	resourceServiceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	resourceGuards          = schema.GroupResource{Group: v1alpha1.GroupName, Resource: "serviceaccountguards"}
	resourceBands           = schema.GroupResource{Group: v1alpha1.GroupName, Resource: "policybands"}
)
