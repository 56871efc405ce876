// Package bypass tells whether packets of a node's pods cross the FORWARD hook, on which rules are enforced. Where the CNI hands
// them on below it, rules in the kernel would be a false promise.
package bypass
