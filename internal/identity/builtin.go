package identity

import "slices"

// The control plane's own users. They are named exactly, in this one place: a group or a prefix would exempt whoever gets
// into it (gatekeeper#529 exempted every controller with system:serviceaccounts:kube-system).
//
// kube-controller-manager runs each controller under its own service account with --use-service-account-credentials, and
// all of them under controllerManager without (k8s.io/kubernetes cmd/kube-controller-manager/app, and for the names
// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go).
const (
	namespaceController = "system:serviceaccount:kube-system:namespace-controller"
	garbageCollector    = "system:serviceaccount:kube-system:generic-garbage-collector"
	controllerManager   = "system:kube-controller-manager"
)

// DeletesForNamespaces reports whether user is one of the controllers that empty a terminating namespace.
func DeletesForNamespaces(user string) bool {
	switch user {
	case namespaceController, garbageCollector, controllerManager:
		return true
	default:
		return false
	}
}

// IsControllerManager reports whether user is kube-controller-manager itself. With or without
// --use-service-account-credentials that is who requests the controllers' own tokens and fills token Secrets.
func IsControllerManager(user string) bool { return user == controllerManager }

// Creation is one kind of object that a built-in controller makes out of another, whose writer has been judged.
type Creation struct {
	// Group and Resource are of the object made.
	Group, Resource string
	// OwnerGroup and OwnerKind are of its controlling owner; both are empty where there is none.
	OwnerGroup, OwnerKind string
}

// controllerCreations says what each built-in controller makes of pod templates.
//
//nolint:gochecknoglobals // a constant of a map type
var controllerCreations = map[string][]Creation{
	"system:serviceaccount:kube-system:replicaset-controller": {
		{Resource: "pods", OwnerGroup: "apps", OwnerKind: "ReplicaSet"},
	},
	"system:serviceaccount:kube-system:replication-controller": {
		{Resource: "pods", OwnerKind: "ReplicationController"},
	},
	"system:serviceaccount:kube-system:deployment-controller": {
		{Group: "apps", Resource: "replicasets", OwnerGroup: "apps", OwnerKind: "Deployment"},
	},
	"system:serviceaccount:kube-system:daemon-set-controller": {
		{Resource: "pods", OwnerGroup: "apps", OwnerKind: "DaemonSet"},
		{Group: "apps", Resource: "controllerrevisions", OwnerGroup: "apps", OwnerKind: "DaemonSet"},
	},
	"system:serviceaccount:kube-system:statefulset-controller": {
		{Resource: "pods", OwnerGroup: "apps", OwnerKind: "StatefulSet"},
		{Group: "apps", Resource: "controllerrevisions", OwnerGroup: "apps", OwnerKind: "StatefulSet"},
	},
	"system:serviceaccount:kube-system:job-controller": {
		{Resource: "pods", OwnerGroup: "batch", OwnerKind: "Job"},
	},
	"system:serviceaccount:kube-system:cronjob-controller": {
		{Group: "batch", Resource: "jobs", OwnerGroup: "batch", OwnerKind: "CronJob"},
	},
	// It scrubs released volumes with pods out of a template file of its own (persistentVolumeReclaimPolicy: Recycle).
	"system:serviceaccount:kube-system:persistent-volume-binder": {
		{Resource: "pods"},
	},
}

// IsTemplateController reports whether there is anything that user makes of pod templates.
func IsTemplateController(user string) bool {
	return user == controllerManager || len(controllerCreations[user]) > 0
}

// TemplateController returns the built-in controller whose work it is to make c out of its owner; false if there is none.
func TemplateController(c Creation) (user string, ok bool) {
	if c.OwnerKind == "" {
		return "", false
	}
	for user, all := range controllerCreations {
		if slices.Contains(all, c) {
			return user, true // of an owner's kind there is one
		}
	}
	return "", false
}

// CreatesFromTemplates reports whether user is the built-in controller whose work it is to make c: whoever wrote the
// template was judged then, and the controller adds nothing of anybody else's. No other user is ever that, whatever its
// namespace and groups.
func CreatesFromTemplates(user string, c Creation) bool {
	if user == controllerManager {
		for _, all := range controllerCreations {
			if slices.Contains(all, c) {
				return true
			}
		}
		return false
	}
	return slices.Contains(controllerCreations[user], c)
}
