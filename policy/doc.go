// Package policy is the model of network policy after parsing: Calico v3 (NetworkPolicy, GlobalNetworkPolicy, Tier,
// NetworkSet, GlobalNetworkSet, both as projectcalico.org/v3 and as crd.projectcalico.org/v1), networking.k8s.io/v1
// NetworkPolicy, and the pods, namespaces and service accounts they speak of. It parses and orders; it decides nothing.
// policy/eval decides slowly and obviously, policy/compile fast.
//
// Objects are parsed one by one with [Parse] into a [Resource], and put together with [NewSnapshot] into an immutable
// [Snapshot]. What does not parse is returned as a [Problem] with its field path, never dropped; what it then means is
// a question of [Semantics]: [Calico] predicts what Calico does, holes included, [Strict] never widens. Both run the same
// code; each place where they part is one row of [Differences].
//
// Only pods are endpoints. HostEndpoints, policy for them alone (doNotTrack, preDNAT) and rules with services are out of
// scope and reported as a Problem.
package policy
