package request

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Every kind that a check looks at, as the files have it and as the API server would ask.
func TestGuessedResources(t *testing.T) {
	for kind, want := range map[string]struct {
		resource   string
		namespaced bool
	}{
		"v1/ServiceAccount": {"serviceaccounts", true}, "v1/Pod": {"pods", true}, "v1/Secret": {"secrets", true}, "v1/Namespace": {"namespaces", false},
		"v1/ReplicationController": {"replicationcontrollers", true}, "v1/PodTemplate": {"podtemplates", true},
		"apps/v1/Deployment": {"deployments", true}, "apps/v1/StatefulSet": {"statefulsets", true}, "apps/v1/DaemonSet": {"daemonsets", true}, "apps/v1/ReplicaSet": {"replicasets", true}, "apps/v1/ControllerRevision": {"controllerrevisions", true},
		"batch/v1/Job": {"jobs", true}, "batch/v1/CronJob": {"cronjobs", true},
		"rbac.authorization.k8s.io/v1/RoleBinding": {"rolebindings", true}, "rbac.authorization.k8s.io/v1/ClusterRoleBinding": {"clusterrolebindings", false},
		"saguard.io/v1alpha1/ServiceAccountGuard": {"serviceaccountguards", false}, "saguard.io/v1alpha1/PolicyBand": {"policybands", false},
		"projectcalico.org/v3/NetworkPolicy": {"networkpolicies", true}, "projectcalico.org/v3/StagedNetworkPolicy": {"stagednetworkpolicies", true},
		"crd.projectcalico.org/v1/GlobalNetworkPolicy": {"globalnetworkpolicies", false}, "projectcalico.org/v3/StagedGlobalNetworkPolicy": {"stagedglobalnetworkpolicies", false},
		"projectcalico.org/v3/NetworkSet": {"networksets", true}, "projectcalico.org/v3/GlobalNetworkSet": {"globalnetworksets", false},
		"projectcalico.org/v3/HostEndpoint": {"hostendpoints", false}, "projectcalico.org/v3/Tier": {"tiers", false},
		"argoproj.io/v1alpha1/Rollout": {"rollouts", true},
	} {
		i := strings.LastIndexByte(kind, '/')
		gv, err := schema.ParseGroupVersion(kind[:i])
		if err != nil {
			t.Fatal(err)
		}
		got, namespaced, err := Guessed(gv.WithKind(kind[i+1:]))
		if err != nil || got != gv.WithResource(want.resource) || namespaced != want.namespaced {
			t.Errorf("%s: got %v namespaced %v, %v", kind, got, namespaced, err)
		}
	}
}
