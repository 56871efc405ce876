package hollow

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// The admission checks that can judge the use of a power, by their IDs.
const (
	JudgedByConnect = "account-connect"
	JudgedByToken   = "account-token"
)

// Power is a permission that lets its holder take an identity, or change what guards them, past what saguard's permissions say.
type Power struct {
	// ID is stable: the JSON field, the docs anchor, the value of --only.
	ID string
	// grants are (verb, group, resource or resource/subresource), any one of which is the power.
	grants []Triple
	// JudgedBy is the check that judges its use at admission; "" if admission never sees it.
	JudgedBy string
	// Why completes "a holder ...".
	Why string
}

// Triple is a verb on a resource, or RESOURCE/SUBRESOURCE, of an API group.
type Triple struct{ verb, group, resource string }

// The IDs of what [Find] finds. They are stable: the JSON field, the docs anchor, the value of --only of `kubectl saguard lint`.
const (
	Wildcard          = "wildcard"
	Impersonate       = "impersonate"
	NodesProxy        = "nodes-proxy"
	Escalate          = "escalate"
	Sign              = "sign-certificates"
	GuardOff          = "guard-off"
	GuardScope        = "guard-scope"
	SecretsRead       = "secrets-read"
	Token             = "token"
	SecretsWrite      = "secrets-write"
	Exec              = "exec"
	AppliesEverything = "applies-everything"
)

// Powers returns what is looked for, the worst first. A wildcard, which holds all of them, is told apart from them.
func Powers() []Power {
	return []Power{
		{
			// Legacy impersonation and the constrained kind (k8s.io/apiserver pkg/endpoints/filters/impersonation, v0.37).
			ID: Impersonate,
			grants: slices.Concat(
				triples("", []string{"serviceaccounts", "users", "groups"}, "impersonate"),
				triples("authentication.k8s.io", []string{"serviceaccounts"}, "impersonate:serviceaccount"),
				triples("authentication.k8s.io", []string{"users", "groups"}, "impersonate:user-info"),
				triples("authentication.k8s.io", []string{"nodes"}, "impersonate:arbitrary-node", "impersonate:associated-node"),
			),
			Why: "acts as another identity, and admission is shown that identity only",
		},
		{
			// A websocket upgrade is a GET, which is "get" to RBAC.
			ID: NodesProxy, grants: triples("", []string{"nodes/proxy"}, "get", "create", "update", "patch"),
			Why: "runs commands in any pod of a node through the kubelet, which asks no admission",
		},
		{
			ID:     Escalate,
			grants: triples(rbacv1.GroupName, []string{"roles", "clusterroles"}, "bind", "escalate"),
			Why:    "can grant themselves permissions that they do not hold, use and bind among them",
		},
		{
			ID:     Sign,
			grants: triples("certificates.k8s.io", []string{"signers"}, "approve", "sign"),
			Why:    "can make client certificates for any user",
		},
		{
			ID: GuardOff,
			grants: slices.Concat(
				triples("admissionregistration.k8s.io", []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, "update", "patch", "delete", "deletecollection"),
				triples("saguard.io", []string{"serviceaccountguards", "policybands"}, "update", "patch", "delete", "deletecollection"),
			),
			Why: "can turn the guard off",
		},
		{
			ID: SecretsRead, grants: triples("", []string{"secrets"}, "get", "list", "watch"),
			Why: "reads the long-lived tokens of accounts, where there are Secrets of type service-account-token",
		},
		{
			ID: Token, grants: triples("", []string{"serviceaccounts/token"}, "create"), JudgedBy: JudgedByToken,
			Why: "mints tokens of service accounts",
		},
		{
			ID: SecretsWrite, grants: triples("", []string{"secrets"}, "create", "update", "patch"), JudgedBy: JudgedByToken,
			Why: "makes the cluster mint a token of an account into a Secret",
		},
		{
			ID: Exec,
			grants: slices.Concat(
				triples("", []string{"pods/exec", "pods/attach", "pods/portforward"}, "get", "create"),
				triples("", []string{"pods/ephemeralcontainers"}, "update", "patch"),
			),
			JudgedBy: JudgedByConnect,
			Why:      "runs commands as the accounts of running pods, or reaches into their network",
		},
	}
}

// GuardScopePower is a power only where a guard selects namespaces by their labels.
func GuardScopePower() Power {
	return Power{
		ID: GuardScope, grants: triples("", []string{"namespaces", "namespaces/finalize", "namespaces/status"}, "update", "patch"),
		Why: "can take a namespace out of a guard by its labels",
	}
}

func triples(group string, resources []string, verbs ...string) []Triple {
	var out []Triple
	for _, r := range resources {
		for _, v := range verbs {
			out = append(out, Triple{verb: v, group: group, resource: r})
		}
	}
	return out
}

// GrantedBy returns the triples of p that rule allows for some name.
func (p *Power) GrantedBy(rule *rbacv1.PolicyRule) []Triple {
	var out []Triple
	for _, t := range p.grants {
		if ruleAllows(rule, t) {
			out = append(out, t)
		}
	}
	return out
}

// IsWildcard reports whether rule holds every verb on service accounts: use and bind of every account are in it.
func IsWildcard(rule *rbacv1.PolicyRule) bool {
	return ruleAllows(rule, Triple{verb: rbacv1.VerbAll, resource: "serviceaccounts"})
}

// ruleAllows matches as the API server does (k8s.io/kubernetes pkg/apis/rbac/v1/evaluation_helpers.go) whatever resourceNames
// the rule has. Of verb "*" only the wildcard itself matches.
func ruleAllows(rule *rbacv1.PolicyRule, t Triple) bool {
	has := func(list []string, s, all string) bool { return slices.Contains(list, s) || slices.Contains(list, all) }
	if !has(rule.Verbs, t.verb, rbacv1.VerbAll) || !has(rule.APIGroups, t.group, rbacv1.APIGroupAll) {
		return false
	}
	if has(rule.Resources, t.resource, rbacv1.ResourceAll) {
		return true
	}
	_, sub, ok := strings.Cut(t.resource, "/")
	return ok && slices.Contains(rule.Resources, "*/"+sub)
}
