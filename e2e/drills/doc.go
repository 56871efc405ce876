// Package drills breaks one thing after the other around a loaded installation, on a real API server and etcd, and says
// what was lost: each drill prints one line, `go test -v` shows them as a table at the end. Namespace deletion and label
// changes while the webhook is stopped, and a webhook that may not read RBAC, are package admission's.
package drills
