package chart

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chartutil"
)

// documented lists the values of values.yaml that have a `# --` comment, by path. A key without one must be a section,
// whose own keys all have one.
func documented(t *testing.T) []string {
	t.Helper()
	return documentedIn(t, readFile(t, dir, "values.yaml"))
}

// documentedIn is documented for the text of a values.yaml.
func documentedIn(t *testing.T, text string) []string {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	var paths []string
	var walk func(node *yaml.Node, prefix string)
	walk = func(node *yaml.Node, prefix string) {
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			path := prefix + key.Value
			switch {
			case strings.HasPrefix(key.HeadComment, "# -- ") || strings.Contains(key.HeadComment, "\n# -- "):
				paths = append(paths, path)
			case value.Kind == yaml.MappingNode && len(value.Content) > 0:
				walk(value, path+".")
			default:
				t.Errorf("values.yaml: %s has no `# --` comment", path)
			}
		}
	}
	walk(root.Content[0], "")
	return paths
}

// TestEveryValueIsReadByATemplate changes one value after the other and demands that something else is rendered.
func TestEveryValueIsReadByATemplate(t *testing.T) {
	const (
		secret  = `{webhook: {caBundle: CA}, certificates: {source: secret, secretName: s}}`
		issued  = `{certificates: {source: certManager}}`
		policy  = `{networkPolicy: {enabled: true}}`
		monitor = `{serviceMonitor: {enabled: true}}`
		guard   = `{guard: {create: true}}`
		rules   = `{prometheusRule: {enabled: true}}`
		shown   = `{grafanaDashboard: {enabled: true}}`
		agent   = `{agent: {enabled: true}}`
		checks  = `{agent: {enabled: true, identityCheck: {trustDomains: [d]}}}`
		overTCP = `{agent: {enabled: true, identityCheck: {trustDomains: [d], tcp: {enabled: true, secretName: s, clients: [c]}}}}`
	)
	// The base, and what is laid over it; the comparison is of the two.
	changes := map[string][2]string{
		"nameOverride":                             {``, `{nameOverride: x}`},
		"fullnameOverride":                         {``, `{fullnameOverride: x}`},
		"commonLabels":                             {``, `{commonLabels: {a: b}}`},
		"imagePullSecrets":                         {``, `{imagePullSecrets: [{name: x}]}`},
		"crds.enabled":                             {``, `{crds: {enabled: false}}`},
		"crds.keep":                                {``, `{crds: {keep: false}}`},
		"serviceAccount.create":                    {`{serviceAccount: {name: x}}`, `{serviceAccount: {create: false}}`},
		"serviceAccount.name":                      {``, `{serviceAccount: {name: x}}`},
		"serviceAccount.annotations":               {``, `{serviceAccount: {annotations: {a: b}}}`},
		"rbac.create":                              {``, `{rbac: {create: false}}`},
		"certificates.source":                      {``, issued},
		"certificates.secretName":                  {secret, `{certificates: {secretName: t}}`},
		"certificates.certManager.issuerRef":       {issued, `{certificates: {certManager: {issuerRef: {name: x}}}}`},
		"certificates.certManager.duration":        {issued, `{certificates: {certManager: {duration: 48h}}}`},
		"certificates.certManager.renewBefore":     {issued, `{certificates: {certManager: {renewBefore: 8h}}}`},
		"webhook.replicas":                         {``, `{webhook: {replicas: 3}}`},
		"webhook.image.registry":                   {``, `{webhook: {image: {registry: r}}}`},
		"webhook.image.repository":                 {``, `{webhook: {image: {repository: r}}}`},
		"webhook.image.tag":                        {``, `{webhook: {image: {tag: t}}}`},
		"webhook.image.digest":                     {``, `{webhook: {image: {digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}}`},
		"webhook.image.pullPolicy":                 {``, `{webhook: {image: {pullPolicy: Never}}}`},
		"webhook.authorization":                    {``, `{webhook: {authorization: SubjectAccessReview}}`},
		"webhook.logLevel":                         {``, `{webhook: {logLevel: debug}}`},
		"webhook.failurePolicy.validating":         {``, `{webhook: {failurePolicy: {validating: Ignore}}}`},
		"webhook.failurePolicy.mutating":           {``, `{webhook: {failurePolicy: {mutating: Ignore}}}`},
		"webhook.timeoutSeconds":                   {``, `{webhook: {timeoutSeconds: 6}}`},
		"webhook.excludedNamespaces":               {``, `{webhook: {excludedNamespaces: [x]}}`},
		"webhook.clientCAName":                     {secret, `{webhook: {clientCAName: ca.crt}}`},
		"webhook.clientCA.configMapName":           {``, `{webhook: {clientCA: {configMapName: x}}}`},
		"webhook.clientCA.secretName":              {``, `{webhook: {clientCA: {secretName: x}}}`},
		"webhook.clientCA.key":                     {`{webhook: {clientCA: {configMapName: x}}}`, `{webhook: {clientCA: {key: x}}}`},
		"webhook.clientNames":                      {`{webhook: {clientCA: {configMapName: x}}}`, `{webhook: {clientNames: [x]}}`},
		"certificates.selfRotating.validity":       {``, `{certificates: {selfRotating: {validity: 1h}}}`},
		"certificates.selfRotating.renewBefore":    {``, `{certificates: {selfRotating: {renewBefore: 1h}}}`},
		"certificates.selfRotating.settle":         {``, `{certificates: {selfRotating: {settle: 2m}}}`},
		"webhook.namespaceDeleters":                {``, `{webhook: {namespaceDeleters: []}}`},
		"webhook.customWorkloads":                  {``, `{webhook: {customWorkloads: [{apiGroups: [argoproj.io], apiVersions: [v1alpha1], resources: [rollouts]}]}}`},
		"webhook.url":                              {secret, `{webhook: {url: "https://x"}}`},
		"webhook.caBundle":                         {issued, `{webhook: {caBundle: CA}}`},
		"webhook.port":                             {``, `{webhook: {port: 1}}`},
		"webhook.metricsPort":                      {``, `{webhook: {metricsPort: 1}}`},
		"webhook.healthPort":                       {``, `{webhook: {healthPort: 1}}`},
		"webhook.hostNetwork":                      {``, `{webhook: {hostNetwork: true}}`},
		"webhook.extraArgs":                        {``, `{webhook: {extraArgs: [--x]}}`},
		"webhook.extraEnv":                         {``, `{webhook: {extraEnv: [{name: X}]}}`},
		"webhook.podAnnotations":                   {``, `{webhook: {podAnnotations: {a: b}}}`},
		"webhook.podLabels":                        {``, `{webhook: {podLabels: {a: b}}}`},
		"webhook.resources":                        {``, `{webhook: {resources: {limits: {cpu: 1}}}}`},
		"webhook.priorityClassName":                {``, `{webhook: {priorityClassName: system-node-critical}}`},
		"webhook.priorityQuota":                    {``, `{webhook: {priorityQuota: false}}`},
		"webhook.nodeSelector":                     {``, `{webhook: {nodeSelector: {a: b}}}`},
		"webhook.tolerations":                      {``, `{webhook: {tolerations: [{operator: Exists}]}}`},
		"webhook.affinity":                         {``, `{webhook: {affinity: {nodeAffinity: {}}}}`},
		"webhook.topologySpreadConstraints":        {``, `{webhook: {topologySpreadConstraints: []}}`},
		"webhook.podSecurityContext":               {``, `{webhook: {podSecurityContext: {runAsUser: 1}}}`},
		"webhook.containerSecurityContext":         {``, `{webhook: {containerSecurityContext: {runAsUser: 1}}}`},
		"webhook.preStopSeconds":                   {``, `{webhook: {preStopSeconds: 6}}`},
		"webhook.terminationGracePeriodSeconds":    {``, `{webhook: {terminationGracePeriodSeconds: 31}}`},
		"webhook.podDisruptionBudget.enabled":      {``, `{webhook: {podDisruptionBudget: {enabled: false}}}`},
		"webhook.podDisruptionBudget.minAvailable": {``, `{webhook: {podDisruptionBudget: {minAvailable: 2}}}`},
		"webhook.service.annotations":              {``, `{webhook: {service: {annotations: {a: b}}}}`},
		"agent.enabled":                            {``, agent},
		"agent.image.registry":                     {agent, `{agent: {image: {registry: r}}}`},
		"agent.image.repository":                   {agent, `{agent: {image: {repository: r}}}`},
		"agent.image.tag":                          {agent, `{agent: {image: {tag: t}}}`},
		"agent.image.digest":                       {agent, `{agent: {image: {digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}}`},
		"agent.image.pullPolicy":                   {agent, `{agent: {image: {pullPolicy: Never}}}`},
		"agent.backend":                            {agent, `{agent: {backend: nft}}`},
		"agent.dataplane":                          {agent, `{agent: {dataplane: forward}}`},
		"agent.podCIDRs":                           {agent, `{agent: {podCIDRs: [10.0.0.0/8]}}`},
		"agent.cleanup":                            {agent, `{agent: {cleanup: true}}`},
		"agent.logLevel":                           {agent, `{agent: {logLevel: debug}}`},
		"agent.packetLogRate":                      {agent, `{agent: {packetLogRate: 1}}`},
		"agent.identityCheck.trustDomains":         {agent, `{agent: {identityCheck: {trustDomains: [x]}}}`},
		"agent.serviceAccount.name":                {agent, `{agent: {serviceAccount: {name: x}}}`},
		"agent.serviceAccount.annotations":         {agent, `{agent: {serviceAccount: {annotations: {a: b}}}}`},
		"agent.metricsPort":                        {agent, `{agent: {metricsPort: 1}}`},
		"agent.healthPort":                         {agent, `{agent: {healthPort: 1}}`},
		"agent.extraArgs":                          {agent, `{agent: {extraArgs: [--x]}}`},
		"agent.extraEnv":                           {agent, `{agent: {extraEnv: [{name: X}]}}`},
		"agent.podAnnotations":                     {agent, `{agent: {podAnnotations: {a: b}}}`},
		"agent.podLabels":                          {agent, `{agent: {podLabels: {a: b}}}`},
		"agent.resources":                          {agent, `{agent: {resources: {limits: {cpu: 1}}}}`},
		"agent.priorityClassName":                  {agent, `{agent: {priorityClassName: x}}`},
		"agent.priorityQuota":                      {agent, `{agent: {priorityQuota: false}}`},
		"agent.nodeSelector":                       {agent, `{agent: {nodeSelector: {a: b}}}`},
		"agent.tolerations":                        {agent, `{agent: {tolerations: []}}`},
		"agent.affinity":                           {agent, `{agent: {affinity: {nodeAffinity: {}}}}`},
		"agent.maxUnavailable":                     {agent, `{agent: {maxUnavailable: 1}}`},
		"agent.podSecurityContext":                 {agent, `{agent: {podSecurityContext: {fsGroup: 1}}}`},
		"agent.terminationGracePeriodSeconds":      {agent, `{agent: {terminationGracePeriodSeconds: 31}}`},
		"agent.identityCheck.plaintextNamespaces":  {checks, `{agent: {identityCheck: {plaintextNamespaces: [x]}}}`},
		"agent.identityCheck.socketDir":            {checks, `{agent: {identityCheck: {socketDir: /x}}}`},
		"agent.identityCheck.socketGroup":          {checks, `{agent: {identityCheck: {socketGroup: 1}}}`},
		"agent.identityCheck.json":                 {checks, `{agent: {identityCheck: {json: true}}}`},
		"agent.identityCheck.forwardedClientCert":  {checks, `{agent: {identityCheck: {forwardedClientCert: true}}}`},
		"agent.identityCheck.recordAllowed":        {checks, `{agent: {identityCheck: {recordAllowed: true}}}`},
		"agent.identityCheck.recordRate":           {checks, `{agent: {identityCheck: {recordRate: 61}}}`},
		"agent.identityCheck.tcp.enabled":          {overTCP, `{agent: {identityCheck: {tcp: {enabled: false}}}}`},
		"agent.identityCheck.tcp.port":             {overTCP, `{agent: {identityCheck: {tcp: {port: 1}}}}`},
		"agent.identityCheck.tcp.jsonPort":         {overTCP, `{agent: {identityCheck: {tcp: {jsonPort: 1}}}}`},
		"agent.identityCheck.tcp.secretName":       {overTCP, `{agent: {identityCheck: {tcp: {secretName: t}}}}`},
		"agent.identityCheck.tcp.clientCAName":     {overTCP, `{agent: {identityCheck: {tcp: {clientCAName: t}}}}`},
		"agent.identityCheck.tcp.clients":          {overTCP, `{agent: {identityCheck: {tcp: {clients: [d]}}}}`},
		"agent.serviceAccount.create":              {`{agent: {enabled: true, serviceAccount: {name: x}}}`, `{agent: {serviceAccount: {create: false}}}`},
		"networkPolicy.enabled":                    {``, policy},
		"networkPolicy.webhookFrom":                {policy, `{networkPolicy: {webhookFrom: [{podSelector: {}}]}}`},
		"networkPolicy.metricsFrom":                {policy, `{networkPolicy: {metricsFrom: [{podSelector: {}}]}}`},
		"networkPolicy.egress":                     {policy, `{networkPolicy: {egress: [{to: []}]}}`},
		"webhook.scan.interval":                    {``, `{webhook: {scan: {interval: 2h}}}`},
		"agent.watchRenewal":                       {agent, `{agent: {watchRenewal: 2m}}`},
		"agent.openToUnknownPods":                  {agent, `{agent: {openToUnknownPods: true}}`},
		"serviceMonitor.enabled":                   {``, monitor},
		"serviceMonitor.labels":                    {monitor, `{serviceMonitor: {labels: {a: b}}}`},
		"serviceMonitor.interval":                  {monitor, `{serviceMonitor: {interval: 7s}}`},
		"safetyNet.enabled":                        {``, `{safetyNet: {enabled: true}}`},
		"safetyNet.failurePolicy":                  {`{safetyNet: {enabled: true}}`, `{safetyNet: {failurePolicy: Fail}}`},
		"safetyNet.ownObjects":                     {`{safetyNet: {enabled: true}}`, `{safetyNet: {ownObjects: false}}`},
		"extraObjects":                             {``, `{extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-x"}}]}`},
		"profile":                                  {``, `{profile: audit-only}`},
		"guard.create":                             {``, `{guard: {create: true}}`},
		"guard.name":                               {guard, `{guard: {name: x}}`},
		"guard.spec":                               {guard, `{guard: {spec: {labels: {keys: [role]}}}}`},
		"webhook.dnsPolicy":                        {``, `{webhook: {dnsPolicy: Default}}`},
		"webhook.dnsConfig":                        {``, `{webhook: {dnsConfig: {nameservers: [10.0.0.10]}}}`},
		"webhook.extraVolumes":                     {``, `{webhook: {extraVolumes: [{name: x, emptyDir: {}}]}}`},
		"webhook.extraVolumeMounts":                {``, `{webhook: {extraVolumeMounts: [{name: x, mountPath: /x}]}}`},
		"webhook.strategy":                         {``, `{webhook: {strategy: {rollingUpdate: {maxSurge: 2}}}}`},
		"webhook.revisionHistoryLimit":             {``, `{webhook: {revisionHistoryLimit: 4}}`},
		"agent.revisionHistoryLimit":               {agent, `{agent: {revisionHistoryLimit: 4}}`},
		"hooks.unregister":                         {``, `{hooks: {unregister: false}}`},
		"hooks.test":                               {``, `{hooks: {test: false}}`},
		"hooks.resources":                          {``, `{hooks: {resources: {limits: {cpu: 1}}}}`},
		"flowControl.enabled":                      {``, `{flowControl: {enabled: false}}`},
		"flowControl.matchingPrecedence":           {``, `{flowControl: {matchingPrecedence: 851}}`},
		"flowControl.priorityLevel":                {``, `{flowControl: {priorityLevel: system}}`},
		"flowControl.nominalConcurrencyShares":     {``, `{flowControl: {nominalConcurrencyShares: 11}}`},
		"flowControl.lendablePercent":              {``, `{flowControl: {lendablePercent: 51}}`},
		"flowControl.agentPriorityLevel":           {agent, `{flowControl: {agentPriorityLevel: system}}`},
		"prometheusRule.enabled":                   {``, rules},
		"prometheusRule.labels":                    {rules, `{prometheusRule: {labels: {a: b}}}`},
		"prometheusRule.alertLabels":               {rules, `{prometheusRule: {alertLabels: {a: b}}}`},
		"prometheusRule.disabled":                  {rules, `{prometheusRule: {disabled: [SaguardPanics]}}`},
		"prometheusRule.certificateDays":           {rules, `{prometheusRule: {certificateDays: 15}}`},
		"prometheusRule.runbookURL":                {rules, `{prometheusRule: {runbookURL: "https://x"}}`},
		"grafanaDashboard.enabled":                 {``, shown},
		"grafanaDashboard.labels":                  {shown, `{grafanaDashboard: {labels: {a: b}}}`},
		"grafanaDashboard.annotations":             {shown, `{grafanaDashboard: {annotations: {a: b}}}`},
	}
	paths := documented(t)
	bases := map[string]string{}
	for _, path := range paths {
		change, ok := changes[path]
		if !ok {
			t.Errorf("%s: no change in this test shows that a template reads it", path)
			continue
		}
		base, ok := bases[change[0]]
		if !ok {
			base = fingerprint(t, valuesOf(t, change[0]))
			bases[change[0]] = base
		}
		if base == fingerprint(t, chartutil.CoalesceTables(valuesOf(t, change[1]), valuesOf(t, change[0]))) {
			t.Errorf("%s: no template reads it: nothing changed", path)
		}
	}
	for path := range changes {
		if !slices.Contains(paths, path) {
			t.Errorf("%s: is not a value of values.yaml", path)
		}
	}
}

