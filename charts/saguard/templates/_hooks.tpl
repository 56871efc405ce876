{{/* Metadata of a hook's object, which Helm deletes before it makes it anew. Takes a dict of root, hook (its phase), name,
     weight, delete (further policies of deletion) and cluster (whether it has no namespace). */}}
{{- define "saguard.hookMetadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "saguard.hookLabels" . | nindent 2 }}
annotations:
  helm.sh/hook: {{ .hook }}
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: {{ prepend .delete "before-hook-creation" | join "," }}
{{- end -}}

{{/* The component is the hook's, so that neither the Service nor the NetworkPolicy take its pods for the webhook's. */}}
{{- define "saguard.hookLabels" -}}
{{- merge (dict "app.kubernetes.io/component" .hook) (include "saguard.labels" .root | fromYaml) | toYaml -}}
{{- end -}}

{{/* The account of a hook with its one permission, all gone when the hook has ended. Takes a dict of root, hook, name and
     rules. */}}
{{- define "saguard.hookAccount" -}}
{{- $gone := list "hook-succeeded" "hook-failed" -}}
{{- $cluster := dict "root" .root "hook" .hook "name" .name "weight" -10 "delete" $gone "cluster" true -}}
{{- $namespaced := dict "root" .root "hook" .hook "name" .name "weight" -10 "delete" $gone -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "saguard.hookMetadata" $namespaced | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "saguard.hookMetadata" $cluster | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "saguard.hookMetadata" $cluster | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* Spec of a hook's pod. Takes a dict of root, name and command. */}}
{{- define "saguard.hookPodSpec" -}}
{{- $webhook := .root.Values.webhook -}}
{{- with .root.Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{ end -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
{{- with $webhook.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .command }}
    image: {{ include "saguard.image" .root | quote }}
    imagePullPolicy: {{ $webhook.image.pullPolicy }}
    args: [{{ .command }}, --timeout=60s]
    {{- with .root.Values.hooks.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $webhook.containerSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with $webhook.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $webhook.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
