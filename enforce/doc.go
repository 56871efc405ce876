// Package enforce keeps one node's kernel equal to the latest compiled ruleset.
//
// Data flow in one direction: watched objects are compiled ([policy/compile]) into deltas, and an [Applier] puts them into the
// kernel. Rules outlive the process: nothing here removes them when it stops. Until everything has been read once, nothing is
// programmed, and what an earlier process left stays in force (fails closed for what was denied, and as it was for the rest).
package enforce
