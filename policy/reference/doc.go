// Package reference says which service accounts a Calico policy refers to, through whatever channel: names, account
// selectors, plain selectors that read what Calico derives of accounts, negations, all().
//
// It returns formulas of grants, never decisions. The soundness that its tests show: whoever holds grants that satisfy all
// references of a policy holds one for every account that the policy's subject, or the peer of an Allow rule, can select,
// but for those that are selected for other labels alone.
//
// Everything here is pure, and linear in the size of the policy.
package reference
