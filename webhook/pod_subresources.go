package webhook

// How requests for subresources of pods are taken. A subresource that is in neither list is refused by check
// account-connect: an API server newer than this program may have found another way into a pod (fails closed).

const subresourceEphemeralContainers = "ephemeralcontainers"

// JudgedPodSubresources are ways into a running pod: whoever goes there acts with the pod's identity.
func JudgedPodSubresources() []string {
	return []string{"attach", subresourceEphemeralContainers, "exec", "portforward", "proxy"}
}

// IgnoredPodSubresources give nobody the pod's identity: where it runs, how much it gets, what it says and when it ends.
func IgnoredPodSubresources() []string {
	return []string{"binding", "eviction", "log", "resize", "status"}
}

// RelabellingPodSubresources can change a pod's labels, for check reserved-label: an update of status keeps nothing but the spec and
// the owners of the pod that is there, and a binding's labels are put on the pod (k8s.io/kubernetes pkg/registry/core/pod, v1.36).
// The old resource bindings does the same as the second.
func RelabellingPodSubresources() []string { return []string{"binding", "status"} }

// RelabellingNamespaceSubresources can change a namespace's labels (k8s.io/kubernetes pkg/registry/core/namespace, v1.36).
func RelabellingNamespaceSubresources() []string { return []string{"finalize", "status"} }

// intoPod completes "you may not ...", in front of the pod; "" for a subresource that nobody has named.
func intoPod(subresource string) string {
	switch subresource {
	case "attach":
		return "attach to"
	case subresourceEphemeralContainers:
		return "add a container to"
	case "exec":
		return "run a command in"
	case "portforward":
		return "forward a port to"
	case "proxy":
		return "send requests through the API server to"
	default:
		return ""
	}
}
