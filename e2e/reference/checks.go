package reference

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// example is a request that a check refuses to somebody who holds nothing.
type example struct {
	check     string
	operation admissionv1.Operation
	resource  schema.GroupVersionResource
	// subresource and name are of requests that are no writes of objects.
	subresource, name string
	object            string
}

func examples() []example {
	core := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: resource}
	}
	calico := schema.GroupVersionResource{Group: "projectcalico.org", Version: "v3", Resource: "networkpolicies"}
	const policy = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: default.db, namespace: prod}\nspec:\n"
	return []example{
		{check: webhook.CheckLabelUse, operation: admissionv1.Create, resource: core("serviceaccounts"),
			object: "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: prod, labels: {role: trusted}}\n"},
		{check: webhook.CheckAccountUse, operation: admissionv1.Create, resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
			object: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: prod}\nspec:\n  template:\n    spec:\n      serviceAccountName: payments\n      containers: [{name: web, image: web}]\n"},
		{check: webhook.CheckAccountConnect, operation: admissionv1.Connect, resource: core("pods"), subresource: "exec", name: "payments-0"},
		{check: webhook.CheckAccountToken, operation: admissionv1.Create, resource: core("serviceaccounts"), subresource: "token", name: "payments",
			object: "apiVersion: authentication.k8s.io/v1\nkind: TokenRequest\nspec: {audiences: [vault]}\n"},
		{check: webhook.CheckPolicyReference, operation: admissionv1.Create, resource: calico,
			object: policy + "  order: 500\n  ingress:\n  - action: Allow\n    source:\n      serviceAccounts: {selector: role == 'trusted'}\n"},
		{check: webhook.CheckPolicyPrecedence, operation: admissionv1.Create, resource: calico, object: policy + "  order: 10\n  selector: app == 'db'\n"},
		{check: webhook.CheckPolicyHygiene, operation: admissionv1.Create, resource: calico,
			object: policy + "  order: 500\n  ingress:\n  - action: Allow\n    source:\n      serviceAccounts: {selector: role = 'trusted'}\n"},
		{check: webhook.CheckReservedLabel, operation: admissionv1.Create, resource: core("pods"),
			object: "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: prod, labels: {pcsa.role: trusted}}\nspec:\n  containers: [{name: web, image: web}]\n"},
		{check: webhook.CheckDefaultBinding, operation: admissionv1.Create, resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
			object: "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: view, namespace: prod}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [{kind: ServiceAccount, name: default, namespace: prod}]\n"},
		{check: webhook.CheckGuardChange, operation: admissionv1.Create, resource: schema.GroupVersionResource{Group: v1alpha1.GroupName, Version: "v1alpha1", Resource: "policybands"},
			object: "apiVersion: saguard.io/v1alpha1\nkind: PolicyBand\nmetadata: {name: team}\nspec:\n  tiers: [default]\n  order: {min: 50, max: 200}\n"},
	}
}

// modes are the fields of a guard that hold a mode.
func modes(s *v1alpha1.ServiceAccountGuardSpec) map[string]*v1alpha1.Mode {
	return map[string]*v1alpha1.Mode{
		"spec.labels.mode": &s.Labels.Mode, "spec.workloads.mode": &s.Workloads.Mode, "spec.workloads.connect": &s.Workloads.Connect,
		"spec.workloads.tokens": &s.Workloads.Tokens, "spec.policies.references": &s.Policies.References,
		"spec.policies.precedence": &s.Policies.Precedence, "spec.policies.hygiene": &s.Policies.Hygiene, "spec.defaultAccount.bindings": &s.DefaultAccount.Bindings,
	}
}

