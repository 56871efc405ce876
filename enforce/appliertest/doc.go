// Package appliertest is what every enforce.Applier has to satisfy, on a real kernel: policies as Kubernetes objects go
// through the parser and the compiler into the Applier, and packets go between network namespaces.
//
// A rig is two nodes, each a namespace that forwards, with pods behind veth pairs and a /32 and /128 route each, as the CNI
// plugin ptp makes them, and one namespace for everything outside of the cluster, behind the first node:
//
//	outside ── node-1 ── node-2
//	            ││││      ││││
//	            pods      pods
//
// A packet counts as denied if it does not arrive although a packet that was sent after it on the same way, between two
// addresses that no policy judges, has; and it must not arrive until the end of the test either.
//
// The oracle is policy/eval. Nothing in the suite knows how a backend works; what it has to be told is in Backend.
package appliertest
