// Package hollow finds who can get around a guard by RBAC that saguard does not grant: wildcards, impersonation, the kubelet's API,
// Secrets, and what can turn a guard off. It is pure.
package hollow