// checks describes every check by its own comment, and by what it answers to an example.
func checks(ctx context.Context, root string) (string, error) {
	src, err := parseSource(root, "webhook")
	if err != nil {
		return "", err
	}
	about, err := commentsOfChecks(src)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(`Each check has a stable ID, which is also its key in [records](records.md) and its label in [metrics](metrics.md). A field of a
[ServiceAccountGuard](crds.md#serviceaccountguard) says how hard it is: ` + "`Enforce`" + ` refuses, ` + "`Warn`" + ` warns, ` + "`Audit`" + ` leaves a trace, ` + "`Off`" + ` does not look. In the
examples alice holds none of saguard's permissions, and the answers are the webhook's own.

| check | mode |
|---|---|
`)
	type section struct{ id, text string }
	var sections []section
	given := examples()
	for _, c := range webhook.Checks() {
		i := slices.IndexFunc(given, func(e example) bool { return e.check == c.ID })
		if i < 0 {
			return "", fmt.Errorf("check %s has no example", c.ID)
		}
		mode, text, err := play(ctx, given[i])
		if err != nil {
			return "", fmt.Errorf("example of %s: %w", c.ID, err)
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.ID, c.ID, mode)
		sections = append(sections, section{c.ID, fmt.Sprintf("\n## %s\n\n%s\n\n%s", c.ID, about[c.ID], text)})
	}
	if len(sections) != len(given) {
		return "", fmt.Errorf("%d checks, %d examples", len(sections), len(given))
	}
	for _, s := range sections {
		b.WriteString(s.text)
	}
	return b.String(), nil
}

// commentsOfChecks returns the comments of the constants CheckXXX by the ID that each says it is.
func commentsOfChecks(src *source) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range src.constsOf("Check") {
		text := src.constComment(name)
		id, rest, ok := strings.Cut(strings.TrimPrefix(text, name+" is the ID of check "), ": ")
		if !ok || rest == "" || strings.HasPrefix(text, id) {
			return nil, fmt.Errorf("the comment of %s is %q, want \"%s is the ID of check ID: ...\"", name, text, name)
		}
		out[id] = strings.ToUpper(rest[:1]) + rest[1:]
	}
	return out, nil
}

// play returns the field with the mode that decides the example, and the example with its answer.
func play(ctx context.Context, e example) (mode, text string, err error) {
	all, err := violations(ctx, e, "")
	if err != nil {
		return "", "", err
	}
	if len(all) == 0 {
		return "", "", fmt.Errorf("nothing is refused")
	}
	var fields []string
	for field := range modes(fullGuard()) {
		without, err := violations(ctx, e, field)
		if err != nil {
			return "", "", err
		}
		if len(without) == 0 {
			fields = append(fields, "`"+field+"`")
		}
	}
	switch len(fields) {
	case 0:
		mode = "always Enforce"
	case 1:
		mode = fields[0]
	default:
		return "", "", fmt.Errorf("modes %v all decide it", fields)
	}
	var b strings.Builder
	if e.subresource != "" && e.object == "" {
		fmt.Fprintf(&b, "Example: %s of `%s/%s` of pod `prod/%s`, which runs as account `payments`.\n\n", e.operation, e.resource.Resource, e.subresource, e.name)
	} else if e.subresource != "" {
		fmt.Fprintf(&b, "Example: %s of `%s/%s` of account `prod/%s`:\n\n```yaml\n%s```\n\n", e.operation, e.resource.Resource, e.subresource, e.name, e.object)
	} else {
		fmt.Fprintf(&b, "Example: %s of\n\n```yaml\n%s```\n\n", e.operation, e.object)
	}
	fmt.Fprint(&b, "Answer:\n\n```\n")
	for _, v := range all {
		if v.Mode == v1alpha1.ModeWarn {
			fmt.Fprint(&b, "Warning: ")
		}
		fmt.Fprintln(&b, v.Message)
	}
	fmt.Fprint(&b, "```\n")
	return mode, b.String(), nil
}

