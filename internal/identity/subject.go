package identity

// SystemMasters is the group that the API server authorizes for everything before RBAC is asked.
const SystemMasters = "system:masters"

// Subject is who makes a request, as the API server authenticated it (authentication.k8s.io/v1 UserInfo).
// Under impersonation it is the impersonated user: admission never sees the other.
type Subject struct {
	User   string
	UID    string
	Groups []string
	// Extra is passed on to SubjectAccessReview and looked at by nobody else.
	Extra map[string][]string
}

// InGroup reports whether the subject is in group, compared exactly.
func (s Subject) InGroup(group string) bool {
	for _, g := range s.Groups {
		if g == group {
			return true
		}
	}
	return false
}