func fingerprint(t *testing.T, values map[string]any) string {
	t.Helper()
	rendered, err := Render(dir, values, Options{Live: true, APIs: []string{"saguard.io/v1alpha1/ServiceAccountGuard"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range rendered.Objects {
		redact(t, object)
	}
	data, err := rendered.YAML()
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := rendered.HooksYAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + string(hooks)
}

// TestEveryValueReadIsInValuesAndSchema is the other direction, for branches that no case renders.
func TestEveryValueReadIsInValuesAndSchema(t *testing.T) {
	paths := documented(t)
	files, err := filepath.Glob(filepath.Join(dir, "templates", "*.*"))
	tests, err2 := filepath.Glob(filepath.Join(dir, "templates", "tests", "*"))
	if err != nil || err2 != nil || len(files) == 0 || len(tests) == 0 {
		t.Fatalf("no templates: %v %v", err, err2)
	}
	files = append(files, tests...)
	read := regexp.MustCompile(`(?:\.Values|\$webhook|\$agent|\$image)(?:\.[A-Za-z]+)+`)
	for _, file := range files {
		for _, found := range read.FindAllString(readFile(t, file), -1) {
			path := strings.NewReplacer("$.Values.", "", ".Values.", "", "$webhook", "webhook", "$agent", "agent", "$image", "webhook.image").Replace(found)
			if !slices.ContainsFunc(paths, func(p string) bool { return p == path || strings.HasPrefix(p, path+".") }) {
				t.Errorf("%s reads %s, which values.yaml does not have", file, path)
			}
		}
	}

	var schema node
	if err := json.Unmarshal([]byte(readFile(t, dir, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	var described []string
	schema.walk("", paths, func(path string, n node) {
		if n.Properties != nil && (n.AdditionalProperties == nil || string(n.AdditionalProperties) != "false") {
			t.Errorf("values.schema.json: %s takes unknown values", path)
		}
		if n.Properties == nil || slices.Contains(paths, path) {
			described = append(described, path)
		}
	})
	want := append(slices.Clone(paths), "global")
	slices.Sort(want)
	slices.Sort(described)
	if !slices.Equal(described, want) {
		t.Errorf("values.schema.json and values.yaml differ\nschema %v\nvalues %v", described, want)
	}
}

type node struct {
	Properties           map[string]node `json:"properties"`
	AdditionalProperties json.RawMessage `json:"additionalProperties"`
}

// walk visits every property but not what is below a documented value.
func (n node) walk(prefix string, stop []string, visit func(string, node)) {
	for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
		child, path := n.Properties[key], prefix+key
		visit(path, child)
		if !slices.Contains(stop, path) {
			child.walk(path+".", stop, visit)
		}
	}
}
