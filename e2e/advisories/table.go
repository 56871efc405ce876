package advisories

import (
	"fmt"
	"strings"
)

// Advisory is a hole that another project had.
type Advisory struct {
	// IDs are those by which it is known.
	IDs []string
	// Project that had it.
	Project string
	// Hole is what was wrong, in one sentence.
	Hole string
	// Avoided is why it is not here, in one or two sentences.
	Avoided string
	// Rest is what remains for the operator to decide; empty if nothing does.
	Rest string
	// Tests show it.
	Tests []Test
}

// Test is a Go test of this repository.
type Test struct {
	// Package is its folder, relative to the repository.
	Package string
	// Name of the function.
	Name string
}

const here = "e2e/advisories"

// Table is every advisory that was gone through, by project.
func Table() []Advisory {
	return []Advisory{
		{
			IDs: []string{"GHSA-gjw4-3v3v-rqxg"}, Project: "Capsule",
			Hole:    "A list of forbidden labels was sorted without regard to case and searched by halves, so that entries were missed.",
			Avoided: "Guarded keys are kept in sets and compared exactly; case is never folded.",
			Tests:   []Test{{here, "TestGuardedKeysAreFoundWhateverTheirOrderAndCase"}, {"internal/guard", "TestGuardedKeys"}},
		},
		{
			IDs: []string{"GHSA-gxjc", "GHSA-jc72", "GHSA-793w"}, Project: "Capsule",
			Hole:    "A tenant's regular expression that does not parse ended the controller, for all tenants.",
			Avoided: "No input is compiled as a regular expression. Selectors are parsed with bounds on length and depth, a selector of a guard that does not parse holds everywhere, and a panic ends one request, which is refused.",
			Tests: []Test{
				{here, "TestHostileSelectorsHarmNobodyElse"}, {"internal/guard", "TestUnreadableSelectorHoldsEverywhereAndIsReported"},
				{"webhook", "TestWhatCannotBeJudgedIsRefused"}, {"e2e/policies", "TestHostilePolicyIsAnsweredInTime"},
			},
		},
		{
			IDs: []string{"GHSA-f94q"}, Project: "Capsule",
			Hole:    "An update was judged by the object that it replaces.",
			Avoided: "Checks get the old object and the new one, and ask for what is put on and for what is taken off.",
			Tests: []Test{
				{here, "TestUpdatesAreJudgedByWhatTheyWrite"}, {"e2e/admission", "TestEveryOperation"}, {"webhook", "TestLabelUse"}, {"webhook", "TestPolicyReference"},
			},
		},
		{
			IDs: []string{"GHSA-p8j8"}, Project: "Capsule",
			Hole:    "The gate stood in the mutating webhook alone, and namespaces/status and namespaces/finalize went past it.",
			Avoided: "Mutations never decide; the validating webhook refuses, and is sent every subresource by which labels can be written.",
			Rest:    "Who may write a namespace's labels decides which guards hold there. A guard that selects by kubernetes.io/metadata.name cannot be left.",
			Tests: []Test{
				{here, "TestDecisionsDoNotRestOnTheMutatingWebhook"}, {here, "TestNamespacesCannotLeaveTheirGuardByAnotherName"},
				{"e2e/policies", "TestReservedLabelsByTheSideDoors"}, {"webhook", "TestForgedClaimsAreRefused"},
			},
		},
		{
			IDs: []string{"GHSA-wpv2"}, Project: "Capsule",
			Hole:    "Objects with a label \"managed by\" were not checked, and anybody could write that label.",
			Avoided: "No label or annotation of an object exempts it. The registration selects no objects, and namespaces by name only. Exemptions are exact names of users and groups in a guard.",
			Tests:   []Test{{here, "TestNoLabelOrAnnotationSkipsAJudgement"}, {"e2e/admission", "TestLabelledByIsKeptByTheWebhookAlone"}, {"e2e/admission", "TestExemptUsers"}},
		},
		{
			IDs: []string{"GHSA-4qv9"}, Project: "Capsule",
			Hole:    "Of a list only the first item was looked at.",
			Avoided: "Checks return a finding for each item, and the decision is the strictest of all findings.",
			Tests:   []Test{{here, "TestEveryItemOfAListIsJudged"}, {"webhook", "TestEveryRuleOfAPolicyIsJudged"}},
		},
		{
			IDs: []string{"CVE-2026-22872"}, Project: "Capsule",
			Hole:    "The controller made cluster-scoped objects that a tenant described.",
			Avoided: "saguard makes no object that a user describes, and its account may change nothing in a tenant's namespace but reports of what it found.",
			Tests:   []Test{{here, "TestTheWebhookCouldDoNothingForATenant"}},
		},
		{
			IDs: []string{"CVE-2026-22039", "CVE-2026-54523", "CVE-2026-100706", "CVE-2026-122303"}, Project: "Kyverno",
			Hole:    "Policies of a namespace had the privileged controller read and write in other namespaces.",
			Avoided: "Guards and bands are cluster-scoped: nothing that a tenant can be given configures saguard. The webhook calls nothing that a user names, may read no Secret of a tenant's, and may write nothing in a tenant's namespace but reports of what it found.",
			Rest:    "A guard with fromPolicies guards the label keys that policies read, in the namespaces that these name. With references: Enforce beside it, writing such a policy takes \"bind\" there.",
			Tests: []Test{
				{here, "TestTheWebhookCouldDoNothingForATenant"}, {"webhook", "TestPolicyReference"}, {"internal/guard", "TestPolicyKeysCountInTheirNamespaces"},
			},
		},
		{
			IDs: []string{"CVE-2026-84200"}, Project: "Kyverno",
			Hole:    "Of two exceptions that match, the least restrictive won.",
			Avoided: "The strictest mode wins for each check. An exemption is from its own guard alone.",
			Tests:   []Test{{here, "TestTheStricterOfTwoGuardsHolds"}, {"internal/guard", "TestStrictestModeWinsForEachCheckByItself"}},
		},
		{
			IDs: []string{"GO-2025-3652"}, Project: "Kyverno",
			Hole:    "Where the labels of a namespace could not be found, it counted as one without labels, and no policy matched it.",
			Avoided: "Facts are known, absent or unknown. A namespace that memory does not know is asked for; if that fails, the request is refused.",
			Tests: []Test{
				{here, "TestNamespacesOfThisInstantAreGuarded"}, {"webhook", "TestWhatCannotBeJudgedIsRefused"},
				{"internal/state", "TestNamespaceIsAskedLiveOnlyWhereMemoryDoesNotDo"},
			},
		},
		{
			IDs: []string{"CVE-2026-42541", "GHSA-wqcw"}, Project: "Kubewarden",
			Hole:    "Whoever could write a policy could have the host answer what others may.",
			Avoided: "A refusal names the permission that is missing, is the same whether others hold it or not, and names nobody. The agent's explain is on a socket of root's.",
			Rest:    "Whoever reaches the webhook's port can ask in any name. Set `webhook.clientCA`, or keep pods away from it by NetworkPolicy.",
			Tests: []Test{
				{here, "TestRefusalsTellNothingOfWhatOthersMay"}, {here, "TestWhoReachesThePortGetsAnAnswerAndNothingElse"}, {"internal/nodeapi", "TestSocketIsItsOwnersAlone"},
			},
		},
		{
			IDs: []string{"CVE-2023-2727", "CVE-2023-2728"}, Project: "Kubernetes",
			Hole:    "Ephemeral containers went past checks of images and of a service account's Secrets.",
			Avoided: "Adding a container to a pod takes \"use\" of the pod's account. A subresource of pods that nobody has named is refused.",
			Tests: []Test{
				{here, "TestIdentityDoesNotHangOnAListOfContainers"}, {"e2e/admission", "TestConnectingIsJudgedByThePodsAccount"},
				{"webhook", "TestAccountConnectEphemeralContainers"}, {"webhook", "TestEveryPodSubresourceIsNamedOnceOrRefused"},
			},
		},
		{
			IDs: []string{"CVE-2024-3177"}, Project: "Kubernetes",
			Hole:    "envFrom went past the check of a service account's Secrets.",
			Avoided: "The account is asked for once per pod, whatever its containers hold. A Secret for an account's token takes \"use\" of the account when it is made.",
			Rest:    "A Secret with a token that is there can be mounted by whoever may run pods in its namespace, as any Secret. Make none: pods and people get tokens by TokenRequest.",
			Tests: []Test{
				{here, "TestIdentityDoesNotHangOnAListOfContainers"}, {"e2e/admission", "TestTokensAreJudgedByTheirAccount"}, {"webhook", "TestAccountTokenSecrets"},
			},
		},
		{
			IDs: []string{"gatekeeper#529"}, Project: "Gatekeeper",
			Hole:    "Exempting the group of kube-system's accounts exempted the replicaset controller, and so whoever can make a ReplicaSet.",
			Avoided: "Controllers pass by exact username and only for what they make of a template, which was judged when it was written. Groups that contain everyone, or kube-system's accounts, cannot be exempted.",
			Tests: []Test{
				{here, "TestExemptingControllersExemptsNobodyElse"}, {"webhook", "TestAccountUseExemptsBuiltinControllersExactly"}, {"webhook", "TestGuardChange"},
			},
		},
		{
			IDs: []string{"CVE-2025-1974"}, Project: "ingress-nginx",
			Hole:    "Whoever reached the admission controller's port could have it run their code, with its right to read all Secrets.",
			Avoided: "A review is parsed, compared and answered; nothing of it is run, rendered or written to a file. The account may read no Secret of a tenant's, and the image holds nothing but the program.",
			Rest:    "The port takes reviews from anybody unless `webhook.clientCA` is set.",
			Tests: []Test{
				{here, "TestWhoReachesThePortGetsAnAnswerAndNothingElse"}, {here, "TestTheWebhookCouldDoNothingForATenant"},
				{"webhook", "TestHostileBodies"}, {"release", "TestWebhookRunsFromItsImage"},
			},
		},
	}
}

// Markdown is the page of docs: the whole text of docs/advisories.md.
func Markdown() string {
	var out strings.Builder
	out.WriteString("# Advisories of comparable projects\n\n" +
		"Holes that other projects of the admission chain had, and the tests that show that saguard does not have them.\n" +
		"This page is written from a table in `e2e/advisories`, and a test compares the two.\n")
	for _, a := range Table() {
		fmt.Fprintf(&out, "\n## %s: %s\n\n%s\n\n**Here:** %s\n", a.Project, strings.Join(a.IDs, ", "), a.Hole, a.Avoided)
		if a.Rest != "" {
			fmt.Fprintf(&out, "\n**Left to you:** %s\n", a.Rest)
		}
		out.WriteString("\nTests: ")
		for i, t := range a.Tests {
			if i > 0 {
				out.WriteString(", ")
			}
			fmt.Fprintf(&out, "`%s: %s`", t.Package, t.Name)
		}
		out.WriteString(".\n")
	}
	return out.String()
}
