// Package rbac answers "may this subject do that?" from Kubernetes RBAC objects held in memory, the way the API server's own
// RBAC authorizer does, and says which binding and which rule granted it.
//
//   - Question and Name say what is asked; UseLabel, BindAccount and the like build the questions of saguard's own permissions.
//   - Store takes Role, ClusterRole, RoleBinding and ClusterRoleBinding events and publishes an immutable Index after each.
//   - Index answers a question without a lock, a copy or an allocation; WhoCan turns it round.
//   - Authorizer puts the Index, a short-lived denial cache and SubjectAccessReview in their order; Need is a formula of questions.
//
// Nothing here grants anything: the package reads RBAC and prints what would have to be granted (GrantManifests); the API server's
// own escalation check decides whether the one who applies it may. It imports no client, does no I/O of its own and logs nothing.
//
// RBAC is monotone: every binding only adds. That is what makes it sound to answer "yes" as soon as one rule allows, even if
// another source could not be read. Nothing else in saguard may rely on that.
package rbac
