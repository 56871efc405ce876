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
{{- else -}}
{{- include "saguard.fullname" . }}-tls
{{- end -}}
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
{{- if not .Values.webhook.caBundle -}}
{{- fail "webhook.caBundle: needed with webhook.url" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.certificates.source "secret") (not .Values.webhook.caBundle) -}}
{{- fail "webhook.caBundle: needed with certificates.source secret" -}}
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
{{- include "saguard.helmCertificate" . }}
caBundle: {{ .certificate.ca }}
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
failurePolicy: {{ .Values.webhook.failurePolicy.validating }}
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
