// Package node runs real Kubernetes nodes on one Linux machine without a container
// engine: unchanged kubelets, kube-proxies, Debian's containerd, runc and CNI
// plugins, and real pods with real packets between them.
//
// A node is one process with network, mount, pid, uts and ipc namespaces of its
// own, so its end is the node's end: kubelet, containerd, pods and mounts go with
// it, as in a power cut. Nodes hang on a bridge in one more network namespace, the
// rack, where the control plane runs too. The machine's own network has no part in
// it: no interface, address, route or rule is added there.
//
// Promises, whatever happens to the caller:
//
//   - Close leaves no process, mount, cgroup, network namespace or folder.
//   - If the caller dies without Close, even by SIGKILL, so do the nodes, and a
//     janitor removes cgroups and the folder.
//   - Settings of the whole machine that a kubelet changes elsewhere, such as
//     vm.overcommit_memory, stay as they are.
//
// It needs root, cgroup v1, nft, nsenter and Debian's apt-get and dpkg-deb; [Available] says
// what is missing. Nothing is installed: packages are unpacked into the user's
// cache folder.
package node
