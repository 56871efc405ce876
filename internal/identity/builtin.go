package identity

// The control plane's own users. They are named exactly, in this one place: a group or a prefix would exempt whoever gets
// into it (gatekeeper#529 exempted every controller with system:serviceaccounts:kube-system).
const (
	namespaceController = "system:serviceaccount:kube-system:namespace-controller"
	garbageCollector    = "system:serviceaccount:kube-system:generic-garbage-collector"
	// controllerManager is the user of every controller where kube-controller-manager runs without
	// --use-service-account-credentials.
	controllerManager = "system:kube-controller-manager"
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
