package chart

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const dir = "../../charts/saguard"

// caBundle has the form of a certificate, which is all that the chart and the API server's validation of the form need.
const caBundle = `-----BEGIN CERTIFICATE-----
MIIBdTCCARqgAwIBAgIBATAKBggqhkjOPQQDAjAAMB4XDTI2MDEwMTAwMDAwMFoX
-----END CERTIFICATE-----
`

// cases are the installations that the chart supports; the tests of this package run over all of them.
var cases = map[string]string{
	"default": ``,
	"helm":    `{certificates: {source: helm}}`,
	"self-rotating-url": `
webhook: {url: "https://10.0.0.7:10250", clientCA: {configMapName: clients, key: ca.pem}, clientNames: [kube-apiserver, "spiffe://cluster.local/apiserver"]}
certificates: {source: selfRotating, selfRotating: {validity: 24h, renewBefore: 8h, settle: 30s}}`,
	"url":          `{webhook: {url: "https://10.0.0.7:10250", caBundle: CA}, certificates: {source: secret, secretName: our-certificate}}`,
	"secret":       `{webhook: {caBundle: CA}, certificates: {source: secret, secretName: our-certificate}}`,
	"cert-manager": `{certificates: {source: certManager}}`,
	"cert-manager-own-issuer-and-url": `
webhook: {url: "https://saguard.example.com/", caBundle: CA}
certificates:
  source: certManager
  secretName: issued
  certManager: {issuerRef: {group: cert-manager.io, kind: ClusterIssuer, name: ours}, duration: 24h, renewBefore: 8h}`,
	"no-crds": `{crds: {enabled: false}}`,
	"nothing-optional": `
crds: {enabled: false}
rbac: {create: false}
serviceAccount: {create: false, name: theirs}
webhook:
  replicas: 1
  priorityClassName: ""
  preStopSeconds: 0
  topologySpreadConstraints: []
  namespaceDeleters: []
  nodeSelector: {}
  resources: {}
  podDisruptionBudget: {enabled: false}`,
	"everything": `
nameOverride: guard
commonLabels: {team: platform}
imagePullSecrets: [{name: pull}]
crds: {keep: false}
serviceAccount: {name: guard-webhook, annotations: {example.com/role: none}}
webhook:
  replicas: 3
  image: {registry: "registry.example.com:5000", repository: mirror/webhook, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always}
  authorization: SubjectAccessReview
  logLevel: debug
  failurePolicy: {validating: Ignore, mutating: Ignore}
  timeoutSeconds: 3
  excludedNamespaces: [gatekeeper-system, kube-system]
  namespaceDeleters: ["system:serviceaccount:kube-system:namespace-controller", "system:kube-controller-manager"]
  customWorkloads:
    - {apiGroups: [argoproj.io], apiVersions: [v1alpha1], resources: [rollouts]}
    - {apiGroups: [jobset.x-k8s.io], apiVersions: [v1alpha2], resources: [jobsets]}
  port: 9443
  metricsPort: 9090
  healthPort: 9091
  hostNetwork: true
  extraArgs: [--kube-api-qps=100]
  extraEnv: [{name: GOMEMLIMIT, value: 400MiB}]
  podAnnotations: {example.com/scrape: "true"}
  podLabels: {example.com/tier: control}
  tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]
  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname}}]}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {own: selector}}}]
  podDisruptionBudget: {minAvailable: 50%}
  service: {annotations: {example.com/a: b}}
  dnsConfig: {nameservers: [10.0.0.10]}
  extraVolumes: [{name: extra, configMap: {name: extra}}]
  extraVolumeMounts: [{name: extra, mountPath: /etc/extra}]
  strategy: {type: Recreate, rollingUpdate: null}
  revisionHistoryLimit: 1
profile: audit-only
flowControl: {matchingPrecedence: 900, priorityLevel: system}
extraObjects:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: "{{ .Release.Namespace }}", labels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}}
networkPolicy:
  enabled: true
  webhookFrom: [{ipBlock: {cidr: 10.0.0.0/28}}]
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/28}}], ports: [{port: 6443, protocol: TCP}]}]
serviceMonitor: {enabled: true, labels: {release: prometheus}, interval: 15s}`,
}

// monitoring is all that watches saguard, of the webhook and the agent.
const monitoring = `{agent: {enabled: true}, serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, grafanaDashboard: {enabled: true}}`

// agentCases are installations with the agent.
var agentCases = map[string]string{
	"agent":         `{agent: {enabled: true}}`,
	"agent-cleanup": `{agent: {enabled: true, cleanup: true}}`,
	"monitoring":    monitoring,
	"agent-nft":     `{rbac: {create: false}, agent: {enabled: true, backend: nft, serviceAccount: {create: false, name: theirs}, priorityClassName: "", tolerations: [], resources: {}}}`,
	"agent-everything": `
nameOverride: guard
commonLabels: {team: platform}
imagePullSecrets: [{name: pull}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
agent:
  enabled: true
  image: {registry: "registry.example.com:5000", repository: mirror/agent, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always}
  backend: bpf
  dataplane: forward
  podCIDRs: [10.244.0.0/16, "fd00:10:244::/56"]
  logLevel: debug
  packetLogRate: 0
  identityCheck:
    trustDomains: [cluster.local]
    plaintextNamespaces: [legacy]
    socketDir: /var/run/guard
    socketGroup: 1337
    recordRate: 600
    tcp: {enabled: true, port: 9200, jsonPort: 9201, secretName: guard-authz, clientCAName: mesh.pem, clients: ["spiffe://cluster.local/ns/*", proxy.example.com]}
  serviceAccount: {name: guard-agent, annotations: {example.com/role: none}}
  metricsPort: 9100
  healthPort: 9101
  extraArgs: [--kube-api-qps=100]
  extraEnv: [{name: GOMEMLIMIT, value: 400MiB}]
  podAnnotations: {example.com/scrape: "true"}
  podLabels: {example.com/tier: node}
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: virtual, operator: DoesNotExist}]}]}}}
  maxUnavailable: 3
  terminationGracePeriodSeconds: 5`,
}

// allCases are all of them.
func allCases() map[string]string {
	all := maps.Clone(cases)
	maps.Copy(all, agentCases)
	maps.Copy(all, netCases)
	return all
}

// valuesOf reads values in YAML; CA stands for caBundle.
func valuesOf(t testing.TB, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatalf("test values: %v", err)
	}
	if webhook, ok := values["webhook"].(map[string]any); ok && webhook["caBundle"] == "CA" {
		webhook["caBundle"] = caBundle
	}
	return values
}

func render(t testing.TB, values string) *Rendered {
	t.Helper()
	rendered, err := Render(dir, valuesOf(t, values), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		kubernetes.AddToScheme, apiextensionsv1.AddToScheme, certmanagerv1.AddToScheme, monitoringv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// typed decodes every object into its Go type; a field that the type does not have is an error.
func typed(t testing.TB, rendered *Rendered) []runtime.Object {
	t.Helper()
	s := scheme(t)
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, s, s, json.SerializerOptions{Strict: true})
	var objects []runtime.Object
	for _, object := range rendered.Objects {
		data, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		decoded, _, err := strict.Decode(data, nil, nil)
		if err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
			continue
		}
		objects = append(objects, decoded)
	}
	return objects
}

// one returns the only object of its type.
func one[T runtime.Object](t testing.TB, rendered *Rendered) T {
	t.Helper()
	var found []T
	for _, object := range typed(t, rendered) {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		var none T
		t.Fatalf("%d objects of type %T, want 1", len(found), none)
	}
	return found[0]
}

func readFile(t testing.TB, name ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}
