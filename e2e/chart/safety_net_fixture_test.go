package chart

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// net is the rendered safety net, compiled as the API server compiles it.
type net struct {
	policies   map[string]*admissionregistrationv1.ValidatingAdmissionPolicy
	bindings   map[string]*admissionregistrationv1.ValidatingAdmissionPolicyBinding
	validators map[string]compiledPolicy
}

type compiledPolicy struct {
	// whole decides as in the API server; conditions alone tell an error from a condition that is not met.
	whole      validating.Validator
	conditions cel.ConditionEvaluator
}

// netOf renders and compiles the safety net with a version's expressions: those that may be written, or that may be stored.
func netOf(t testing.TB, values string, of *version.Version, mode environment.Type) *net {
	t.Helper()
	n, base := renderNet(t, values), environment.MustBaseEnvSet(of)
	for name, p := range n.policies {
		n.validators[name] = compilePolicy(t, p, base, mode)
	}
	return n
}

// renderNet leaves out the compiling.
func renderNet(t testing.TB, values string) *net {
	t.Helper()
	n := &net{
		policies:   map[string]*admissionregistrationv1.ValidatingAdmissionPolicy{},
		bindings:   map[string]*admissionregistrationv1.ValidatingAdmissionPolicyBinding{},
		validators: map[string]compiledPolicy{},
	}
	for _, o := range typed(t, render(t, values)) {
		switch o := o.(type) {
		case *admissionregistrationv1.ValidatingAdmissionPolicy:
			if strings.HasSuffix(o.Name, ".safety-net.saguard.io") {
				n.policies[o.Name] = o
			}
		case *admissionregistrationv1.ValidatingAdmissionPolicyBinding:
			if strings.HasSuffix(o.Name, ".safety-net.saguard.io") {
				n.bindings[o.Name] = o
			}
		}
	}
	if len(n.policies) == 0 {
		t.Fatal("no safety net")
	}
	return n
}

// compilePolicy does what the API server's plugin does when a policy is read (k8s.io/apiserver
// pkg/admission/plugin/policy/validating/plugin.go), and fails on every expression that does not compile.
func compilePolicy(t testing.TB, p *admissionregistrationv1.ValidatingAdmissionPolicy, base *environment.EnvSet, mode environment.Type) compiledPolicy {
	t.Helper()
	with := cel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	without := cel.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil}
	var conditions, validations, messages, annotations []cel.ExpressionAccessor
	for i := range p.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i]))
	}
	for _, v := range p.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason})
		var message cel.ExpressionAccessor
		if v.MessageExpression != "" {
			message = &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}
		}
		messages = append(messages, message)
	}
	for _, a := range p.Spec.AuditAnnotations {
		annotations = append(annotations, &validating.AuditAnnotationCondition{Key: a.Key, ValueExpression: a.ValueExpression})
	}
	compiler, err := cel.NewCompositedCompiler(base)
	if err != nil {
		t.Fatal(err)
	}
	compile := func(list []cel.ExpressionAccessor, o cel.OptionalVariableDeclarations) cel.ConditionEvaluator {
		compiled := compiler.CompileCondition(list, o, mode)
		for _, err := range compiled.CompilationErrors() {
			t.Errorf("%s: %v", p.Name, err)
		}
		return compiled
	}
	matching := compile(conditions, with) // before the variables, of which match conditions know none
	for _, v := range p.Spec.Variables {
		if result := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, with, mode); result.Error != nil {
			t.Errorf("%s: variable %s: %v", p.Name, v.Name, result.Error)
		}
	}
	return compiledPolicy{
		conditions: matching,
		whole: validating.NewValidator(compile(validations, with), matchconditions.NewMatcher(matching, p.Spec.FailurePolicy, "policy", "validate", p.Name),
			compile(annotations, with), compile(messages, without), p.Spec.FailurePolicy, nil),
	}
}

// netRequest is a request that admission is asked about; objects are in YAML.
type netRequest struct {
	// resource is a key of netKinds, with "/subresource" where there is one.
	resource, object, old string
	namespace, name       string // by default prod, and the object's
	user                  string // by default alice
	groups                []string
	connect               bool
	// namespaceLabels and terminating are of the namespace.
	namespaceLabels map[string]string
	terminating     bool
	// guards are specs of ServiceAccountGuards.
	guards []string
	// grants are "verb resource[/subresource] name", of every namespace.
	grants []string
	// budget of an evaluation; by default the API server's.
	budget int64
}

