// Package enforce keeps one node's kernel equal to the latest compiled ruleset.
//
// Data flow in one direction: watched objects are compiled ([policy/compile]) into deltas, one for each event, and an [Applier]
// puts them into the kernel. One goroutine does it, in one select ([Loop.Run]):
//
//	feed.go     what should be in force, and who can put it there
//	loop.go     take -> (sync | apply) -> verify; backoff; repair
//	choose.go   probing of backends, going over from one to the other, packets
//	status.go   how the node is enforced
//	explain.go  what the kernel does with a connection, and what it should
//	packet.go   denied packets, with names
//	metrics.go  counters
//
// Rules outlive the process: nothing here removes them when it stops. Until everything has been read once, nothing is
// programmed, and what an earlier process left stays in force (fails closed for what was denied, and as it was for the rest).
package enforce
