package identity_test

import (
	"testing"

	"github.com/saguard/saguard/internal/identity"
)

func TestCreatesFromTemplates(t *testing.T) {
	const system = "system:serviceaccount:kube-system:"
	podOf := func(group, kind string) identity.Creation {
		return identity.Creation{Resource: "pods", OwnerGroup: group, OwnerKind: kind}
	}
	cases := map[string]struct {
		user string
		c    identity.Creation
		want bool
	}{
		"a controller's own work":                   {user: system + "replicaset-controller", c: podOf("apps", "ReplicaSet"), want: true},
		"another controller's work":                 {user: system + "replicaset-controller", c: podOf("batch", "Job")},
		"a namesake of the owner in another group":  {user: system + "job-controller", c: podOf("example.com", "Job")},
		"an owner of the core group":                {user: system + "replication-controller", c: podOf("", "ReplicationController"), want: true},
		"no owner":                                  {user: system + "replicaset-controller", c: podOf("", "")},
		"the volume scrubber's pods have no owner":  {user: system + "persistent-volume-binder", c: podOf("", ""), want: true},
		"the volume scrubber makes nothing else":    {user: system + "persistent-volume-binder", c: identity.Creation{Group: "batch", Resource: "jobs"}},
		"all controllers under one name":            {user: "system:kube-controller-manager", c: identity.Creation{Group: "batch", Resource: "jobs", OwnerGroup: "batch", OwnerKind: "CronJob"}, want: true},
		"under one name, what no controller makes":  {user: "system:kube-controller-manager", c: identity.Creation{Group: "apps", Resource: "deployments"}},
		"a namesake in another namespace":           {user: "system:serviceaccount:prod:replicaset-controller", c: podOf("apps", "ReplicaSet")},
		"an account of kube-system that makes none": {user: system + "namespace-controller", c: podOf("apps", "ReplicaSet")},
		"nobody": {c: podOf("", "")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := identity.CreatesFromTemplates(tc.user, tc.c); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if tc.want && !identity.IsTemplateController(tc.user) {
				t.Error("makes something, but is not one of those who do")
			}
		})
	}
}

func TestControllersAreComparedExactly(t *testing.T) {
	for user, want := range map[string]bool{"system:kube-controller-manager": true, "system:kube-controller-manager ": false, "kube-controller-manager": false, "": false} {
		if got := identity.IsControllerManager(user); got != want {
			t.Errorf("%q: %v", user, got)
		}
	}
}

func TestNodeName(t *testing.T) {
	nodes := []string{"system:authenticated", "system:nodes"}
	cases := map[string]struct {
		subject identity.Subject
		want    string
	}{
		"a kubelet":                     {subject: identity.Subject{User: "system:node:n1.example.com", Groups: nodes}, want: "n1.example.com"},
		"a name without the group":      {subject: identity.Subject{User: "system:node:n1", Groups: nodes[:1]}},
		"the group without a name":      {subject: identity.Subject{User: "n1", Groups: nodes}},
		"an empty name":                 {subject: identity.Subject{User: "system:node:", Groups: nodes}},
		"a group that only looks alike": {subject: identity.Subject{User: "system:node:n1", Groups: []string{"system:nodes2", "System:nodes"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.subject.NodeName(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The controller that is found for an object is one that may make it; without an owner there is none.
func TestTemplateControllers(t *testing.T) {
	pod := identity.Creation{Resource: "pods", OwnerGroup: "apps", OwnerKind: "ReplicaSet"}
	user, ok := identity.TemplateController(pod)
	if !ok || user != "system:serviceaccount:kube-system:replicaset-controller" || !identity.CreatesFromTemplates(user, pod) {
		t.Errorf("%q, %v", user, ok)
	}
	for _, c := range []identity.Creation{{}, {Resource: "pods"}, {Resource: "pods", OwnerGroup: "apps", OwnerKind: "Deployment"}, {Resource: "pods", OwnerGroup: "example.com", OwnerKind: "ReplicaSet"}} {
		if user, ok := identity.TemplateController(c); ok {
			t.Errorf("%+v: %q", c, user)
		}
	}
}
