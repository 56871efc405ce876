// Package controlplane runs a real Kubernetes control plane on loopback for
// tests and demonstrations: etcd, kube-apiserver and, where asked for,
// kube-controller-manager and kube-scheduler, with kubectl to talk to it. Real
// nodes are package node's.
//
// The programs come from KUBEBUILDER_ASSETS or are built once from Go modules
// (see [Binaries]). Authorization is RBAC and every request is audited, because
// what users may do and what the audit log says about it is what is tested.
//
// Three promises hold whatever happens to the caller:
//
//   - A control plane occupies nothing shared: etcd listens on unix sockets
//     inside the control plane's own folder, and the API server's port stays
//     reserved from Start to Stop. Any number can run at once.
//   - Stop leaves no process and no folder, also when it has to use force.
//   - If the caller dies without Stop, even by SIGKILL, the processes die with
//     it (Linux) and the folder is removed (any Unix).
package controlplane
