{{- define "saguard.agentName" -}}
{{ include "saguard.fullname" . }}-agent
{{- end -}}

{{/* Labels by which the agent's pods are selected: they never change over the life of a release. */}}
{{- define "saguard.agentSelectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{/* Labels of every object of the agent. */}}
{{- define "saguard.agentLabels" -}}
{{- merge (include "saguard.agentSelectorLabels" . | fromYaml) (include "saguard.labels" . | fromYaml) | toYaml -}}
{{- end -}}

{{- define "saguard.agentServiceAccountName" -}}
{{- if .Values.agent.serviceAccount.create -}}
{{- default (include "saguard.agentName" .) .Values.agent.serviceAccount.name -}}
{{- else -}}
{{- required "agent.serviceAccount.name: needed when agent.serviceAccount.create is false" .Values.agent.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "saguard.agentImage" -}}
{{- $agent := .Values.agent -}}
{{- with $agent.image.registry }}{{ . }}/{{ end -}}
{{- $agent.image.repository -}}
{{- if $agent.image.digest -}}
@{{ $agent.image.digest }}
{{- else -}}
:{{ default .Chart.AppVersion $agent.image.tag }}
{{- end -}}
{{- end -}}

{{/* "true" where the identity check is served on TCP. */}}
{{- define "saguard.identityCheckOverTCP" -}}
{{- $check := .Values.agent.identityCheck -}}
{{- if and .Values.agent.enabled $check.tcp.enabled -}}
{{- if not $check.trustDomains -}}
{{- fail "agent.identityCheck.tcp: needs agent.identityCheck.trustDomains" -}}
{{- end -}}
{{- if not $check.tcp.clients -}}
{{- fail "agent.identityCheck.tcp.clients: needed: without it nobody may ask" -}}
{{- end -}}
{{- $ports := list (int .Values.agent.metricsPort) (int .Values.agent.healthPort) (int $check.tcp.port) -}}
{{- if $check.tcp.jsonPort -}}
{{- $ports = append $ports (int $check.tcp.jsonPort) -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail "agent.identityCheck.tcp.port, jsonPort, agent.metricsPort, healthPort: two of them are the same" -}}
{{- end -}}
{{- $_ := required "agent.identityCheck.tcp.secretName: needed" $check.tcp.secretName -}}
{{- not .Values.agent.cleanup -}}
{{- else -}}
false
{{- end -}}
{{- end -}}