// violations are what the example's check finds, with the mode of one field Off.
func violations(ctx context.Context, e example, off string) ([]webhook.Violation, error) {
	spec := fullGuard()
	if off != "" {
		*modes(spec)[off] = v1alpha1.ModeOff
	}
	authorizer, err := rbac.NewAuthorizer(rbac.Options{Index: func() *rbac.Index { return &rbac.Index{} }})
	if err != nil {
		return nil, fmt.Errorf("make authorizer: %w", err)
	}
	judge, err := webhook.NewOffline(&world{spec: spec}, authorizer)
	if err != nil {
		return nil, err
	}
	r := &webhook.Request{
		UID: "example", Operation: e.operation, Resource: e.resource, Subresource: e.subresource, Name: e.name, Namespace: "prod",
		Subject: identity.Subject{User: "alice", Groups: []string{"developers", "system:authenticated"}},
	}
	if e.resource.Resource == "policybands" {
		r.Namespace = ""
	}
	if e.object != "" {
		if r.Object, err = yaml.YAMLToJSON([]byte(e.object)); err != nil {
			return nil, fmt.Errorf("decode example: %w", err)
		}
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := json.Unmarshal(r.Object, &head); err != nil {
			return nil, fmt.Errorf("decode example: %w", err)
		}
		r.Kind = head.Kind
		if r.Name == "" {
			r.Name = head.Metadata.Name
		}
	}
	d := judge.Review(ctx, r)
	if d.Err != nil {
		return nil, d.Err
	}
	found := slices.DeleteFunc(d.Violations(), func(v webhook.Violation) bool { return v.Check != e.check })
	return found, nil
}

// fullGuard guards everything.
func fullGuard() *v1alpha1.ServiceAccountGuardSpec {
	s := &v1alpha1.ServiceAccountGuardSpec{
		Labels: &v1alpha1.LabelGuard{Keys: []v1alpha1.LabelKeyPattern{"role"}}, Workloads: &v1alpha1.WorkloadGuard{},
		Policies: &v1alpha1.PolicyGuard{}, DefaultAccount: &v1alpha1.DefaultAccountGuard{},
	}
	for _, m := range modes(s) {
		*m = v1alpha1.ModeEnforce
	}
	return s
}

// world is a cluster with one guard, two bands and one pod.
type world struct {
	spec *v1alpha1.ServiceAccountGuardSpec
}

// WhyNotCurrent implements webhook.World, as do all the others.
func (w *world) WhyNotCurrent() string { return "" }

// WhyPoliciesUnread says that there are none to read.
func (w *world) WhyPoliciesUnread() string { return "" }

// Guards are the one guard.
func (w *world) Guards() *guard.Set {
	set, _ := guard.Compile([]v1alpha1.ServiceAccountGuard{{Spec: *w.spec}})
	return set
}

// Bands are one of security, and one of everybody.
func (w *world) Bands() []v1alpha1.PolicyBand {
	hundred, thousand := 100.0, 1000.0
	security := v1alpha1.PolicyBand{Spec: v1alpha1.PolicyBandSpec{Tiers: []string{"default"}, Order: v1alpha1.OrderRange{Max: &hundred}}}
	security.Name = "security"
	developer := v1alpha1.PolicyBand{Spec: v1alpha1.PolicyBandSpec{Tiers: []string{"default"}, Order: v1alpha1.OrderRange{Min: &hundred, Max: &thousand}, Default: true}}
	developer.Name = "developer"
	return []v1alpha1.PolicyBand{security, developer}
}

// Namespace is prod.
func (w *world) Namespace(context.Context, string, bool) decision.Fact[guard.Namespace] {
	return decision.Known(guard.Namespace{})
}

// PodAccount is that of the one pod.
func (w *world) PodAccount(context.Context, string, string) decision.Fact[identity.Pod] {
	return decision.Known(identity.Pod{Account: "payments", Node: "node-1"})
}

// Others are not known, so nothing is said of them.
func (w *world) Others(string) decision.Fact[shadow.Others] {
	return decision.Unknown[shadow.Others]("not read")
}

// AnyAccount is not known, so nothing is said of it.
func (w *world) AnyAccount(string, reference.Grant) decision.Fact[bool] {
	return decision.Unknown[bool]("not read")
}

// Revision implements webhook.World.
func (w *world) Revision() uint64 { return 0 }
