package chart

import (
	"strings"
	"testing"
)

func TestSchemaAndTemplatesRefuseWhatMakesNoSense(t *testing.T) {
	tests := map[string]struct{ values, want string }{
		"an unknown value":                  {`{replicas: 2}`, "replicas"},
		"an unknown value deeper down":      {`{webhook: {failurepolicy: {validating: Fail}}}`, "failurepolicy"},
		"a failure policy in lower case":    {`{webhook: {failurePolicy: {validating: fail}}}`, "/webhook/failurePolicy/validating"},
		"a failure policy for both at once": {`{webhook: {failurePolicy: Ignore}}`, "/webhook/failurePolicy"},
		"an unknown certificate source":     {`{certificates: {source: letsencrypt}}`, "/certificates/source"},
		"an unknown authorization mode":     {`{webhook: {authorization: ABAC}}`, "/webhook/authorization"},
		"an unknown log level":              {`{webhook: {logLevel: verbose}}`, "/webhook/logLevel"},
		"a timeout that Kubernetes refuses": {`{webhook: {timeoutSeconds: 31}}`, "/webhook/timeoutSeconds"},
		"a timeout of nothing":              {`{webhook: {timeoutSeconds: 0}}`, "/webhook/timeoutSeconds"},
		"a timeout as text":                 {`{webhook: {timeoutSeconds: "5"}}`, "/webhook/timeoutSeconds"},
		"a namespace with a wildcard":       {`{webhook: {excludedNamespaces: ["kube-*"]}}`, "/webhook/excludedNamespaces/0"},
		"an arbitrary user as exempt":       {`{webhook: {namespaceDeleters: [alice]}}`, "/webhook/namespaceDeleters/0"},
		"every resource of a group":         {`{webhook: {customWorkloads: [{apiGroups: [argoproj.io], apiVersions: [v1alpha1], resources: ["*"]}]}}`, "/webhook/customWorkloads/0/resources/0"},
		"a backend that there is not":       {`{agent: {backend: iptables}}`, "/agent/backend"},
		"a dataplane that there is not":     {`{agent: {dataplane: ebpf}}`, "/agent/dataplane"},
		"a pod prefix without length":       {`{agent: {podCIDRs: [10.0.0.0]}}`, "/agent/podCIDRs/0"},
		"a socket folder that is relative":  {`{agent: {identityCheck: {socketDir: run}}}`, "/agent/identityCheck/socketDir"},
		"a trust domain as a URI":           {`{agent: {identityCheck: {trustDomains: ["spiffe://x"]}}}`, "/agent/identityCheck/trustDomains/0"},
		"a negative rate of records":        {`{agent: {packetLogRate: -1}}`, "/agent/packetLogRate"},
		"an account that nobody makes":      {`{agent: {enabled: true, serviceAccount: {create: false}}}`, "agent.serviceAccount.name"},
		"a status as a custom workload":     {`{webhook: {customWorkloads: [{apiGroups: [argoproj.io], apiVersions: [v1alpha1], resources: [rollouts/status]}]}}`, "/webhook/customWorkloads/0/resources/0"},
		"a custom workload of no group":     {`{webhook: {customWorkloads: [{apiGroups: [""], apiVersions: [v1], resources: [pods]}]}}`, "/webhook/customWorkloads/0/apiGroups/0"},
		"a custom workload without version": {`{webhook: {customWorkloads: [{apiGroups: [argoproj.io], resources: [rollouts]}]}}`, "apiVersions"},
		"a plain-text URL":                  {`{webhook: {url: "http://x", caBundle: CA}, certificates: {source: secret, secretName: s}}`, "/webhook/url"},
		"a URL with a query":                {`{webhook: {url: "https://x/?a=b", caBundle: CA}, certificates: {source: secret, secretName: s}}`, "/webhook/url"},
		"a bundle in base64":                {`{webhook: {caBundle: LS0tLS1CRUdJTg==}}`, "/webhook/caBundle"},
		"a digest that is none":             {`{webhook: {image: {digest: "sha256:abc"}}}`, "/webhook/image/digest"},
		"a label of the chart's own":        {`{commonLabels: {app.kubernetes.io/name: x}}`, "/commonLabels"},
		"a port beyond the range":           {`{webhook: {port: 65536}}`, "/webhook/port"},
		"a URL without a bundle":            {`{webhook: {url: "https://x"}, certificates: {source: secret, secretName: s}}`, "webhook.caBundle: needed with webhook.url"},
		"a URL with Helm's certificate":     {`{webhook: {url: "https://x", caBundle: CA}}`, "certificates.source: helm makes"},
		"a Secret without its name":         {`{webhook: {caBundle: CA}, certificates: {source: secret}}`, "certificates.secretName: needed"},
		"a Secret without a bundle":         {`{certificates: {source: secret, secretName: s}}`, "webhook.caBundle: needed with certificates.source secret"},
		"a bundle beside Helm's own":        {`{webhook: {caBundle: CA}}`, "webhook.caBundle: certificates.source helm makes its own"},
		"no service account and no name":    {`{serviceAccount: {create: false}}`, "serviceAccount.name: needed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Render(dir, valuesOf(t, test.values), Options{})
			if err == nil {
				t.Fatal("rendered")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error does not say %q: %v", test.want, err)
			}
		})
	}
}

func TestInstallationsThatCannotWorkAreRefused(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    string
	}{
		"a Kubernetes that is too old": {Options{KubeVersion: "v1.29.9"}, "needs Kubernetes >=1.30.0-0"},
		"no Kubernetes version":        {Options{KubeVersion: "latest"}, `parse Kubernetes version "latest"`},
		"the namespace kube-system":    {Options{Namespace: "kube-system"}, "not kube-system"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Render(dir, nil, test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := Render(dir, nil, Options{KubeVersion: "v1.30.0-gke.100"}); err != nil {
		t.Errorf("a provider's version of 1.30 is refused: %v", err)
	}
}
