package webhook_test

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/webhook"
)

// bound is a token request for a pod.
func bound(pod string) object {
	return at(object{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": "u"}, "spec", "boundObjectRef")
}

func TestAccountTokenRequests(t *testing.T) {
	const node = "system:node:n1"
	canI := []string{"request a token of service account prod/web", "kubectl auth can-i use serviceaccounts/web -n prod"}
	cases := map[string]struct {
		user   string
		groups []string
		object object
		grants []string
		change func(*world, *webhook.Request)
		denied []string
		asked  bool
	}{
		"a token takes use of the account":      {object: object{"spec": object{}}, asked: true, denied: canI},
		"a token with use of the account":       {object: object{"spec": object{}}, grants: []string{"web"}, asked: true},
		"use of another account does not serve": {object: object{"spec": object{}}, grants: []string{"default"}, asked: true, denied: canI},
		"a token bound to a pod is judged as any": {
			object: bound("web-0"), asked: true, denied: canI,
		},
		"a request without a name is for any account": {
			object: object{"spec": object{}}, grants: []string{"web"}, asked: true, denied: []string{"kubectl auth can-i use serviceaccounts -n prod"},
			change: func(_ *world, r *webhook.Request) { r.Name = "" },
		},
		"the account's own token is judged too": {user: "system:serviceaccount:prod:web", object: object{"spec": object{}}, asked: true, denied: canI},
		"a mode that is off":                    {object: object{"spec": object{}}, change: func(w *world, _ *webhook.Request) { w.guards[0].Spec.Workloads.Tokens = v1alpha1.ModeOff }},
		"kube-controller-manager":               {user: "system:kube-controller-manager", object: object{"spec": object{}}},
		"a controller's own account":            {user: controllers + "replicaset-controller", object: object{"spec": object{}}, asked: true, denied: canI},

		"a kubelet for a pod on its node":        {user: node, groups: []string{"system:nodes"}, object: bound("web-0")},
		"a kubelet for a pod on another node":    {user: "system:node:n2", groups: []string{"system:nodes"}, object: bound("web-0"), asked: true, denied: canI},
		"a kubelet for a pod that is not bound":  {user: node, groups: []string{"system:nodes"}, object: bound("floating"), asked: true, denied: canI},
		"a kubelet for a pod that is not there":  {user: node, groups: []string{"system:nodes"}, object: bound("gone"), asked: true, denied: canI},
		"a kubelet for no pod":                   {user: node, groups: []string{"system:nodes"}, object: object{"spec": object{}}, asked: true, denied: canI},
		"a kubelet for a Secret":                 {user: node, groups: []string{"system:nodes"}, object: merged(bound("web-0"), at("Secret", "spec", "boundObjectRef", "kind")), asked: true, denied: canI},
		"a kubelet for a pod without its uid":    {user: node, groups: []string{"system:nodes"}, object: merged(bound("web-0"), at("", "spec", "boundObjectRef", "uid")), asked: true, denied: canI},
		"a kubelet for another version of a pod": {user: node, groups: []string{"system:nodes"}, object: merged(bound("web-0"), at("v2", "spec", "boundObjectRef", "apiVersion")), asked: true, denied: canI},
		"one who only has a node's name":         {user: node, object: bound("web-0"), asked: true, denied: canI},
		"one who only is in the group":           {user: "n1", groups: []string{"system:nodes"}, object: bound("web-0"), asked: true, denied: canI},
		"a node without a name":                  {user: "system:node:", groups: []string{"system:nodes"}, object: bound("floating"), asked: true, denied: canI},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			user := tc.user
			if user == "" {
				user = "alice"
			}
			if len(tc.grants) > 0 {
				w.grant(user, "prod", "use", "serviceaccounts", tc.grants...)
			}
			req := request(t, admissionv1.Create, user, "serviceaccounts", tc.object, nil)
			req.Subresource, req.Name, req.Kind = "token", "web", "TokenRequest"
			req.Subject.Groups = append(req.Subject.Groups, tc.groups...)
			if tc.change != nil {
				tc.change(w, req)
			}
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
			if w.lookups > 0 && tc.groups == nil {
				t.Error("looked up a pod for one who is no kubelet")
			}
		})
	}
}

func TestAccountTokenOfAnUnknownPod(t *testing.T) {
	rig := newRig(t, identityWorld())
	req := request(t, admissionv1.Create, "system:node:n1", "serviceaccounts", bound("mystery"), nil)
	req.Subresource, req.Name = "token", "web"
	req.Subject.Groups = []string{"system:nodes"}
	if resp := rig.Validate(t.Context(), req); resp.Allowed || resp.Result.Code != 503 {
		t.Errorf("%+v, want 503", resp)
	}
}

