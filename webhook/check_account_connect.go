package webhook

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
)

// CheckAccountConnect is the ID of check account-connect: whoever gets into a running pod (exec, attach, port-forward, proxy,
// ephemeral containers) acts as its service account and needs "use" of it.
const CheckAccountConnect = "account-connect"

func accountConnect() Check { return Check{ID: CheckAccountConnect, Run: runAccountConnect} }

func runAccountConnect(f *Facts) ([]Finding, error) {
	mode := f.Guards.Connect()
	if mode == v1alpha1.ModeOff || f.groupResource() != resourcePods || f.Subresource == "" ||
		slices.Contains(IgnoredPodSubresources(), f.Subresource) {
		return nil, nil
	}
	phrase := intoPod(f.Subresource)
	pod, known := f.Pod.Get()
	finding := Finding{Mode: mode, Attempt: fmt.Sprintf("%s pod %s", phrase, f.qualified(f.Name))}
	switch {
	case phrase == "":
		finding.Attempt = fmt.Sprintf("use %s of pod %s", f.Subresource, f.qualified(f.Name))
		finding.Rule = "this version of saguard does not know whether that gives the pod's identity"
	case f.SamePod:
		return nil, nil
	case known:
		need := rbac.Ask(rbac.UseAccount(f.Request.Namespace, accountOf(pod)))
		finding.Need = &need
		finding.Attempt += ", which runs as service account " + f.qualified(accountOf(pod))
		if f.Subresource == subresourceEphemeralContainers {
			finding.Field = field.NewPath("spec", "ephemeralContainers")
		}
	case f.Pod.IsAbsent():
		// Not left to the API server to say: the pod may be there a moment later.
		finding.Rule = "there is no pod of that name"
	default:
		finding.Rule = "as which service account it runs could not be found out, try again"
	}
	return []Finding{finding}, nil
}

// accountOf returns whom a pod counts as. One without an account, of a node's own manifests, counts as "default", which is
// what it would be if it named nobody.
func accountOf(p identity.Pod) string {
	if p.Account == "" {
		return defaultAccount
	}
	return p.Account
}
