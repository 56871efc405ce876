{{/* Name of all objects: the release's name, with the chart's appended if it does not contain it. */}}
{{- define "saguard.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the webhook's pods are selected: they never change over the life of a release. */}}
{{- define "saguard.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end -}}

{{/* Labels of every object. */}}
{{- define "saguard.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: saguard
{{ include "saguard.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "saguard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "saguard.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "saguard.image" -}}
{{- $image := .Values.webhook.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the serving certificate. Each source has a name of its own, so that changing the source
     never meets a Secret that something else owns. */}}
{{- define "saguard.certificateSecret" -}}
{{- $source := .Values.certificates.source -}}
{{- if eq $source "secret" -}}
{{- required "certificates.secretName: needed with certificates.source secret" .Values.certificates.secretName -}}
{{- else if .Values.certificates.secretName -}}
{{- .Values.certificates.secretName -}}
{{- else if eq $source "certManager" -}}
{{- include "saguard.fullname" . }}-certificate
{{- else if eq $source "selfRotating" -}}
{{- include "saguard.selfRotatingSecret" . }}
{{- else -}}
{{- include "saguard.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "saguard.selfRotatingSecret" -}}
{{ include "saguard.fullname" . }}-self-rotating
{{- end -}}

{{/* Names, as a JSON array, by which the API server reaches the webhook, for the certificate that it makes itself. */}}
{{- define "saguard.certificateNames" -}}
{{- $host := include "saguard.serviceHost" . -}}
{{- $names := list $host (printf "%s.cluster.local" $host) -}}
{{- with .Values.webhook.url -}}
{{- $names = append $names (trimAll "[]" (urlParse .).hostname) -}}
{{- end -}}
{{- uniq $names | toJson -}}
{{- end -}}

{{/* Source of the volume with the CA of clients; empty if there is none. */}}
{{- define "saguard.clientCA" -}}
{{- with .Values.webhook.clientCA -}}
{{- if .configMapName -}}
configMap:
  name: {{ .configMapName }}
  items: [{key: {{ .key }}, path: {{ .key }}}]
{{- else if .secretName -}}
secret:
  secretName: {{ .secretName }}
  items: [{key: {{ .key }}, path: {{ .key }}}]
  defaultMode: 0440
{{- end -}}
{{- end -}}
{{- end -}}

{{/* caBundle, in base64, that the webhooks have in the cluster now; empty where Helm does not talk to one. */}}
{{- define "saguard.liveBundle" -}}
{{- $live := lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" "validate.saguard.io" -}}
{{- range $i, $hook := default list (get (default dict $live) "webhooks") -}}
{{- if eq $i 0 -}}{{- default "" $hook.clientConfig.caBundle -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* caBundle, in base64, with certificates.source helm: the certificate's CA. Where replicas run that made their own
     certificate, what they have put there stays for this upgrade: they serve until the last of them is replaced. */}}
{{- define "saguard.helmBundle" -}}
{{- include "saguard.helmCertificate" . -}}
{{- $ca := .certificate.ca -}}
{{- if lookup "v1" "Secret" .Release.Namespace (include "saguard.selfRotatingSecret" .) -}}
{{- $live := include "saguard.liveBundle" . | b64dec -}}
{{- if not (contains (b64dec $ca | trim) $live) -}}
{{- $ca = printf "%s\n%s" (b64dec $ca | trim) $live | b64enc -}}
{{- end -}}
{{- end -}}
{{- $ca -}}
{{- end -}}

{{- define "saguard.serviceHost" -}}
{{ include "saguard.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* With certificates.source helm, sets .certificate to {ca, crt, key} in base64, once per rendering: the one of the
     cluster if it is complete, else a new one. The key of the CA is dropped, so nothing else can ever be signed. */}}
{{- define "saguard.helmCertificate" -}}
{{- if not (hasKey . "certificate") -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (include "saguard.certificateSecret" .) -}}
{{- $data := dict -}}
{{- if $secret -}}{{- $data = default dict $secret.data -}}{{- end -}}
{{- if and (hasKey $data "ca.crt") (hasKey $data "tls.crt") (hasKey $data "tls.key") -}}
{{- $_ := set . "certificate" (dict "ca" (index $data "ca.crt") "crt" (index $data "tls.crt") "key" (index $data "tls.key")) -}}
{{- else -}}
{{- $host := include "saguard.serviceHost" . -}}
{{- $ca := genCAWithKey (printf "%s CA" (include "saguard.fullname" .)) 3650 (genPrivateKey "ecdsa") -}}
{{- $names := list $host (printf "%s.cluster.local" $host) -}}
{{- $cert := genSignedCertWithKey (trunc 63 $host) nil $names 3650 $ca (genPrivateKey "ecdsa") -}}
{{- $_ := set . "certificate" (dict "ca" (b64enc $ca.Cert) "crt" (b64enc $cert.Cert) "key" (b64enc $cert.Key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses combinations that the schema cannot, before anything is installed. */}}
{{- define "saguard.validate" -}}
{{- if .Values.webhook.url -}}
{{- if eq .Values.certificates.source "helm" -}}
{{- fail "certificates.source: helm makes a certificate for the Service only; with webhook.url choose secret or certManager" -}}
{{- end -}}
{{- if not (or .Values.webhook.caBundle (eq .Values.certificates.source "selfRotating")) -}}
{{- fail "webhook.caBundle: needed with webhook.url" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "secret") (not .Values.webhook.caBundle) -}}
{{- fail "webhook.caBundle: needed with certificates.source secret" -}}
{{- end -}}
{{- if eq .Values.certificates.source "selfRotating" -}}
{{- if .Values.webhook.caBundle -}}
{{- fail "webhook.caBundle: with certificates.source selfRotating the webhook fills it in" -}}
{{- end -}}
{{- if .Values.webhook.clientCAName -}}
{{- fail "webhook.clientCAName: with certificates.source selfRotating there is no Secret of yours; give webhook.clientCA" -}}
{{- end -}}
{{- if .Values.certificates.secretName -}}
{{- fail "certificates.secretName: with certificates.source selfRotating the Secret's name is the chart's" -}}
{{- end -}}
{{- end -}}
{{- with .Values.webhook.clientCA -}}
{{- if gt (len (compact (list .configMapName .secretName $.Values.webhook.clientCAName))) 1 -}}
{{- fail "webhook.clientCA.configMapName, webhook.clientCA.secretName, webhook.clientCAName: give one of them" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.webhook.clientNames (not (or .Values.webhook.clientCAName (include "saguard.clientCA" .))) -}}
{{- fail "webhook.clientNames: needs webhook.clientCA or webhook.clientCAName" -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "helm") .Values.webhook.caBundle -}}
{{- fail "webhook.caBundle: certificates.source helm makes its own; choose secret or certManager" -}}
{{- end -}}
{{- if eq .Release.Namespace "kube-system" -}}
{{- fail "the release's namespace is never sent to the webhook: give saguard one of its own, not kube-system" -}}
{{- end -}}
{{- end -}}

{{/* Annotations by which cert-manager fills in caBundle. Takes the root. */}}
{{- define "saguard.injectAnnotations" -}}
{{- if and (eq .Values.certificates.source "certManager") (not .Values.webhook.caBundle) -}}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "saguard.fullname" . }}
{{- end -}}
{{- end -}}

{{/* clientConfig of a webhook. Takes a dict of root and path. */}}
{{- define "saguard.clientConfig" -}}
{{- with .root -}}
{{- if .Values.webhook.url -}}
url: {{ printf "%s%s" (trimSuffix "/" .Values.webhook.url) $.path | quote }}
{{- else -}}
service:
  name: {{ include "saguard.fullname" . }}
  namespace: {{ .Release.Namespace }}
  path: {{ $.path }}
  port: 443
{{- end }}
{{- if .Values.webhook.caBundle }}
caBundle: {{ b64enc .Values.webhook.caBundle }}
{{- else if eq .Values.certificates.source "helm" }}
caBundle: {{ include "saguard.helmBundle" . }}
{{- else if eq .Values.certificates.source "selfRotating" }}
{{- /* The field is the webhook's, and no tool that applies what is rendered here touches it. Only Helm 3 takes a field away that
       the release before had set, as with another source: so Helm sets it to what it is. */}}
{{- with include "saguard.liveBundle" . }}
caBundle: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* namespaceSelector of the webhooks on namespaced objects. */}}
{{- define "saguard.namespaceSelector" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ concat (list "kube-system" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq | toJson }}
{{- end -}}

{{/* matchCondition that spares DELETE by the namespace controller, whatever state the webhook is in. */}}
{{- define "saguard.namespaceDeletion" -}}
{{- with .Values.webhook.namespaceDeleters -}}
- name: not-namespace-deletion
  expression: >-
    request.operation != 'DELETE' ||
    !(request.userInfo.?username.orValue('') in {{ toJson . }})
{{- end -}}
{{- end -}}

{{/* CEL: whether an update of a service account changes what saguard guards. Absent and null maps never err. */}}
{{- define "saguard.labelsChanged" -}}
object.metadata.?labels != oldObject.metadata.?labels ||
object.metadata.?annotations[?'saguard.io/labelled-by'] != oldObject.metadata.?annotations[?'saguard.io/labelled-by']
{{- end -}}

{{/* Fields that every validating webhook has in common. Takes the root. */}}
{{- define "saguard.validating" -}}
admissionReviewVersions: [v1]
clientConfig:
  {{- include "saguard.clientConfig" (dict "root" . "path" "/validate") | nindent 2 }}
failurePolicy: {{ include "saguard.failurePolicy" (dict "root" . "kind" "validating") }}
matchPolicy: Equivalent
sideEffects: None
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
namespaceSelector:
  {{- include "saguard.namespaceSelector" . | nindent 2 }}
objectSelector: {}
{{- end -}}

{{/* matchCondition that spares what a built-in controller makes of a pod template: whoever wrote the template was judged,
     and pods are made again while no replica of the webhook answers, its own network among them. The webhook knows the
     same list (internal/identity/builtin.go); what a controller manager without --use-service-account-credentials makes
     is sent, and passes there. */}}
{{- define "saguard.notMadeOfTemplate" -}}
- name: not-made-of-a-template
  expression: >-
    request.operation != 'CREATE' ||
    !object.?metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) &&
    [request.userInfo.?username.orValue(''), request.resource.resource, string(o.apiVersion), string(o.kind)] in [
    {{- $own := "system:serviceaccount:kube-system:" }}
    {{- $made := list
        (list "replicaset-controller" "pods" "apps/v1" "ReplicaSet")
        (list "replication-controller" "pods" "v1" "ReplicationController")
        (list "daemon-set-controller" "pods" "apps/v1" "DaemonSet")
        (list "daemon-set-controller" "controllerrevisions" "apps/v1" "DaemonSet")
        (list "statefulset-controller" "pods" "apps/v1" "StatefulSet")
        (list "statefulset-controller" "controllerrevisions" "apps/v1" "StatefulSet")
        (list "job-controller" "pods" "batch/v1" "Job")
        (list "deployment-controller" "replicasets" "apps/v1" "Deployment")
        (list "cronjob-controller" "jobs" "batch/v1" "CronJob") }}
    {{- range $i, $m := $made }}
    ['{{ $own }}{{ index $m 0 }}', '{{ index $m 1 }}', '{{ index $m 2 }}', '{{ index $m 3 }}']{{ if lt (add1 $i) (len $made) }},{{ end }}
    {{- end }}
    ])
{{- end -}}

{{/* CEL: whether an object carries a label that nobody may write. */}}
{{- define "saguard.hasReservedLabel" -}}
object.metadata.?labels.orValue({}).exists(k, k.startsWith('pcsa.') || k.startsWith('pcns.') || k in [
'projectcalico.org/serviceaccount', 'projectcalico.org/namespace', 'projectcalico.org/name', 'projectcalico.org/orchestrator'])
{{- end -}}
