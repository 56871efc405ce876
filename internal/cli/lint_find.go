package cli

import (
	"slices"

	"github.com/saguard/saguard/internal/hollow"
)

// What lint prints is what package hollow finds.
type (
	rbacObjects = hollow.Objects
	objectName  = hollow.ObjectName
	guardModes  = hollow.GuardModes
	lintFinding = hollow.Finding
)

// lintInput is what lint looks at.
type lintInput struct {
	hollow.Input
	// policies are looked through for those that never match; nil for none.
	policies *lintPolicies
}

// lintResult is all findings, and how many grants to the control plane's own subjects were left out.
type lintResult struct {
	hollow.Result
	shadowed []shadowedPolicy
}

func lint(in lintInput) lintResult {
	out := lintResult{Result: hollow.Find(in.Input)}
	if in.policies != nil && in.Wants(lintShadowed) {
		out.shadowed = in.policies.shadowed()
	}
	return out
}

func lintIDs() []string {
	out := []string{hollow.Wildcard, hollow.AppliesEverything, hollow.GuardScope, lintShadowed}
	for _, p := range hollow.Powers() {
		out = append(out, p.ID)
	}
	return out
}

// hasImpersonation is the power that --fix takes away.
func hasImpersonation() hollow.Power {
	all := hollow.Powers()
	return all[slices.IndexFunc(all, func(p hollow.Power) bool { return p.ID == hollow.Impersonate })]
}
