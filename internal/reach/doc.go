// Package reach says who can reach whom, service account by service account: for every two of them the ports that
// egress at the source and ingress at the destination both let pass, and what decides. It is pure, and exact instead of
// sampled: package policy/compile gives, for a pod and a class of addresses, disjoint segments that cover every packet,
// and the cell of two accounts is what these segments have in common, pair of pods by pair of pods.
//
//	world.go     snapshot -> the programs and identity of every address of every pod
//	classes.go   identities -> those that no program tells apart
//	parties.go   pods -> accounts, each with the groups of its pods that are treated differently
//	outside.go   the addresses that are no pod's -> classes of them
//	outcome.go   egress and ingress of two groups -> one division of all packets
//	cell.go      all pairs of groups of two parties -> blocks, for all, some or none of the pairs
//	compare.go   the same for two snapshots -> what one allows and the other does not
//	overlay.go   the geometry of all that
//
// A pod is judged as policy/eval judges it: by its own policies, at each of its addresses, whatever node it runs on.
package reach
