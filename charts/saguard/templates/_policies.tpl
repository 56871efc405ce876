{{/* Rules for the Calico objects that policies are made of, in the group that users write and in Calico's store. Takes a
     dict of resources and operations. */}}
{{- define "saguard.calicoRules" -}}
{{- $in := . -}}
{{- range $gv := list (list "projectcalico.org" "v3") (list "crd.projectcalico.org" "v1") }}
- apiGroups: [{{ index $gv 0 }}]
  apiVersions: [{{ index $gv 1 }}]
  operations: {{ toJson $in.operations }}
  resources: {{ toJson $in.resources }}
  scope: "*"
{{- end }}
{{- end -}}

{{/* Validating webhooks for Calico's policies, and for what policies take for endpoints. Updates of status and metadata are
     not sent: finalizers and owners must not wait for the webhook. */}}
{{- define "saguard.policies.validating" -}}
- name: policies.validate.saguard.io
  {{- include "saguard.validating" . | nindent 2 }}
  rules:
    {{- include "saguard.calicoRules" (dict "operations" (list "CREATE" "UPDATE" "DELETE")
        "resources" (list "networkpolicies" "globalnetworkpolicies" "stagednetworkpolicies" "stagedglobalnetworkpolicies")) | nindent 4 }}
  matchConditions:
    - name: spec-changed
      expression: >-
        request.operation != 'UPDATE' ||
        object.?spec != oldObject.?spec
    {{- with include "saguard.namespaceDeletion" . }}
    {{- . | nindent 4 }}
    {{- end }}
- name: endpoints.validate.saguard.io
  {{- include "saguard.validating" . | nindent 2 }}
  rules:
    {{- include "saguard.calicoRules" (dict "operations" (list "CREATE" "UPDATE")
        "resources" (list "networksets" "globalnetworksets" "hostendpoints")) | nindent 4 }}
  matchConditions:
    - name: labels-changed
      expression: >-
        request.operation != 'UPDATE' ||
        object.metadata.?labels != oldObject.metadata.?labels ||
        object.metadata.?annotations[?'projectcalico.org/metadata'] != oldObject.metadata.?annotations[?'projectcalico.org/metadata'] ||
        object.?spec.?profiles != oldObject.?spec.?profiles
{{- end -}}

{{/* Mutating webhook for Calico's policies, where users write them. */}}
{{- define "saguard.policies.mutating" -}}
- name: policies.mutate.saguard.io
  admissionReviewVersions: [v1]
  clientConfig:
    {{- include "saguard.clientConfig" (dict "root" . "path" "/mutate") | nindent 4 }}
  failurePolicy: {{ include "saguard.failurePolicy" (dict "root" . "kind" "mutating") }}
  matchPolicy: Equivalent
  reinvocationPolicy: IfNeeded
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
  namespaceSelector:
    {{- include "saguard.namespaceSelector" . | nindent 4 }}
  objectSelector: {}
  rules:
    - apiGroups: [projectcalico.org]
      apiVersions: [v3]
      operations: [CREATE, UPDATE]
      resources: [networkpolicies, globalnetworkpolicies, stagednetworkpolicies, stagedglobalnetworkpolicies]
      scope: "*"
  matchConditions:
    - name: spec-changed
      expression: >-
        request.operation != 'UPDATE' ||
        object.?spec != oldObject.?spec
{{- end -}}
