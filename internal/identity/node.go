package identity

import "strings"

// How kubelets authenticate (k8s.io/kubernetes pkg/auth/nodeidentifier).
const (
	nodeUserPrefix = "system:node:"
	allNodes       = "system:nodes"
)

// NodeName returns the node whose kubelet the subject is, and "" if it is none: both the user name and the group must say so.
func (s Subject) NodeName() string {
	name, ok := strings.CutPrefix(s.User, nodeUserPrefix)
	if !ok || !s.InGroup(allNodes) {
		return ""
	}
	return name
}
