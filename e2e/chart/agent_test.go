package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ofAgent leaves the agent's objects.
func ofAgent(t *testing.T, rendered *Rendered) *Rendered {
	t.Helper()
	out := &Rendered{}
	for _, o := range rendered.Objects {
		if o.GetLabels()["app.kubernetes.io/component"] == "agent" {
			out.Objects = append(out.Objects, o)
		}
	}
	return out
}

func TestWithoutTheAgentNothingOfItIsRendered(t *testing.T) {
	for name, values := range cases {
		if got := ofAgent(t, render(t, values)).Objects; len(got) > 0 {
			t.Errorf("%s: %s %s", name, got[0].GetKind(), got[0].GetName())
		}
	}
}

// The agent changes nothing of the webhook.
func TestTheAgentLeavesTheWebhookAlone(t *testing.T) {
	key := func(r *Rendered) map[string]bool {
		out := map[string]bool{}
		for _, o := range r.Objects {
			redact(t, o)
			text, err := marshal([]*unstructured.Unstructured{o})
			if err != nil {
				t.Fatal(err)
			}
			if o.GetLabels()["app.kubernetes.io/component"] != "agent" {
				out[string(text)] = true
			}
		}
		return out
	}
	if !maps.Equal(key(render(t, "")), key(render(t, agentCases["agent"]))) {
		t.Error("an object of the webhook differs")
	}
}

func TestAgentPermissionsAreExactlyThese(t *testing.T) {
	want := map[string]bool{
		"ns: create leases.coordination.k8s.io": true,
		"ns: patch leases.coordination.k8s.io":  true,
		"get nodes.":                            true,
	}
	for _, verb := range []string{"list", "watch"} {
		for _, resource := range []string{"pods.", "namespaces.", "serviceaccounts.", "nodes.", "networkpolicies.networking.k8s.io"} {
			want[verb+" "+resource] = true
		}
	}
	for _, verb := range []string{"get", "list", "watch"} {
		for _, group := range []string{"projectcalico.org", "crd.projectcalico.org"} {
			for _, resource := range []string{"networkpolicies", "globalnetworkpolicies", "tier.networkpolicies", "tier.globalnetworkpolicies", "tiers", "networksets", "globalnetworksets"} {
				want[verb+" "+resource+"."+group] = true
			}
		}
	}
	for _, name := range []string{"agent", "agent-everything"} {
		rendered := ofAgent(t, render(t, agentCases[name]))
		got := map[string]bool{}
		add(got, "", one[*rbacv1.ClusterRole](t, rendered).Rules)
		add(got, "ns: ", one[*rbacv1.Role](t, rendered).Rules)
		if !maps.Equal(got, want) {
			t.Errorf("%s: grants\n%q\nwant\n%q", name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		account := one[*appsv1.DaemonSet](t, rendered).Spec.Template.Spec.ServiceAccountName
		for _, subjects := range [][]rbacv1.Subject{
			one[*rbacv1.ClusterRoleBinding](t, rendered).Subjects, one[*rbacv1.RoleBinding](t, rendered).Subjects,
		} {
			if !slices.Equal(subjects, []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: "saguard-system"}}) {
				t.Errorf("%s: bound to %v, not to the pods' account %s alone", name, subjects, account)
			}
		}
	}
}

// What the pods may do on the node: the capabilities of the backend, and no file but what they need.
func TestAgentPodsMayDoNoMoreThanTheyNeed(t *testing.T) {
	for name, tc := range map[string]struct {
		capabilities []corev1.Capability
		hostPaths    []string
	}{
		"agent":            {capabilities: []corev1.Capability{"BPF", "NET_ADMIN", "PERFMON"}, hostPaths: []string{"/sys/fs/bpf"}},
		"agent-cleanup":    {capabilities: []corev1.Capability{"BPF", "NET_ADMIN", "PERFMON"}, hostPaths: []string{"/sys/fs/bpf"}},
		"agent-nft":        {capabilities: []corev1.Capability{"NET_ADMIN"}},
		"agent-everything": {capabilities: []corev1.Capability{"BPF", "NET_ADMIN", "PERFMON"}, hostPaths: []string{"/sys/fs/bpf", "/var/run/guard"}},
	} {
		spec := one[*appsv1.DaemonSet](t, render(t, agentCases[name])).Spec.Template.Spec
		var paths []string
		for _, v := range spec.Volumes {
			if v.HostPath != nil {
				paths = append(paths, v.HostPath.Path)
			}
		}
		slices.Sort(paths)
		if !slices.Equal(paths, tc.hostPaths) {
			t.Errorf("%s: mounts %v of the node", name, paths)
		}
		if spec.HostPID || spec.HostIPC || !spec.HostNetwork || spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: %+v", name, spec.SecurityContext)
		}
		for _, c := range spec.Containers {
			s := c.SecurityContext
			if s == nil || *s.Privileged || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
				!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || !slices.Equal(s.Capabilities.Add, tc.capabilities) {
				t.Errorf("%s: security context %+v", name, s)
			}
		}
	}
}

func TestAgentSelectsItsPodsAndNoOthers(t *testing.T) {
	for name, values := range agentCases {
		rendered := render(t, values)
		d := one[*appsv1.DaemonSet](t, rendered)
		matches := func(selector, labels map[string]string) bool {
			for k, v := range selector {
				if labels[k] != v {
					return false
				}
			}
			return true
		}
		deployment := one[*appsv1.Deployment](t, rendered)
		if !matches(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels) || matches(d.Spec.Selector.MatchLabels, deployment.Spec.Template.Labels) ||
			matches(deployment.Spec.Selector.MatchLabels, d.Spec.Template.Labels) {
			t.Errorf("%s: selectors %v and %v", name, d.Spec.Selector.MatchLabels, deployment.Spec.Selector.MatchLabels)
		}
	}
}

// TestArgumentsAreFlagsOfTheAgent asks the program itself, as with the webhook.
func TestArgumentsAreFlagsOfTheAgent(t *testing.T) {
	run := parsing(t, "saguard-agent")
	if run([]string{"run", "--no-such-flag"}) == nil {
		t.Fatal("the program accepts any flag, so this test could not fail")
	}
	for name, values := range agentCases {
		args := one[*appsv1.DaemonSet](t, render(t, values)).Spec.Template.Spec.Containers[0].Args
		if err := run(args); err != nil {
			t.Errorf("%s: saguard-agent refuses %q: %v", name, args, err)
		}
	}
}

func TestNotesOfTheAgentSayHowItGoes(t *testing.T) {
	if notes := render(t, agentCases["agent"]).Notes; !strings.Contains(notes, "agent.cleanup=true") {
		t.Error("nobody is told that rules outlive the agent")
	}
	if notes := render(t, "").Notes; strings.Contains(notes, "agent") {
		t.Error("the agent is spoken of where there is none")
	}
}