// netKinds are those that the net has rules for.
var netKinds = map[string]schema.GroupVersionKind{
	"serviceaccounts":                 {Version: "v1", Kind: "ServiceAccount"},
	"pods":                            {Version: "v1", Kind: "Pod"},
	"podtemplates":                    {Version: "v1", Kind: "PodTemplate"},
	"replicationcontrollers":          {Version: "v1", Kind: "ReplicationController"},
	"secrets":                         {Version: "v1", Kind: "Secret"},
	"services":                        {Version: "v1", Kind: "Service"},
	"namespaces":                      {Version: "v1", Kind: "Namespace"},
	"deployments":                     {Group: "apps", Version: "v1", Kind: "Deployment"},
	"daemonsets":                      {Group: "apps", Version: "v1", Kind: "DaemonSet"},
	"replicasets":                     {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	"statefulsets":                    {Group: "apps", Version: "v1", Kind: "StatefulSet"},
	"jobs":                            {Group: "batch", Version: "v1", Kind: "Job"},
	"cronjobs":                        {Group: "batch", Version: "v1", Kind: "CronJob"},
	"clusterroles":                    {Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
	"clusterrolebindings":             {Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
	"validatingwebhookconfigurations": {Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"},
	"mutatingwebhookconfigurations":   {Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
	"customresourcedefinitions":       {Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
	"serviceaccountguards":            {Group: "saguard.io", Version: "v1alpha1", Kind: "ServiceAccountGuard"},
	"policybands":                     {Group: "saguard.io", Version: "v1alpha1", Kind: "PolicyBand"},
}

// answer is what the net says to a request.
type answer struct {
	denied, warned, audited []string
	annotations             map[string]string
	// most is the highest number of permissions that one evaluation of one policy asked for.
	most int
}

// judge runs every policy whose rules cover the request, and fails on any error: under failurePolicy Ignore it would let the
// request pass.
func (n *net) judge(t testing.TB, r netRequest) answer {
	t.Helper()
	attributes, namespace := r.attributes(t)
	a := answer{annotations: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(n.policies)) {
		policy := n.policies[name]
		if !covers(rulesOf(policy), attributes) || !selects(t, policy.Spec.MatchConstraints.NamespaceSelector, attributes, namespace) {
			continue
		}
		params := []runtime.Object{nil}
		if policy.Spec.ParamKind != nil {
			params = nil
			for _, spec := range r.guards {
				params = append(params, netObject(t, netKinds["serviceaccountguards"], "{metadata: {name: g}, spec: "+spec+"}"))
			}
		}
		for _, p := range params {
			n.evaluate(t, &a, name, r, attributes, namespace, p)
		}
	}
	return a
}

func (n *net) evaluate(t testing.TB, a *answer, name string, r netRequest, attributes *admission.VersionedAttributes, namespace *corev1.Namespace, param runtime.Object) {
	t.Helper()
	authz := &countingAuthorizer{grants: r.grants}
	inputs := cel.OptionalVariableBindings{VersionedParams: param, Authorizer: authz}
	resource := metav1.GroupVersionResource(attributes.GetResource())
	conditions, _, err := n.validators[name].conditions.ForInput(t.Context(), attributes,
		cel.CreateAdmissionRequest(attributes.Attributes, resource, metav1.GroupVersionKind(attributes.VersionedKind)), inputs, nil, celconfig.RuntimeCELCostBudgetMatchConditions)
	if err != nil {
		t.Fatalf("%s: match conditions: %v", name, err)
	}
	for _, c := range conditions {
		if c.Error != nil {
			t.Fatalf("%s: match conditions: %v", name, c.Error)
		}
	}
	authz.asked = 0
	budget := r.budget
	if budget == 0 {
		budget = celconfig.RuntimeCELCostBudget
	}
	result := n.validators[name].whole.Validate(t.Context(), attributes.GetResource(), attributes, param, namespace, budget, authz)
	a.most = max(a.most, authz.asked)
	for _, d := range result.Decisions {
		if d.Evaluation == validating.EvalError {
			t.Fatalf("%s: %s", name, d.Message)
		}
		if d.Action != validating.ActionDeny {
			continue
		}
		if d.Reason != metav1.StatusReasonForbidden {
			t.Errorf("%s: reason %q", name, d.Reason)
		}
		text := strings.TrimSuffix(name, ".safety-net.saguard.io") + ": " + d.Message
		switch action := n.bindings[name].Spec.ValidationActions[0]; action {
		case admissionregistrationv1.Deny:
			a.denied = append(a.denied, text)
		case admissionregistrationv1.Warn:
			a.warned = append(a.warned, text)
		case admissionregistrationv1.Audit:
			a.audited = append(a.audited, text)
		default:
			t.Fatalf("%s: action %s", name, action)
		}
	}
	for _, annotation := range result.AuditAnnotations {
		switch annotation.Action {
		case validating.AuditAnnotationActionPublish:
			a.annotations[strings.TrimSuffix(name, ".safety-net.saguard.io")+"/"+annotation.Key] = annotation.Value
		case validating.AuditAnnotationActionExclude: // nothing to say
		case validating.AuditAnnotationActionError:
			t.Fatalf("%s: %s", name, annotation.Error)
		}
	}
}

func (r *netRequest) attributes(t testing.TB) (*admission.VersionedAttributes, *corev1.Namespace) {
	t.Helper()
	resource, subresource, _ := strings.Cut(r.resource, "/")
	gvk, ok := netKinds[resource]
	if !ok {
		t.Fatalf("unknown resource %q", resource)
	}
	read := func(text string) runtime.Object {
		if text == "" {
			return nil
		}
		return netObject(t, gvk, text)
	}
	object, old := read(r.object), read(r.old)
	name, operation := r.name, admission.Update
	switch {
	case r.connect:
		operation = admission.Connect
	case object == nil:
		operation = admission.Delete
	case old == nil:
		operation = admission.Create
	}
	for _, o := range []runtime.Object{object, old} {
		if u, ok := o.(metav1.Object); ok && name == "" {
			name = u.GetName()
		}
	}
	var namespace *corev1.Namespace
	where := or(r.namespace, "prod")
	switch gvk.Group {
	case "saguard.io", "apiextensions.k8s.io", "admissionregistration.k8s.io":
		where = ""
	}
	switch resource {
	case "clusterroles", "clusterrolebindings":
		where = ""
	case "namespaces":
		where = name
	}
	if where != "" {
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: where, Labels: map[string]string{"kubernetes.io/metadata.name": where}}}
		maps.Copy(namespace.Labels, r.namespaceLabels)
		if r.terminating {
			now := metav1.Now()
			namespace.DeletionTimestamp = &now
		}
	}
	return &admission.VersionedAttributes{
		VersionedKind: gvk, VersionedObject: admission.NewLazyObject(object), VersionedOldObject: admission.NewLazyObject(old),
		Attributes: admission.NewAttributesRecord(object, old, gvk, where, name, gvk.GroupVersion().WithResource(resource), subresource, operation, nil, false,
			&user.DefaultInfo{Name: or(r.user, "alice"), Groups: r.groups}),
	}, namespace
}

func rulesOf(p *admissionregistrationv1.ValidatingAdmissionPolicy) []admissionregistrationv1.RuleWithOperations {
	var out []admissionregistrationv1.RuleWithOperations
	for _, r := range p.Spec.MatchConstraints.ResourceRules {
		out = append(out, r.RuleWithOperations)
	}
	return out
}

func selects(t testing.TB, s *metav1.LabelSelector, attributes *admission.VersionedAttributes, namespace *corev1.Namespace) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return namespace == nil || selector.Matches(labels.Set(namespace.Labels))
}

// countingAuthorizer allows what is listed. It is not the API server's caching one: each question counts.
type countingAuthorizer struct {
	grants []string
	asked  int
}

func (c *countingAuthorizer) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	c.asked++
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	if a.GetAPIGroup() != "" {
		resource += "." + a.GetAPIGroup()
	}
	if slices.Contains(c.grants, "error") {
		return authorizer.DecisionNoOpinion, "", errors.New("nobody can say")
	}
	if slices.Contains(c.grants, strings.TrimSpace(a.GetVerb()+" "+resource+" "+a.GetName())) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// netObject gives what the API server gives: the Go type of a built-in kind, else an unstructured object.
func netObject(t testing.TB, gvk schema.GroupVersionKind, text string) runtime.Object {
	t.Helper()
	object, err := kubernetes.Scheme.New(gvk)
	if err != nil {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		u.SetGroupVersionKind(gvk)
		return u
	}
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return object
}
