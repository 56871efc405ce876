{{/* Rules of a FlowSchema for every request for resources by a service account. Takes a dict of name and namespace. */}}
{{- define "saguard.allRequestsOf" -}}
- subjects:
    - kind: ServiceAccount
      serviceAccount:
        name: {{ .name }}
        namespace: {{ .namespace }}
  resourceRules:
    - apiGroups: ["*"]
      resources: ["*"]
      verbs: ["*"]
      namespaces: ["*"]
      clusterScope: true
{{- end -}}
