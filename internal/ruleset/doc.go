// Package ruleset is the value between the policy compiler and whatever enforces it: who is who, and for each pod of one
// node what may pass. It knows nothing of policies, selectors or Kubernetes, and nothing of nftables or eBPF.
//
// A packet is judged twice: by the egress program of its source and by the ingress program of its destination, as far as
// they are endpoints of the node. To judge it:
//
//	Endpoints[own address], or else Addresses[longest prefix].Strangers -> Subjects[...] -> program of the direction
//	Addresses[longest prefix of the other address] -> identity
//	program.Rows[identity], or else the program's default row for the IP version -> row
//	the only segment of the row with that protocol and ports -> verdict and rule
//
// The segments of a row are disjoint and cover everything, so their order carries no meaning and a lookup needs no
// precedence. IDs are handles of one compiler: they are never 0, small, and mean nothing outside of its rulesets.
// [Ruleset.String], [Ruleset.Hash] and [Ruleset.Equal] do not depend on them.
//
// A ruleset is changed by a [Delta], in place: [Ruleset.Apply].
package ruleset
