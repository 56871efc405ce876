// Package compile turns a snapshot of policies and pods into the rules of one node: a [ruleset.Ruleset]. It is pure and
// total: every input has an output, and what is wrong in it is returned as a problem and never makes a verdict wider.
//
// The unit is the identity. Pods that no policy can tell apart are one class: same namespace, same service account, same
// values of the labels that some policy reads, same named ports. An identity is an IP version, the classes of the pods that
// claim an address, and the network sets and nets that contain it. Pods map to identities, rules speak of identities: so
// a pod that comes or goes is one element, whatever the number of policies, and a change of an account's labels costs by
// identities and policies, not by pods.
//
// [Compile] starts from nothing. A [Compiler] is told what changed and gives the difference; its result depends on what
// there is, not on how it came about. Data flow in one direction through the stages of [Compiler.Flush]:
//
//	vocabulary.go  policies -> the label keys and port names that are read
//	class.go       pods -> classes of pods, and who claims which address
//	selection.go   policies x classes with pods on this node -> which policies are active
//	atom.go        active policies -> the sets of addresses that they ask for
//	nets.go        network sets and nets -> longest-prefix table
//	identity.go    addresses -> identities; identities x sets -> membership
//	subject.go     pods of this node -> programs
//	program.go     programs x identities -> rows
//	lower.go       rules that match one identity -> disjoint segments
//	publish.go     what differs from what was told last
package compile
