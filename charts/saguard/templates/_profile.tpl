{{/* The failure policy of a kind of webhooks, "validating" or "mutating": what was given, else the profile's. Takes a dict of
     root and kind. */}}
{{- define "saguard.failurePolicy" -}}
{{- with get .root.Values.webhook.failurePolicy .kind -}}
{{- . -}}
{{- else -}}
{{- ternary "Ignore" "Fail" (eq .root.Values.profile "audit-only") -}}
{{- end -}}
{{- end -}}

{{/* The spec of the profile's guard with what was given laid over it. */}}
{{- define "saguard.guardSpec" -}}
{{- $spec := .Files.Get (printf "files/guards/%s.yaml" .Values.profile) | fromYaml -}}
{{- mergeOverwrite $spec (deepCopy .Values.guard.spec) | toYaml -}}
{{- end -}}

{{/* "true" where Helm talks to a cluster: not for `helm template`, nor for tools that render as it does. */}}
{{- define "saguard.live" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}true{{- end -}}
{{- end -}}
