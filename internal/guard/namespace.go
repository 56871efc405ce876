package guard

// Namespace is what decisions read of a namespace.
type Namespace struct {
	Labels map[string]string
	// Terminating says that the namespace is being deleted (metadata.deletionTimestamp).
	Terminating bool
}
