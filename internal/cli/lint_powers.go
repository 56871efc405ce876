package cli

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// The admission checks that can judge the use of a power, by their IDs.
const (
	judgedByConnect = "account-connect"
	judgedByToken   = "account-token"
)

// power is a permission that lets its holder take an identity, or change what guards them, past what saguard's permissions say.
type power struct {
	// id is stable: the JSON field, the docs anchor, the value of --only.
	id string
	// grants are (verb, group, resource or resource/subresource), any one of which is the power.
	grants []grantTriple
	// judgedBy is the check that judges its use at admission; "" if admission never sees it.
	judgedBy string
	// why completes "a holder ...".
	why string
}

type grantTriple struct{ verb, group, resource string }

// The IDs of what lint finds.
const (
	lintWildcard     = "wildcard"
	lintImpersonate  = "impersonate"
	lintNodesProxy   = "nodes-proxy"
	lintEscalate     = "escalate"
	lintSign         = "sign-certificates"
	lintGuardOff     = "guard-off"
	lintGuardScope   = "guard-scope"
	lintSecretsRead  = "secrets-read"
	lintToken        = "token"
	lintSecretsWrite = "secrets-write"
	lintExec         = "exec"
	lintApplies      = "applies-everything"
)

// powers returns what lint looks for, the worst first. A wildcard, which holds all of them, is told apart from them.
func powers() []power {
	return []power{
		{
			// Legacy impersonation and the constrained kind (k8s.io/apiserver pkg/endpoints/filters/impersonation, v0.37).
			id: lintImpersonate,
			grants: slices.Concat(
				triples("", []string{"serviceaccounts", "users", "groups"}, "impersonate"),
				triples("authentication.k8s.io", []string{"serviceaccounts"}, "impersonate:serviceaccount"),
				triples("authentication.k8s.io", []string{"users", "groups"}, "impersonate:user-info"),
				triples("authentication.k8s.io", []string{"nodes"}, "impersonate:arbitrary-node", "impersonate:associated-node"),
			),
			why: "acts as another identity, and admission is shown that identity only",
		},
		{
			// A websocket upgrade is a GET, which is "get" to RBAC.
			id: lintNodesProxy, grants: triples("", []string{"nodes/proxy"}, "get", "create", "update", "patch"),
			why: "runs commands in any pod of a node through the kubelet, which asks no admission",
		},
		{
			id:     lintEscalate,
			grants: triples(rbacv1.GroupName, []string{"roles", "clusterroles"}, "bind", "escalate"),
			why:    "can grant themselves permissions that they do not hold, use and bind among them",
		},
		{
			id:     lintSign,
			grants: triples("certificates.k8s.io", []string{"signers"}, "approve", "sign"),
			why:    "can make client certificates for any user",
		},
		{
			id: lintGuardOff,
			grants: slices.Concat(
				triples("admissionregistration.k8s.io", []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, "update", "patch", "delete", "deletecollection"),
				triples("saguard.io", []string{"serviceaccountguards", "policybands"}, "update", "patch", "delete", "deletecollection"),
			),
			why: "can turn the guard off",
		},
		{
			id: lintSecretsRead, grants: triples("", []string{"secrets"}, "get", "list", "watch"),
			why: "reads the long-lived tokens of accounts, where there are Secrets of type service-account-token",
		},
		{
			id: lintToken, grants: triples("", []string{"serviceaccounts/token"}, "create"), judgedBy: judgedByToken,
			why: "mints tokens of service accounts",
		},
		{
			id: lintSecretsWrite, grants: triples("", []string{"secrets"}, "create", "update", "patch"), judgedBy: judgedByToken,
			why: "makes the cluster mint a token of an account into a Secret",
		},
		{
			id: lintExec,
			grants: slices.Concat(
				triples("", []string{"pods/exec", "pods/attach", "pods/portforward"}, "get", "create"),
				triples("", []string{"pods/ephemeralcontainers"}, "update", "patch"),
			),
			judgedBy: judgedByConnect,
			why:      "runs commands as the accounts of running pods, or reaches into their network",
		},
	}
}

// guardScope is a power only where a guard selects namespaces by their labels.
func guardScope() power {
	return power{
		id: lintGuardScope, grants: triples("", []string{"namespaces", "namespaces/finalize", "namespaces/status"}, "update", "patch"),
		why: "can take a namespace out of a guard by its labels",
	}
}

func triples(group string, resources []string, verbs ...string) []grantTriple {
	var out []grantTriple
	for _, r := range resources {
		for _, v := range verbs {
			out = append(out, grantTriple{verb: v, group: group, resource: r})
		}
	}
	return out
}

// grantedBy returns the triples of p that rule allows for some name.
func (p *power) grantedBy(rule *rbacv1.PolicyRule) []grantTriple {
	var out []grantTriple
	for _, t := range p.grants {
		if ruleAllows(rule, t) {
			out = append(out, t)
		}
	}
	return out
}

// isWildcard reports whether rule holds every verb on service accounts: use and bind of every account are in it.
func isWildcard(rule *rbacv1.PolicyRule) bool {
	return ruleAllows(rule, grantTriple{verb: rbacv1.VerbAll, resource: "serviceaccounts"})
}

// ruleAllows matches as the API server does (k8s.io/kubernetes pkg/apis/rbac/v1/evaluation_helpers.go) whatever resourceNames
// the rule has. Of verb "*" only the wildcard itself matches.
func ruleAllows(rule *rbacv1.PolicyRule, t grantTriple) bool {
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
