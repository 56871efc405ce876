package eval_test

import (
	"fmt"
	"testing"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// base is two namespaces with three pods each: web, api and db of the accounts of the same names.
func base() []string {
	var docs []string
	for n, ns := range []string{"prod", "dev"} {
		docs = append(docs, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {env: %s}}}`, ns, ns))
		for i, name := range []string{"web", "api", "db"} {
			docs = append(docs,
				fmt.Sprintf(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s, labels: {role: %s}}}`, name, ns, name),
				pod(ns, name, fmt.Sprintf("10.%d.0.%d", n, i+1), fmt.Sprintf("fd00::%d:%d", n, i+1)))
		}
	}
	return docs
}

// pod is a running pod with label app = name, an account of its name and three named ports.
func pod(ns, name string, ips ...string) string {
	list := ""
	for _, ip := range ips {
		list += fmt.Sprintf("{ip: %q},", ip)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s}}
spec:
  nodeName: node
  serviceAccountName: %[2]s
  containers:
  - {name: c, ports: [{containerPort: 80, name: http}, {containerPort: 53, name: dns, protocol: UDP}, {containerPort: 9}]}
  initContainers:
  - {name: i, ports: [{containerPort: 81, name: init}]}
status: {phase: Running, podIPs: [%[3]s]}`, ns, name, list)
}

// np is a NetworkPolicy in prod on db, with the given ingress rules; types are defaulted.
func np(name, ingress string) string {
	return fmt.Sprintf(`{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: %q, namespace: prod}, spec: {selector: app == 'db', ingress: %s}}`, name, ingress)
}

func gnp(name, spec string) string {
	return fmt.Sprintf(`{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: %q}, spec: %s}`, name, spec)
}

func knp(name, spec string) string {
	return fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %q, namespace: prod}, spec: %s}`, name, spec)
}

func tcp(from, to string, port uint16) flow {
	return flow{From: from, To: to, Protocol: "TCP", Port: port, SourcePort: ptr(uint16(40000))}
}

func ptr[T any](v T) *T { return &v }

// verdict evaluates one flow in base plus docs.
func verdict(t testing.TB, sem policy.Semantics, f flow, docs ...string) eval.Result {
	t.Helper()
	s := world(t, sem, append(base(), docs...)...)
	return eval.Evaluate(s, f.resolve(t, s))
}

// ingress is the verdict of prod/db's policies for prod/web, in the world of docs alone.
func ingress(t testing.TB, sem policy.Semantics, docs []string) string {
	t.Helper()
	s := world(t, sem, docs...)
	return eval.Evaluate(s, tcp("prod/web", "prod/db", 80).resolve(t, s)).Ingress.Verdict.String()
}
