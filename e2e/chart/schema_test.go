package chart

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSchemaAndTemplatesRefuseWhatMakesNoSense(t *testing.T) {
	tests := map[string]struct{ values, want string }{
		"an unknown value":                  {`{replicas: 2}`, "replicas"},
		"an unknown value deeper down":      {`{webhook: {failurepolicy: {validating: Fail}}}`, "failurepolicy"},
		"a failure policy in lower case":    {`{webhook: {failurePolicy: {validating: fail}}}`, "/webhook/failurePolicy/validating"},
		"a profile that there is not":       {`{profile: paranoid}`, "/profile"},
		"no profile":                        {`{profile: ""}`, "/profile"},
		"a guard by a name that is none":    {`{guard: {create: true, name: Ours}}`, "/guard/name"},
		"an object of no kind":              {`{extraObjects: [{apiVersion: v1, metadata: {name: x}}]}`, "kind"},
		"a precedence after all accounts'":  {`{flowControl: {matchingPrecedence: 9000}}`, "/flowControl/matchingPrecedence"},
		"a share of nothing":                {`{flowControl: {nominalConcurrencyShares: 0}}`, "/flowControl/nominalConcurrencyShares"},
		"another severity":                  {`{prometheusRule: {alertLabels: {severity: none}}}`, "/prometheusRule/alertLabels"},
		"an alert of another name":          {`{prometheusRule: {disabled: [KubePodCrashLooping]}}`, "/prometheusRule/disabled/0"},
		"a runbook with an anchor":          {`{prometheusRule: {runbookURL: "https://x#y"}}`, "/prometheusRule/runbookURL"},
		"a DNS policy that there is not":    {`{webhook: {dnsPolicy: Cluster}}`, "/webhook/dnsPolicy"},
		"a failure policy for both at once": {`{webhook: {failurePolicy: Ignore}}`, "/webhook/failurePolicy"},
		"an unknown certificate source":     {`{certificates: {source: letsencrypt}}`, "/certificates/source"},
		"a safety net that warns":           {`{safetyNet: {failurePolicy: Warn}}`, "/safetyNet/failurePolicy"},
		"a safety net of another shape":     {`{safetyNet: true}`, "/safetyNet"},
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
		"a proxy that is no identity":       {`{agent: {identityCheck: {tcp: {clients: ["https://x"]}}}}`, "/agent/identityCheck/tcp/clients/0"},
		"a proxy by a wildcard name":        {`{agent: {identityCheck: {tcp: {clients: ["*.example.com"]}}}}`, "/agent/identityCheck/tcp/clients/0"},
		"checks over TCP on no port":        {`{agent: {identityCheck: {tcp: {port: 0}}}}`, "/agent/identityCheck/tcp/port"},
		"an authority of another folder":    {`{agent: {identityCheck: {tcp: {clientCAName: ../x}}}}`, "/agent/identityCheck/tcp/clientCAName"},
		"checks that are not recorded":      {`{agent: {identityCheck: {recordRate: 0}}}`, "/agent/identityCheck/recordRate"},
		"checks over TCP that nobody asks":  {`{agent: {enabled: true, identityCheck: {trustDomains: [d], tcp: {enabled: true, secretName: s}}}}`, "agent.identityCheck.tcp.clients: needed"},
		"checks over TCP in the clear":      {`{agent: {enabled: true, identityCheck: {trustDomains: [d], tcp: {enabled: true, clients: [c]}}}}`, "agent.identityCheck.tcp.secretName: needed"},
		"checks over TCP without domains":   {`{agent: {enabled: true, identityCheck: {tcp: {enabled: true, clients: [c], secretName: s}}}}`, "needs agent.identityCheck.trustDomains"},
		"checks over TCP on a taken port":   {`{agent: {enabled: true, identityCheck: {trustDomains: [d], tcp: {enabled: true, clients: [c], secretName: s, jsonPort: 9648}}}}`, "two of them are the same"},
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
		"a URL with Helm's certificate":     {`{webhook: {url: "https://x", caBundle: CA}, certificates: {source: helm}}`, "certificates.source: helm makes"},
		"a Secret without its name":         {`{webhook: {caBundle: CA}, certificates: {source: secret}}`, "certificates.secretName: needed"},
		"a Secret without a bundle":         {`{certificates: {source: secret, secretName: s}}`, "webhook.caBundle: needed with certificates.source secret"},
		"a bundle beside the webhook's own": {`{webhook: {caBundle: CA}}`, "with certificates.source selfRotating the webhook fills it in"},
		"a client CA in no Secret":          {`{webhook: {clientCAName: ca.crt}}`, "webhook.clientCAName: with certificates.source selfRotating"},
		"a name for the webhook's Secret":   {`{certificates: {secretName: s}}`, "certificates.secretName: with certificates.source selfRotating"},
		"two client CAs":                    {`{webhook: {clientCA: {configMapName: a, secretName: b}}}`, "give one of them"},
		"two client CAs, one of the Secret": {`{webhook: {clientCAName: ca.crt, clientCA: {configMapName: a}, caBundle: CA}, certificates: {source: secret, secretName: s}}`, "give one of them"},
		"clients without their CA":          {`{webhook: {clientNames: [kube-apiserver]}}`, "webhook.clientNames: needs"},
		"a client's name that is a list":    {`{webhook: {clientCA: {configMapName: a}, clientNames: ["a,b"]}}`, "/webhook/clientNames/0"},
		"a client CA in another folder":     {`{webhook: {clientCA: {configMapName: a, key: ../x}}}`, "/webhook/clientCA/key"},
		"a validity in days":                {`{certificates: {selfRotating: {validity: 90d}}}`, "/certificates/selfRotating/validity"},
		"a bundle beside Helm's own":        {`{webhook: {caBundle: CA}, certificates: {source: helm}}`, "webhook.caBundle: certificates.source helm makes its own"},
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

// TestSchemaTypesAndDescribesEveryValue, with the words of values.yaml.
func TestSchemaTypesAndDescribesEveryValue(t *testing.T) {
	schema := readFile(t, dir, "values.schema.json")
	described, err := DescribeSchema([]byte(readFile(t, dir, "values.yaml")), []byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	if string(described) != schema {
		t.Errorf("values.schema.json differs from the comments of values.yaml from line %d on; refresh: make generate", firstDifference(schema, string(described)))
	}
	type property struct {
		Type        any
		Description string
		Properties  map[string]json.RawMessage
	}
	var walk func(path string, raw json.RawMessage, stop []string)
	walk = func(path string, raw json.RawMessage, stop []string) {
		var p property
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if p.Type == nil {
			t.Errorf("%s: no type", path)
		}
		if p.Description == "" && (slices.Contains(stop, path) || path == "global") {
			t.Errorf("%s: no description", path)
		}
		if slices.Contains(stop, path) {
			return
		}
		for name, inner := range p.Properties {
			walk(strings.TrimPrefix(path+"."+name, "."), inner, stop)
		}
	}
	walk("", json.RawMessage(schema), documented(t))
}

func TestDescribeSchema(t *testing.T) {
	const values = "# The values.\n\n# -- First,\n# on two lines.\na: 1\n# A section.\nb:\n  # -- With <b> & \"quotes\".\n  c: x\nd: 2\n"
	tests := map[string]struct{ schema, want string }{
		"a description is put, and one that is old replaced": {
			`{"properties": {"b": {"type": "object", "properties": {"c": {"description": "old", "type": "string", "pattern": "^<x>$"}}}, "a": {"type": "integer", "minimum": 1}}}`,
			`{"properties":{"b":{"description":"A section.","type":"object","properties":{"c":{"description":"With <b> & \"quotes\".","type":"string","pattern":"^<x>$"}}},"a":{"description":"First, on two lines.","type":"integer","minimum":1}}}`,
		},
		"what values.yaml does not have, or says nothing of, is left alone": {
			`{"properties": {"global": {"description": "of Helm"}, "d": {"enum": [1, 2.5, null, true, "x"]}}}`,
			`{"properties":{"global":{"description":"of Helm"},"d":{"enum":[1,2.5,null,true,"x"]}}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := DescribeSchema([]byte(values), []byte(test.schema))
			if err != nil {
				t.Fatal(err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, got); err != nil {
				t.Fatal(err)
			}
			if compact.String() != test.want {
				t.Errorf("%s\nwant\n%s", compact.String(), test.want)
			}
			if again, err := DescribeSchema([]byte(values), got); err != nil || !bytes.Equal(again, got) {
				t.Errorf("a second time it is another: %v", err)
			}
		})
	}
	for name, bad := range map[string][2]string{"values": {"a: [", "{}"}, "schema": {values, "{"}, "nothing": {"", ""}} {
		if _, err := DescribeSchema([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%s that cannot be read pass", name)
		}
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