func TestAccountTokenSecrets(t *testing.T) {
	const tokens = "kubernetes.io/service-account-token"
	secret := func(kind, account string) object {
		o := object{"metadata": object{"name": "s"}, "type": kind, "data": object{"token": "eA=="}}
		if account != "" {
			o = merged(o, at(object{"kubernetes.io/service-account.name": account}, "metadata", "annotations"))
		}
		return o
	}
	denied := []string{"write Secret prod/s for a token of service account prod/web", "kubectl auth can-i use serviceaccounts/web -n prod"}
	cases := map[string]struct {
		user     string
		now, old object
		grants   []string
		denied   []string
		asked    bool
	}{
		"creating one takes use of the account":             {now: secret(tokens, "web"), asked: true, denied: denied},
		"creating one with use of the account":              {now: secret(tokens, "web"), grants: []string{"web"}, asked: true},
		"use of another account does not serve":             {now: secret(tokens, "web"), grants: []string{"default"}, asked: true, denied: denied},
		"one for no account takes use of all":               {now: secret(tokens, ""), grants: []string{"web"}, asked: true, denied: []string{"kubectl auth can-i use serviceaccounts -n prod"}},
		"a Secret of another type":                          {now: secret("Opaque", "web")},
		"a type that only looks like it":                    {now: secret(tokens+"s", "web")},
		"a change that leaves the account alone":            {old: secret(tokens, "web"), now: merged(secret(tokens, "web"), at("b", "metadata", "labels", "a"))},
		"turning one to another account":                    {old: secret(tokens, "batch"), now: secret(tokens, "web"), grants: []string{"batch"}, asked: true, denied: denied},
		"turning one to another account, which one may use": {old: secret(tokens, "batch"), now: secret(tokens, "web"), grants: []string{"web"}, asked: true},
		"turning a Secret into one":                         {old: secret("Opaque", "web"), now: secret(tokens, "web"), asked: true, denied: denied},
		"turning one into another Secret":                   {old: secret(tokens, "web"), now: secret("Opaque", "web")},
		"kube-controller-manager":                           {user: "system:kube-controller-manager", now: secret(tokens, "web")},
		"one who is called like it":                         {user: "system:serviceaccount:prod:kube-controller-manager", now: secret(tokens, "web"), asked: true, denied: denied},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			user := tc.user
			if user == "" {
				user = "alice"
			}
			if len(tc.grants) > 0 {
				w.grant(user, "prod", "use", "serviceaccounts", tc.grants...)
			}
			op := admissionv1.Create
			var old any
			if tc.old != nil {
				op, old = admissionv1.Update, tc.old
			}
			req := request(t, op, user, "secrets", tc.now, old)
			req.Name, req.Kind = "s", "Secret"
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
		})
	}
}

func TestAccountTokenPodCertificates(t *testing.T) {
	certificate := func(account, pod, node string) object {
		return at(object{"serviceAccountName": account, "podName": pod, "nodeName": node}, "spec")
	}
	denied := []string{"request a certificate of service account prod/web"}
	nodes := []string{"system:nodes"}
	cases := map[string]struct {
		user   string
		groups []string
		object object
		grants []string
		denied []string
		asked  bool
	}{
		"a certificate takes use of the account":     {object: certificate("web", "web-0", "n1"), asked: true, denied: denied},
		"a certificate with use of the account":      {object: certificate("web", "web-0", "n1"), grants: []string{"web"}, asked: true},
		"a kubelet for a pod on its node":            {user: "system:node:n1", groups: nodes, object: certificate("web", "web-0", "n1")},
		"a kubelet for another account than it has":  {user: "system:node:n1", groups: nodes, object: certificate("web", "static", "n1"), asked: true, denied: denied},
		"a kubelet for a pod on another node":        {user: "system:node:n2", groups: nodes, object: certificate("web", "web-0", "n2"), asked: true, denied: denied},
		"a kubelet in the name of another node":      {user: "system:node:n1", groups: nodes, object: certificate("web", "web-0", "n2"), asked: true, denied: denied},
		"one who only has a node's name":             {user: "system:node:n1", object: certificate("web", "web-0", "n1"), asked: true, denied: denied},
		"kube-controller-manager needs no such ones": {user: "system:kube-controller-manager", object: certificate("web", "web-0", "n1"), asked: true, denied: denied},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := identityWorld()
			user := tc.user
			if user == "" {
				user = "alice"
			}
			if len(tc.grants) > 0 {
				w.grant(user, "prod", "use", "serviceaccounts", tc.grants...)
			}
			req := request(t, admissionv1.Create, user, "podcertificaterequests", tc.object, nil)
			req.Resource.Group, req.Kind, req.Name = "certificates.k8s.io", "PodCertificateRequest", "c"
			req.Subject.Groups = append(req.Subject.Groups, tc.groups...)
			newRig(t, w).expect(t, req, tc.denied, tc.asked)
		})
	}
}
