package chart

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/cel/environment"
)

// What saguard consists of is changed by those who may, by the controllers that keep it running, and by nobody else.
func TestSafetyNetProtectsItsOwn(t *testing.T) {
	const (
		any   = "escalate serviceaccountguards.saguard.io"
		own   = `{metadata: {name: saguard, namespace: saguard-system}}`
		other = `{metadata: {name: theirs, namespace: saguard-system}}`
	)
	ours := `{metadata: {name: x}, spec: {template: ` + podTemplate("serviceAccountName: saguard, ") + `}}`
	theirs := `{metadata: {name: x}, spec: {template: ` + podTemplate("serviceAccountName: saguard-agent-not, ") + `}}`
	pod := `{metadata: {name: saguard-x}, spec: {serviceAccountName: saguard, containers: [{name: c, image: i}]}}`
	agentPod := strings.ReplaceAll(pod, "saguard", "saguard-agent")
	owners := func(o string) string {
		return strings.Replace(o, "metadata: {", "metadata: {ownerReferences: [{apiVersion: v1, kind: X, name: gone, uid: u}], ", 1)
	}
	token := func(account string) string {
		return `{metadata: {name: s, annotations: {kubernetes.io/service-account.name: ` + account + `}}, type: kubernetes.io/service-account-token}`
	}
	hook := func(name, failurePolicy, ca string) string {
		return `{metadata: {name: ` + name + `.saguard.io}, webhooks: [{name: a.saguard.io, failurePolicy: ` + failurePolicy + `, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: "https://x", caBundle: ` + ca + `}}]}`
	}
	node := []string{"system:nodes"}
	in := func(r netRequest) netRequest { r.namespace = "saguard-system"; return r }
	cases := map[string]struct {
		request netRequest
		want    string // permission that it takes; "" = none
	}{
		"a new guard":                             {netRequest{resource: "serviceaccountguards", object: `{metadata: {name: g}, spec: {}}`}, "escalate serviceaccountguards.saguard.io g"},
		"a guard's spec":                          {netRequest{resource: "serviceaccountguards", object: `{metadata: {name: g}, spec: {labels: {mode: Warn}}}`, old: `{metadata: {name: g}, spec: {}}`}, "escalate serviceaccountguards.saguard.io g"},
		"a guard's owner":                         {netRequest{resource: "serviceaccountguards", object: owners(`{metadata: {name: g}, spec: {}}`), old: `{metadata: {name: g}, spec: {}}`}, "escalate serviceaccountguards.saguard.io g"},
		"a guard's annotation":                    {netRequest{resource: "serviceaccountguards", object: `{metadata: {name: g, annotations: {a: b}}, spec: {}}`, old: `{metadata: {name: g}, spec: {}}`}, ""},
		"a guard's status, in its main resource":  {netRequest{resource: "serviceaccountguards", object: `{metadata: {name: g}, spec: {}, status: {guardedKeys: [a]}}`, old: `{metadata: {name: g}, spec: {}}`}, ""},
		"a guard's status":                        {netRequest{resource: "serviceaccountguards/status", object: `{metadata: {name: g}, spec: {x: y}}`, old: `{metadata: {name: g}, spec: {}}`}, ""},
		"a guard's end":                           {netRequest{resource: "serviceaccountguards", old: `{metadata: {name: g}, spec: {}}`}, "escalate serviceaccountguards.saguard.io g"},
		"a guard's end, by the garbage collector": {netRequest{resource: "serviceaccountguards", old: `{metadata: {name: g}, spec: {}}`, user: controllers + "generic-garbage-collector"}, ""},
		"a band":                                 {netRequest{resource: "policybands", old: `{metadata: {name: b}, spec: {}}`}, "escalate policybands.saguard.io b"},
		"the CRD":                                {netRequest{resource: "customresourcedefinitions", old: `{metadata: {name: serviceaccountguards.saguard.io}, spec: {}}`}, any},
		"the CRD's schema":                       {netRequest{resource: "customresourcedefinitions", object: `{metadata: {name: serviceaccountguards.saguard.io}, spec: {group: x}}`, old: `{metadata: {name: serviceaccountguards.saguard.io}, spec: {}}`}, any},
		"the CRD's status":                       {netRequest{resource: "customresourcedefinitions/status", object: `{metadata: {name: serviceaccountguards.saguard.io}, spec: {group: x}}`, old: `{metadata: {name: serviceaccountguards.saguard.io}, spec: {}}`}, ""},
		"another CRD":                            {netRequest{resource: "customresourcedefinitions", old: `{metadata: {name: widgets.saguard.io}, spec: {}}`}, ""},
		"the namespace's end":                    {netRequest{resource: "namespaces", old: `{metadata: {name: saguard-system}}`}, any},
		"the namespace's labels":                 {netRequest{resource: "namespaces", object: `{metadata: {name: saguard-system, labels: {a: b}}}`, old: `{metadata: {name: saguard-system}}`}, ""},
		"another namespace's end":                {netRequest{resource: "namespaces", old: `{metadata: {name: prod}}`}, ""},
		"its webhooks' end":                      {netRequest{resource: "validatingwebhookconfigurations", old: `{metadata: {name: validate.saguard.io}}`}, any},
		"its webhooks' rules":                    {netRequest{resource: "mutatingwebhookconfigurations", object: hook("mutate", "Ignore", "QQ=="), old: hook("mutate", "Fail", "QQ==")}, any},
		"its webhooks' authority":                {netRequest{resource: "validatingwebhookconfigurations", object: hook("validate", "Fail", "Qg=="), old: hook("validate", "Fail", "QQ==")}, any},
		"its webhooks' authority, by itself":     {netRequest{resource: "validatingwebhookconfigurations", object: hook("validate", "Fail", "Qg=="), old: hook("validate", "Fail", "QQ=="), user: "system:serviceaccount:saguard-system:saguard"}, ""},
		"its webhooks' end, by its own hook":     {netRequest{resource: "validatingwebhookconfigurations", old: hook("validate", "Fail", "QQ=="), user: "system:serviceaccount:saguard-system:saguard-unregister"}, ""},
		"another's webhooks":                     {netRequest{resource: "validatingwebhookconfigurations", old: hook("theirs", "Fail", "QQ==")}, ""},
		"a token of its own hook":                {in(netRequest{resource: "serviceaccounts/token", name: "saguard-unregister", object: `{}`}), any},
		"its permissions":                        {netRequest{resource: "clusterroles", object: `{metadata: {name: saguard}, rules: [{verbs: [get]}]}`, old: `{metadata: {name: saguard}}`}, any},
		"its binding's subjects":                 {netRequest{resource: "clusterrolebindings", object: `{metadata: {name: saguard}, subjects: []}`, old: `{metadata: {name: saguard}, subjects: [{kind: User, name: x}]}`}, any},
		"its role without any change":            {netRequest{resource: "clusterroles", object: `{metadata: {name: saguard, resourceVersion: "2"}}`, old: `{metadata: {name: saguard, resourceVersion: "1"}}`}, ""},
		"another's permissions":                  {netRequest{resource: "clusterroles", old: `{metadata: {name: saguard-not}}`}, ""},
		"its certificate":                        {in(netRequest{resource: "secrets", object: `{metadata: {name: saguard-self-rotating}, data: {a: Yg==}}`, old: `{metadata: {name: saguard-self-rotating}}`}), any},
		"its certificate, by itself":             {in(netRequest{resource: "secrets", object: `{metadata: {name: saguard-self-rotating}, data: {a: Yg==}}`, old: `{metadata: {name: saguard-self-rotating}}`, user: "system:serviceaccount:saguard-system:saguard"}), ""},
		"its certificate, by a namesake":         {in(netRequest{resource: "secrets", object: `{metadata: {name: saguard-self-rotating}, data: {a: Yg==}}`, old: `{metadata: {name: saguard-self-rotating}}`, user: "system:serviceaccount:prod:saguard"}), any},
		"a Secret of that name elsewhere":        {netRequest{resource: "secrets", old: `{metadata: {name: saguard-self-rotating}}`}, ""},
		"another Secret beside it":               {in(netRequest{resource: "secrets", old: `{metadata: {name: sh.helm.release.v1.saguard.v1}}`}), ""},
		"its account":                            {in(netRequest{resource: "serviceaccounts", old: own}), any},
		"another account beside it":              {in(netRequest{resource: "serviceaccounts", old: other}), ""},
		"its account, when its namespace goes":   {in(netRequest{resource: "serviceaccounts", old: own, user: controllers + "namespace-controller", terminating: true}), ""},
		"its service":                            {in(netRequest{resource: "services", object: `{metadata: {name: saguard}, spec: {selector: {a: b}}}`, old: `{metadata: {name: saguard}, spec: {}}`}), any},
		"its replicas":                           {in(netRequest{resource: "deployments", object: `{metadata: {name: saguard}, spec: {replicas: 0}}`, old: `{metadata: {name: saguard}, spec: {replicas: 2}}`}), any},
		"its deployment's revision":              {in(netRequest{resource: "deployments", object: `{metadata: {name: saguard, annotations: {r: "2"}}, status: {replicas: 2}}`, old: `{metadata: {name: saguard}}`}), ""},
		"its deployment's end":                   {in(netRequest{resource: "deployments", old: own}), any},
		"its agents":                             {in(netRequest{resource: "daemonsets", old: `{metadata: {name: saguard-agent}}`}), any},
		"a workload as its account":              {in(netRequest{resource: "jobs", object: ours}), any},
		"a workload as another account":          {in(netRequest{resource: "jobs", object: theirs}), ""},
		"a workload of that account elsewhere":   {netRequest{resource: "jobs", object: ours}, ""},
		"a pod as its account":                   {in(netRequest{resource: "pods", object: pod}), any},
		"a pod as the agent's account":           {in(netRequest{resource: "pods", object: agentPod}), any},
		"a pod by its replica set":               {in(netRequest{resource: "pods", object: pod, user: controllers + "replicaset-controller"}), ""},
		"a pod by its daemon set":                {in(netRequest{resource: "pods", object: agentPod, user: controllers + "daemon-set-controller"}), ""},
		"a pod's end":                            {in(netRequest{resource: "pods", old: pod}), any},
		"a pod's end on its node":                {in(netRequest{resource: "pods", old: pod, user: "system:node:n", groups: node}), ""},
		"a pod's end by one who calls itself so": {in(netRequest{resource: "pods", old: pod, user: "system:node:n"}), any},
		"a pod that makes room":                  {in(netRequest{resource: "pods", old: pod, user: "system:kube-scheduler"}), ""},
		"a pod of a node that is gone":           {in(netRequest{resource: "pods", old: pod, user: controllers + "pod-garbage-collector"}), ""},
		"a pod's eviction":                       {in(netRequest{resource: "pods/eviction", object: pod}), ""},
		"a pod's labels":                         {in(netRequest{resource: "pods", object: strings.Replace(pod, "saguard-x", "saguard-x, labels: {a: b}", 1), old: pod}), any},
		"a pod's finalizers":                     {in(netRequest{resource: "pods", object: strings.Replace(pod, "saguard-x", "saguard-x, finalizers: [a/b]", 1), old: pod}), ""},
		"a debugger":                             {in(netRequest{resource: "pods/ephemeralcontainers", object: strings.Replace(pod, "containers: [", "ephemeralContainers: [{name: d, image: e}], containers: [", 1), old: pod}), any},
		"a pod's exec":                           {in(netRequest{resource: "pods/exec", connect: true, name: "saguard-5d5f-x"}), any},
		"another pod's exec":                     {in(netRequest{resource: "pods/exec", connect: true, name: "theirs"}), ""},
		"a token":                                {in(netRequest{resource: "serviceaccounts/token", name: "saguard", object: `{}`}), any},
		"a token for a node's pod":               {in(netRequest{resource: "serviceaccounts/token", name: "saguard", object: `{}`, user: "system:node:n", groups: node}), ""},
		"another account's token":                {in(netRequest{resource: "serviceaccounts/token", name: "theirs", object: `{}`}), ""},
		"a Secret for a token":                   {in(netRequest{resource: "secrets", object: token("saguard")}), any},
		"a Secret for a token of another":        {in(netRequest{resource: "secrets", object: token("theirs")}), ""},
		"a Secret for a token, filled":           {in(netRequest{resource: "secrets", object: strings.Replace(token("saguard"), "type:", "data: {token: Yg==}, type:", 1), old: token("saguard"), user: "system:kube-controller-manager"}), ""},
		"a Secret turned to its account":         {in(netRequest{resource: "secrets", object: token("saguard"), old: token("theirs")}), any},
	}
	values := `{safetyNet: {enabled: true}, agent: {enabled: true}}`
	n := netOf(t, values, environment.DefaultCompatibilityVersion(), environment.StoredExpressions)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refused := n.judge(t, tc.request)
			if tc.want == "" {
				if len(refused.denied) > 0 {
					t.Errorf("denied: %q", refused.denied)
				}
				return
			}
			parts := strings.Fields(tc.want)
			line := "kubectl auth can-i " + parts[0] + " " + strings.Join(parts[1:], "/") + " -A"
			if !slices.ContainsFunc(refused.denied, func(d string) bool { return strings.HasSuffix(d, line) }) {
				t.Errorf("denied %q, want %q", refused.denied, line)
			}
			for _, all := range []string{tc.want, "use serviceaccounts saguard"} {
				tc.request.grants = []string{all}
				if a := n.judge(t, tc.request); (len(a.denied) == 0) != (all == tc.want) {
					t.Errorf("with %s: %q", all, a.denied)
				}
			}
		})
	}
}

