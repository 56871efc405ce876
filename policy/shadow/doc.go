// Package shadow finds policies that can never match, because an earlier one decides first whatever they speak of. It is for
// advice, so it proves or says nothing: what it reports holds in both semantics of package policy, for every pod, packet
// and label that there can be. It is pure.
package shadow
