package webhook_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/webhook"
)

func subject(kind, namespace, name string) object {
	o := object{"kind": kind, "name": name}
	if namespace != "" {
		o["namespace"] = namespace
	}
	return o
}

func bindingOf(role string, subjects ...object) object {
	list := make([]any, len(subjects))
	for i, s := range subjects {
		list[i] = s
	}
	return object{"metadata": object{"name": "b"}, "subjects": list, "roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}
}

func TestDefaultBinding(t *testing.T) {
	account, user, group := "ServiceAccount", "User", "Group"
	mine := "kubectl auth can-i bind serviceaccounts/default -n prod"
	everywhere := "kubectl auth can-i bind serviceaccounts/default -A"
	cases := map[string]struct {
		cluster  bool // a ClusterRoleBinding
		now, old object
		// grants of bind: "prod" in that namespace, "" cluster-wide; of serviceaccounts/default.
		grants []string
		change func(*world, *webhook.Request)
		denied []string
		asked  bool
	}{
		"the account default":                         {now: bindingOf("view", subject(account, "prod", "default")), asked: true, denied: []string{"grant rights to service account prod/default", mine, `"bind"`}},
		"the account default, with bind":              {now: bindingOf("view", subject(account, "prod", "default")), grants: []string{"prod"}, asked: true},
		"the account default, of its own namespace":   {now: bindingOf("view", subject(account, "", "default")), asked: true, denied: []string{mine}},
		"the account default of another namespace":    {now: bindingOf("view", subject(account, "dev", "default")), grants: []string{"prod"}, asked: true, denied: []string{"-n dev"}},
		"the account default by its user name":        {now: bindingOf("view", subject(user, "", "system:serviceaccount:prod:default")), asked: true, denied: []string{mine}},
		"another account":                             {now: bindingOf("view", subject(account, "prod", "web"))},
		"an account that only starts like it":         {now: bindingOf("view", subject(account, "prod", "default-2"), subject(account, "default", "web"))},
		"another account by its user name":            {now: bindingOf("view", subject(user, "", "system:serviceaccount:prod:web"))},
		"a user called default":                       {now: bindingOf("view", subject(user, "", "default"))},
		"a group called default":                      {now: bindingOf("view", subject(group, "", "default"))},
		"a kind of subject that RBAC does not know":   {now: bindingOf("view", subject("Robot", "prod", "default"))},
		"one among others":                            {now: bindingOf("view", subject(user, "", "bob"), subject(account, "prod", "default")), asked: true, denied: []string{mine}},
		"all accounts of the namespace":               {now: bindingOf("view", subject(group, "", "system:serviceaccounts:prod")), asked: true, denied: []string{"group system:serviceaccounts:prod", mine}},
		"all accounts of the namespace, with bind":    {now: bindingOf("view", subject(group, "", "system:serviceaccounts:prod")), grants: []string{"prod"}, asked: true},
		"all accounts of another namespace":           {now: bindingOf("view", subject(group, "", "system:serviceaccounts:dev")), grants: []string{"prod"}, asked: true, denied: []string{"-n dev"}},
		"all accounts":                                {now: bindingOf("view", subject(group, "", "system:serviceaccounts")), grants: []string{"prod"}, asked: true, denied: []string{everywhere}},
		"all accounts, with bind everywhere":          {now: bindingOf("view", subject(group, "", "system:serviceaccounts")), grants: []string{""}, asked: true},
		"everybody with a name":                       {now: bindingOf("view", subject(group, "", "system:authenticated")), grants: []string{"prod"}, asked: true, denied: []string{everywhere}},
		"everybody without":                           {now: bindingOf("view", subject(group, "", "system:unauthenticated")), grants: []string{"prod"}, asked: true, denied: []string{everywhere}},
		"anonymous":                                   {now: bindingOf("view", subject(user, "", "system:anonymous")), grants: []string{"prod"}, asked: true, denied: []string{everywhere}},
		"a group that only starts like all accounts":  {now: bindingOf("view", subject(group, "", "system:serviceaccounts-x"), subject(group, "", "system:serviceaccounts:"))},
		"in a ClusterRoleBinding":                     {cluster: true, now: bindingOf("view", subject(account, "prod", "default")), asked: true, denied: []string{mine}},
		"in a ClusterRoleBinding, with bind":          {cluster: true, now: bindingOf("view", subject(account, "prod", "default")), grants: []string{"prod"}, asked: true},
		"in a ClusterRoleBinding without a namespace": {cluster: true, now: bindingOf("view", subject(account, "", "default"))},

		"a subject that is there and stays":    {old: bindingOf("view", subject(account, "prod", "default")), now: bindingOf("view", subject(user, "", "bob"), subject(account, "prod", "default"))},
		"a subject that goes":                  {old: bindingOf("view", subject(account, "prod", "default")), now: bindingOf("view")},
		"a subject that is added":              {old: bindingOf("view", subject(account, "dev", "default")), now: bindingOf("view", subject(account, "dev", "default"), subject(account, "prod", "default")), asked: true, denied: []string{mine}},
		"another role, which cannot be":        {old: bindingOf("view", subject(account, "prod", "default")), now: bindingOf("admin", subject(account, "prod", "default")), asked: true, denied: []string{mine}},
		"use of the account is not bind of it": {now: bindingOf("view", subject(account, "prod", "default")), asked: true, denied: []string{mine}, change: func(w *world, _ *webhook.Request) { w.grant("alice", "prod", "use", "serviceaccounts") }},
		"a member of system:masters": {
			now: bindingOf("view", subject(account, "prod", "default")), asked: true,
			change: func(_ *world, r *webhook.Request) { r.Subject.Groups = []string{"system:masters"} },
		},
		"kube-system is never guarded": {now: bindingOf("view", subject(account, "kube-system", "default")), change: func(_ *world, r *webhook.Request) { r.Namespace = "kube-system" }},
		"a guard without default accounts": {
			now: bindingOf("view", subject(account, "prod", "default")), change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.DefaultAccount = nil },
		},
		"deleting": {
			old: bindingOf("view", subject(account, "prod", "default")), change: func(_ *world, r *webhook.Request) { r.Operation, r.Object = admissionv1.Delete, nil },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			for _, ns := range tc.grants {
				w.grant("alice", ns, "bind", "serviceaccounts", "default")
			}
			op := admissionv1.Create
			var old any
			if tc.old != nil {
				op, old = admissionv1.Update, tc.old
			}
			resource := "rolebindings"
			if tc.cluster {
				resource = "clusterrolebindings"
			}
			req := request(t, op, "alice", resource, tc.now, old)
			req.Resource.Group, req.Kind, req.Name = "rbac.authorization.k8s.io", "RoleBinding", "b"
			if tc.cluster {
				req.Namespace = ""
			}
			if tc.change != nil {
				tc.change(w, req)
			}
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
		})
	}
}
