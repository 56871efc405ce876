package identity

// Pod is what decisions read of a running pod: as whom it runs, which never changes, and where, which is set once.
type Pod struct {
	// Account is spec.serviceAccountName; "" for pods of a node's own manifests, which have no account.
	Account string
	// Node is spec.nodeName; "" until the pod is bound to a node.
	Node string
}
