package chart

import (
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// apiVersions of the kinds that the tests speak of; the group of the kinds' own resources.
var apiVersions = map[string]string{
	"Pod": "v1", "Binding": "v1", "PodExecOptions": "v1", "Secret": "v1", "Namespace": "v1", "ServiceAccount": "v1", "PodTemplate": "v1",
	"ReplicationController": "v1", "TokenRequest": "authentication.k8s.io/v1", "PodCertificateRequest": "certificates.k8s.io/v1beta1",
	"DaemonSet": "apps/v1", "Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1", "ControllerRevision": "apps/v1",
	"CronJob": "batch/v1", "Job": "batch/v1", "RoleBinding": "rbac.authorization.k8s.io/v1", "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
	"Rollout": "argoproj.io/v1alpha1", "JobSet": "jobset.x-k8s.io/v1alpha2", "Eviction": "policy/v1",
}

// identityRequest is one request about who runs as whom.
type identityRequest struct {
	kind string
	// resource is that of kind unless said, such as "pods/exec".
	resource, subresource string
	operation             admission.Operation
	user                  string
	groups                []string
	object, old           string
}

func (r identityRequest) attributes(t *testing.T) *admission.VersionedAttributes {
	t.Helper()
	gv, err := schema.ParseGroupVersion(apiVersions[r.kind])
	if err != nil || apiVersions[r.kind] == "" {
		t.Fatalf("apiVersion of %s: %v", r.kind, err)
	}
	gvk := gv.WithKind(r.kind)
	gvr, _ := meta.UnsafeGuessKindToResource(gvk)
	if r.resource != "" {
		gvr = schema.GroupVersionResource{Version: "v1", Resource: r.resource}
	}
	switch {
	case r.operation != "":
	case r.object == "":
		r.operation = admission.Delete
	case r.old == "":
		r.operation = admission.Create
	default:
		r.operation = admission.Update
	}
	if r.user == "" {
		r.user = "alice"
	}
	now, old := object(t, gvk, r.object), object(t, gvk, r.old)
	name, namespace := "x", "prod"
	for _, o := range []runtime.Object{old, now} {
		if m, ok := o.(metav1.Object); ok {
			name = m.GetName()
		}
	}
	if r.kind == "ClusterRoleBinding" || r.kind == "Namespace" {
		namespace = ""
	}
	return &admission.VersionedAttributes{
		VersionedKind: gvk, VersionedObject: admission.NewLazyObject(now), VersionedOldObject: admission.NewLazyObject(old),
		Attributes: admission.NewAttributesRecord(now, old, gvk, namespace, name, gvr, r.subresource, r.operation, nil, false,
			&user.DefaultInfo{Name: r.user, Groups: r.groups}),
	}
}

// object gives what the API server gives its webhooks: the Go type of a built-in kind, else an unstructured object.
func object(t *testing.T, gvk schema.GroupVersionKind, text string) runtime.Object {
	t.Helper()
	if text == "" {
		return nil
	}
	typed, err := kubernetes.Scheme.New(gvk)
	if err != nil {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		u.SetGroupVersionKind(gvk)
		return u
	}
	if err := yaml.UnmarshalStrict([]byte(text), typed); err != nil {
		t.Fatal(err)
	}
	return typed
}

// Every request about identities, and the webhook that it is sent to; "" for what the webhook has nothing to say about.
func TestIdentityRequestsThatAreSent(t *testing.T) {
	everything := cases["everything"]
	const (
		controllers = "system:serviceaccount:kube-system:"
		pod         = `{metadata: {name: p}, spec: {containers: [{name: c, image: "i:1"}]}}`
		exec        = `{command: [sh]}`
		template    = `{metadata: {name: w}, spec: {template: {spec: {containers: [{name: c, image: "i:1"}]}}}}`
		image2      = `{metadata: {name: w}, spec: {template: {spec: {containers: [{name: c, image: "i:2"}]}}}}`
		scaled      = `{metadata: {name: w, labels: {a: b}}, spec: {replicas: 7, template: {spec: {containers: [{name: c, image: "i:1"}]}}}}`
		token       = `{metadata: {name: s}, type: kubernetes.io/service-account-token}`
		tokenOfWeb  = `{metadata: {name: s, annotations: {kubernetes.io/service-account.name: web}}, type: kubernetes.io/service-account-token}`
		toDefault   = `{metadata: {name: b}, subjects: [{kind: ServiceAccount, name: default, namespace: prod}], roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}`
		toBob       = `{metadata: {name: b}, subjects: [{kind: User, name: bob, apiGroup: rbac.authorization.k8s.io}], roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}`

		pods, workloads, credentials = "pods.validate.saguard.io", "workloads.validate.saguard.io", "credentials.validate.saguard.io"
		secrets, namespaces          = "secrets.validate.saguard.io", "namespaces.validate.saguard.io"
		relabelling                  = "relabelling.validate.saguard.io"
		bindings, custom             = "bindings.validate.saguard.io", "customworkloads.validate.saguard.io"
	)
	owned := func(apiVersion, kind string) string {
		return `{metadata: {name: p, ownerReferences: [{apiVersion: ` + apiVersion + `, kind: ` + kind + `, name: o, uid: u, controller: true}]}}`
	}
	bound := func(kind string) string {
		return `{metadata: {name: web}, spec: {audiences: [], boundObjectRef: {apiVersion: v1, kind: ` + kind + `, name: p, uid: u}}}`
	}
	nodes := []string{"system:nodes", "system:authenticated"}
	type testCase struct {
		identityRequest
		want string
	}
	cases := map[string]testCase{
		"creating a pod":                      {identityRequest{kind: "Pod", object: pod}, pods},
		"a mirror pod":                        {identityRequest{kind: "Pod", object: pod, user: "system:node:n1", groups: nodes}, pods},
		"deleting a pod":                      {identityRequest{kind: "Pod", old: pod}, ""},
		"another image of a running pod":      {identityRequest{kind: "Pod", old: pod, object: `{metadata: {name: p}, spec: {containers: [{name: c, image: "i:2"}]}}`}, pods},
		"another image of an init container":  {identityRequest{kind: "Pod", old: pod, object: `{metadata: {name: p}, spec: {initContainers: [{name: d, image: "i:2"}], containers: [{name: c, image: "i:1"}]}}`}, pods},
		"finalizers and tolerations of a pod": {identityRequest{kind: "Pod", old: pod, object: `{metadata: {name: p, finalizers: [x/y]}, spec: {tolerations: [{operator: Exists}], containers: [{name: c, image: "i:1"}]}}`}, ""},
		"a label of a pod":                    {identityRequest{kind: "Pod", old: pod, object: `{metadata: {name: p, labels: {role: master}}, spec: {containers: [{name: c, image: "i:1"}]}}`}, ""},
		"a reserved label of a pod":           {identityRequest{kind: "Pod", old: pod, object: `{metadata: {name: p, labels: {pcsa.role: x}}, spec: {containers: [{name: c, image: "i:1"}]}}`}, pods},
		"a pod that keeps a reserved label": {identityRequest{
			kind: "Pod", old: `{metadata: {name: p, labels: {pcsa.role: x}}, spec: {containers: [{name: c}]}}`, object: `{metadata: {name: p, labels: {pcsa.role: x}, finalizers: [x/y]}, spec: {containers: [{name: c}]}}`,
		}, ""},
		"another image, by the controller that made the pod": {identityRequest{
			kind: "Pod", user: controllers + "replicaset-controller", old: owned("apps/v1", "ReplicaSet"),
			object: `{metadata: {name: p, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: o, uid: u, controller: true}]}, spec: {containers: [{name: c, image: "i:2"}]}}`,
		}, pods},
		"the data of a revision":                   {identityRequest{kind: "ControllerRevision", old: `{metadata: {name: r}, data: {spec: {template: {}}}}`, object: `{metadata: {name: r}, data: {spec: {template: {a: b}}}}`}, workloads},
		"a pod of a ReplicaSet":                    {identityRequest{kind: "Pod", object: owned("apps/v1", "ReplicaSet"), user: controllers + "replicaset-controller"}, ""},
		"a pod of a ReplicationController":         {identityRequest{kind: "Pod", object: owned("v1", "ReplicationController"), user: controllers + "replication-controller"}, ""},
		"a pod of a DaemonSet":                     {identityRequest{kind: "Pod", object: owned("apps/v1", "DaemonSet"), user: controllers + "daemon-set-controller"}, ""},
		"a pod of a StatefulSet":                   {identityRequest{kind: "Pod", object: owned("apps/v1", "StatefulSet"), user: controllers + "statefulset-controller"}, ""},
		"a pod of a Job":                           {identityRequest{kind: "Pod", object: owned("batch/v1", "Job"), user: controllers + "job-controller"}, ""},
		"a pod of another's kind":                  {identityRequest{kind: "Pod", object: owned("batch/v1", "Job"), user: controllers + "replicaset-controller"}, pods},
		"a pod of a ReplicaSet, by somebody":       {identityRequest{kind: "Pod", object: owned("apps/v1", "ReplicaSet")}, pods},
		"a pod of a ReplicaSet, by a namesake":     {identityRequest{kind: "Pod", object: owned("apps/v1", "ReplicaSet"), user: "system:serviceaccount:prod:replicaset-controller"}, pods},
		"a pod of nobody's, by its controller":     {identityRequest{kind: "Pod", object: pod, user: controllers + "replicaset-controller"}, pods},
		"a pod of an owner that does not control":  {identityRequest{kind: "Pod", object: `{metadata: {name: p, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: o, uid: u}]}}`, user: controllers + "replicaset-controller"}, pods},
		"a volume scrubber":                        {identityRequest{kind: "Pod", object: pod, user: controllers + "persistent-volume-binder"}, pods},
		"a controller manager under one name":      {identityRequest{kind: "Pod", object: owned("apps/v1", "ReplicaSet"), user: "system:kube-controller-manager"}, pods},
		"status of a pod":                          {identityRequest{kind: "Pod", subresource: "status", old: pod, object: pod}, ""},
		"resizing a pod":                           {identityRequest{kind: "Pod", subresource: "resize", old: pod, object: `{metadata: {name: p}, spec: {containers: [{name: c, image: "i:2"}]}}`}, ""},
		"binding a pod":                            {identityRequest{kind: "Binding", resource: "pods", subresource: "binding", object: `{target: {name: n1}}`}, ""},
		"evicting a pod":                           {identityRequest{kind: "Eviction", resource: "pods", subresource: "eviction", object: `{metadata: {name: p}}`}, ""},
		"an ephemeral container":                   {identityRequest{kind: "Pod", subresource: "ephemeralcontainers", old: pod, object: pod}, pods},
		"exec":                                     {identityRequest{kind: "PodExecOptions", resource: "pods", subresource: "exec", operation: admission.Connect, object: exec}, pods},
		"attach":                                   {identityRequest{kind: "PodExecOptions", resource: "pods", subresource: "attach", operation: admission.Connect, object: exec}, pods},
		"portforward":                              {identityRequest{kind: "PodExecOptions", resource: "pods", subresource: "portforward", operation: admission.Connect, object: exec}, pods},
		"proxy":                                    {identityRequest{kind: "PodExecOptions", resource: "pods", subresource: "proxy", operation: admission.Connect, object: exec}, pods},
		"connecting to a subresource nobody knows": {identityRequest{kind: "PodExecOptions", resource: "pods", subresource: "teleport", operation: admission.Connect, object: exec}, pods},
		"creating a subresource nobody knows":      {identityRequest{kind: "Binding", resource: "pods", subresource: "clone", object: `{target: {name: n1}}`}, pods},
		"connecting to a service":                  {identityRequest{kind: "PodExecOptions", resource: "services", subresource: "proxy", operation: admission.Connect, object: exec}, ""},
		"a ReplicaSet of a Deployment":             {identityRequest{kind: "ReplicaSet", object: owned("apps/v1", "Deployment"), user: controllers + "deployment-controller"}, ""},
		"a Job of a CronJob":                       {identityRequest{kind: "Job", object: owned("batch/v1", "CronJob"), user: controllers + "cronjob-controller"}, ""},
		"a Job of a CronJob, by somebody":          {identityRequest{kind: "Job", object: owned("batch/v1", "CronJob")}, workloads},
		"a revision of a StatefulSet":              {identityRequest{kind: "ControllerRevision", object: owned("apps/v1", "StatefulSet"), user: controllers + "statefulset-controller"}, ""},
		"a revision of a DaemonSet":                {identityRequest{kind: "ControllerRevision", object: owned("apps/v1", "DaemonSet"), user: controllers + "daemon-set-controller"}, ""},
		"a revision by somebody":                   {identityRequest{kind: "ControllerRevision", object: `{metadata: {name: r}, data: {spec: {template: {}}}, revision: 1}`}, workloads},
		"the number of a revision":                 {identityRequest{kind: "ControllerRevision", old: `{metadata: {name: r}, data: {spec: {template: {}}}, revision: 1}`, object: `{metadata: {name: r}, data: {spec: {template: {}}}, revision: 2}`}, ""},
		"a template of pods":                       {identityRequest{kind: "PodTemplate", object: `{metadata: {name: w}, template: {spec: {containers: [{name: c}]}}}`}, workloads},
		"a changed template of pods":               {identityRequest{kind: "PodTemplate", old: `{metadata: {name: w}, template: {spec: {containers: [{name: c}]}}}`, object: `{metadata: {name: w}, template: {spec: {containers: [{name: d}]}}}`}, workloads},
		"a template of pods that is labelled":      {identityRequest{kind: "PodTemplate", old: `{metadata: {name: w}, template: {spec: {containers: [{name: c}]}}}`, object: `{metadata: {name: w, labels: {a: b}}, template: {spec: {containers: [{name: c}]}}}`}, ""},
		"a CronJob":                                {identityRequest{kind: "CronJob", object: `{metadata: {name: w}, spec: {jobTemplate: {spec: {}}}}`}, workloads},
		"a changed CronJob":                        {identityRequest{kind: "CronJob", old: `{metadata: {name: w}, spec: {jobTemplate: {spec: {}}}}`, object: `{metadata: {name: w}, spec: {jobTemplate: {spec: {template: {spec: {serviceAccountName: web}}}}}}`}, workloads},
		"a CronJob that is suspended":              {identityRequest{kind: "CronJob", old: `{metadata: {name: w}, spec: {jobTemplate: {spec: {}}}}`, object: `{metadata: {name: w}, spec: {suspend: true, jobTemplate: {spec: {}}}}`}, ""},
		"a custom kind that no value names":        {identityRequest{kind: "Rollout", object: template}, ""},
		"a token":                                  {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: `{metadata: {name: web}, spec: {audiences: []}}`}, credentials},
		"a token for a pod":                        {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: bound("Pod")}, credentials},
		"a kubelet's token for a pod":              {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: bound("Pod"), user: "system:node:n1", groups: nodes}, ""},
		"a kubelet's token for a Secret":           {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: bound("Secret"), user: "system:node:n1", groups: nodes}, credentials},
		"a kubelet's token for nothing":            {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: `{metadata: {name: web}, spec: {audiences: []}}`, user: "system:node:n1", groups: nodes}, credentials},
		"a token for a pod, by a node's name":      {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: bound("Pod"), user: "system:node:n1"}, credentials},
		"a token for a pod, by a node's group":     {identityRequest{kind: "TokenRequest", resource: "serviceaccounts", subresource: "token", object: bound("Pod"), groups: nodes}, credentials},
		"a certificate of a pod":                   {identityRequest{kind: "PodCertificateRequest", object: `{metadata: {name: c}, spec: {serviceAccountName: web}}`}, credentials},
		"a kubelet's certificate of a pod":         {identityRequest{kind: "PodCertificateRequest", object: `{metadata: {name: c}, spec: {serviceAccountName: web}}`, user: "system:node:n1", groups: nodes}, ""},
		"a Secret":                                 {identityRequest{kind: "Secret", object: `{metadata: {name: s}, type: Opaque}`}, ""},
		"a Secret without a type":                  {identityRequest{kind: "Secret", object: `{metadata: {name: s}}`}, ""},
		"a token Secret":                           {identityRequest{kind: "Secret", object: tokenOfWeb}, secrets},
		"a token Secret that is filled":            {identityRequest{kind: "Secret", old: tokenOfWeb, object: `{metadata: {name: s, annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u}}, type: kubernetes.io/service-account-token, data: {token: eA==}}`}, ""},
		"a token Secret turned to another account": {identityRequest{kind: "Secret", old: token, object: tokenOfWeb}, secrets},
		"a Secret that becomes a token Secret":     {identityRequest{kind: "Secret", old: `{metadata: {name: s, annotations: {kubernetes.io/service-account.name: web}}, type: Opaque}`, object: tokenOfWeb}, secrets},
		"a namespace":                              {identityRequest{kind: "Namespace", object: `{metadata: {name: n, labels: {kubernetes.io/metadata.name: n, env: prod}}}`}, ""},
		"a namespace without labels":               {identityRequest{kind: "Namespace", object: `{metadata: {name: n}}`}, ""},
		"a namespace with a reserved label":        {identityRequest{kind: "Namespace", object: `{metadata: {name: n, labels: {projectcalico.org/name: m}}}`}, namespaces},
		"a namespace that keeps a reserved label":  {identityRequest{kind: "Namespace", old: `{metadata: {name: n, labels: {pcns.a: b}}}`, object: `{metadata: {name: n, labels: {pcns.a: b}, annotations: {c: d}}}`}, ""},
		"a reserved label by a pod's status":       {identityRequest{kind: "Pod", subresource: "status", old: pod, object: `{metadata: {name: p, labels: {pcsa.role: x}}}`}, relabelling},
		"a label by a pod's status":                {identityRequest{kind: "Pod", subresource: "status", old: pod, object: `{metadata: {name: p, labels: {role: x}}}`}, ""},
		"a reserved label that status keeps":       {identityRequest{kind: "Pod", subresource: "status", old: `{metadata: {name: p, labels: {pcsa.role: x}}}`, object: `{metadata: {name: p, labels: {pcsa.role: x}}, status: {phase: Running}}`}, ""},
		"a binding of a pod":                       {identityRequest{kind: "Binding", resource: "pods", subresource: "binding", object: `{metadata: {name: p, labels: {topology.kubernetes.io/zone: z}}, target: {name: n}}`}, ""},
		"a reserved label by a pod's binding":      {identityRequest{kind: "Binding", resource: "pods", subresource: "binding", object: `{metadata: {name: p, labels: {pcsa.role: x}}, target: {name: n}}`}, relabelling},
		"a reserved label by a bare Binding":       {identityRequest{kind: "Binding", object: `{metadata: {name: p, labels: {pcsa.role: x}}, target: {name: n}}`}, relabelling},
		"a reserved label by namespace's status":   {identityRequest{kind: "Namespace", subresource: "status", old: `{metadata: {name: n}}`, object: `{metadata: {name: n, labels: {pcns.a: b}}}`}, relabelling},
		"a reserved label by namespace's finalize": {identityRequest{kind: "Namespace", subresource: "finalize", old: `{metadata: {name: n}}`, object: `{metadata: {name: n, labels: {pcns.a: b}}}`}, relabelling},
		"the end of a namespace, finalized":        {identityRequest{kind: "Namespace", subresource: "finalize", old: `{metadata: {name: n, labels: {pcns.a: b}}, spec: {finalizers: [kubernetes]}}`, object: `{metadata: {name: n, labels: {pcns.a: b}}}`}, ""},
		"a binding of default":                     {identityRequest{kind: "RoleBinding", object: toDefault}, bindings},
		"a cluster-wide binding of default":        {identityRequest{kind: "ClusterRoleBinding", object: toDefault}, bindings},
		"a binding of somebody else":               {identityRequest{kind: "RoleBinding", object: toBob}, ""},
		"a binding without subjects":               {identityRequest{kind: "RoleBinding", object: `{metadata: {name: b}, roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}`}, ""},
		"a binding of default that is labelled":    {identityRequest{kind: "RoleBinding", old: toDefault, object: `{metadata: {name: b, labels: {a: b}}, subjects: [{kind: ServiceAccount, name: default, namespace: prod}], roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}`}, ""},
		"a binding that comes to default":          {identityRequest{kind: "RoleBinding", old: toBob, object: toDefault}, bindings},
		"the API server's own bindings":            {identityRequest{kind: "ClusterRoleBinding", object: `{metadata: {name: system:discovery}, subjects: [{kind: Group, name: "system:authenticated"}], roleRef: {kind: ClusterRole, name: r, apiGroup: rbac.authorization.k8s.io}}`, user: "system:apiserver", groups: []string{"system:masters"}}, ""},
		"labels of an account, which are its own":  {identityRequest{kind: "ServiceAccount", object: `{metadata: {name: a}}`}, "serviceaccounts.validate.saguard.io"},
	}
	for group, subject := range map[string]string{
		"a default account by its user name": `{kind: User, name: "system:serviceaccount:prod:default"}`, "all accounts of a namespace": `{kind: Group, name: "system:serviceaccounts:prod"}`,
		"all accounts": `{kind: Group, name: "system:serviceaccounts"}`, "all users": `{kind: Group, name: "system:authenticated"}`,
		"nobody known": `{kind: Group, name: "system:unauthenticated"}`, "anonymous": `{kind: User, name: "system:anonymous"}`,
	} {
		cases["a binding of "+group] = testCase{identityRequest{
			kind: "RoleBinding", object: `{metadata: {name: b}, subjects: [` + subject + `], roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}`,
		}, bindings}
	}
	for _, kind := range []string{"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "Job"} {
		scale := scaled
		if kind == "DaemonSet" || kind == "Job" {
			scale = `{metadata: {name: w, labels: {a: b}}, spec: {template: {spec: {containers: [{name: c, image: "i:1"}]}}}}`
		}
		cases["creating a "+kind] = testCase{identityRequest{kind: kind, object: template}, workloads}
		cases["another image of a "+kind] = testCase{identityRequest{kind: kind, old: template, object: image2}, workloads}
		cases["scaling and labelling a "+kind] = testCase{identityRequest{kind: kind, old: template, object: scale}, ""}
		cases["status of a "+kind] = testCase{identityRequest{kind: kind, subresource: "status", old: template, object: image2}, ""}
		cases["deleting a "+kind] = testCase{identityRequest{kind: kind, old: template}, ""}
	}
	validating := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, ""))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			if got := sentTo(t, validating.Webhooks, tc.attributes(t)); !slices.Equal(got, want) {
				t.Errorf("sent to %q, want %q", got, want)
			}
		})
	}

	named := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t, everything))
	for name, tc := range map[string]testCase{
		"a custom kind":           {identityRequest{kind: "Rollout", object: template}, custom},
		"another":                 {identityRequest{kind: "JobSet", object: template}, custom},
		"a change of it":          {identityRequest{kind: "Rollout", old: template, object: template}, custom},
		"its status":              {identityRequest{kind: "Rollout", subresource: "status", old: template, object: template}, ""},
		"the end of a custom one": {identityRequest{kind: "Rollout", old: template}, ""},
	} {
		t.Run(name+", by a value", func(t *testing.T) {
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			if got := sentTo(t, named.Webhooks, tc.attributes(t)); !slices.Equal(got, want) {
				t.Errorf("sent to %q, want %q", got, want)
			}
		})
	}
}