// cert-manager's injector writes caBundle as a user that the chart does not know; whoever does may change nothing else.
func TestSafetyNetLeavesInjectionToCertManager(t *testing.T) {
	n := netOf(t, netCases["safety-net-agent"], environment.DefaultCompatibilityVersion(), environment.StoredExpressions)
	const with = `{metadata: {name: validate.saguard.io}, webhooks: [{name: a.saguard.io, failurePolicy: %p, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {name: %s, namespace: x}, caBundle: %c}}]}`
	hook := func(policy, service, ca string) string {
		return strings.NewReplacer("%p", policy, "%s", service, "%c", ca).Replace(with)
	}
	before := hook("Fail", "saguard", "QQ==")
	for name, tc := range map[string]struct {
		after  string
		denied bool
	}{
		"another authority":      {after: hook("Fail", "saguard", "Qg==")},
		"another failure policy": {after: hook("Ignore", "saguard", "Qg=="), denied: true},
		"another service":        {after: hook("Fail", "theirs", "QQ=="), denied: true},
		"no webhook":             {after: `{metadata: {name: validate.saguard.io}}`, denied: true},
		"an owner":               {after: strings.Replace(before, "metadata: {", "metadata: {ownerReferences: [{apiVersion: v1, kind: X, name: gone, uid: u}], ", 1), denied: true},
	} {
		a := n.judge(t, netRequest{resource: "validatingwebhookconfigurations", object: tc.after, old: before, user: "system:serviceaccount:cert-manager:cainjector"})
		if (len(a.denied) > 0) != tc.denied {
			t.Errorf("%s: %q", name, a.denied)
		}
	}
	a := n.judge(t, netRequest{resource: "secrets", namespace: "saguard-system", object: `{metadata: {name: saguard-certificate}, data: {a: Yg==}}`, old: `{metadata: {name: saguard-certificate}}`})
	if len(a.denied) > 0 {
		t.Errorf("its Secret: %q", a.denied)
	}
}
