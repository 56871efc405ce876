{{/* Parts of the safety net: CEL that the API server evaluates itself. Two laws shape all of it.

     No expression may err and none may exceed its budget: under failurePolicy Ignore an error lets the request pass, and
     an exceeded budget takes back even what other expressions of the policy have denied. So the number of permissions that
     are asked for is bounded beforehand, and what is beyond the bound is denied in words. One question costs 350,000; an
     expression has 1,000,000, a binding 10,000,000 and all match conditions 2,500,000
     (k8s.io/apiserver pkg/apis/cel/config.go, pkg/cel/library/cost.go).

     Nothing may be denied that the webhook allows. So every expression says what a check of the webhook says, and where
     it cannot know, it passes. */}}

{{/* Name of a policy and of its binding. Takes the short name. */}}
{{- define "saguard.net.name" -}}
{{ . }}.safety-net.saguard.io
{{- end -}}

{{- define "saguard.net.labels" -}}
{{- merge (dict "app.kubernetes.io/component" "safety-net") (include "saguard.labels" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* The binding of a policy. Takes a dict of root, name, action and guards: whether every guard is a parameter. Without any
     guard there is nothing to judge, and everything passes. */}}
{{- define "saguard.net.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "saguard.net.name" .name }}
  labels:
    {{- include "saguard.net.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "saguard.net.name" .name }}
  validationActions: [{{ .action }}]
  {{- if .guards }}
  paramRef:
    selector: {}
    parameterNotFoundAction: Allow
  {{- end }}
{{- end -}}

{{- define "saguard.net.user" -}}
request.userInfo.?username.orValue('')
{{- end -}}

{{/* Whether a section of the guard has the mode and the guard does not exempt the user: internal/guard. No mode, and one that
     nobody knows, is Enforce. Takes a dict of section and mode. */}}
{{- define "saguard.net.judged" -}}
has(params.spec.{{ .section }}) &&
{{- if eq .mode "Enforce" }}
!(params.spec.{{ .section }}.?mode.orValue('Enforce') in ['Audit', 'Off', 'Warn']) &&
{{- else }}
params.spec.{{ .section }}.?mode.orValue('Enforce') == '{{ .mode }}' &&
{{- end }}
!({{ include "saguard.net.user" . }} in params.spec.?exempt.?users.orValue([])) &&
!request.userInfo.?groups.orValue([]).exists(g, g in params.spec.?exempt.?groups.orValue([]))
{{- end -}}

{{/* Variable: whether the guard's namespaceSelector holds here. One that does not parse holds everywhere, as in the webhook. */}}
{{- define "saguard.net.holds" -}}
- name: namespaceLabels
  expression: namespaceObject.metadata.?labels.orValue({})
- name: requirements
  expression: params.spec.?namespaceSelector.?matchExpressions.orValue([])
- name: holds
  expression: >-
    variables.requirements.exists(r, !(r.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']) ||
    (r.operator in ['In', 'NotIn']) != (r.?values.orValue([]).size() > 0)) ||
    (params.spec.?namespaceSelector.?matchLabels.orValue({}).all(k,
    k in variables.namespaceLabels && variables.namespaceLabels[k] == params.spec.namespaceSelector.matchLabels[k]) &&
    variables.requirements.all(r,
    r.operator == 'In' ? r.key in variables.namespaceLabels && variables.namespaceLabels[r.key] in r.values :
    r.operator == 'NotIn' ? !(r.key in variables.namespaceLabels && variables.namespaceLabels[r.key] in r.values) :
    (r.key in variables.namespaceLabels) == (r.operator == 'Exists')))
{{- end -}}

{{/* The pod template of an object, as an optional; of a Pod, the pod itself. Takes the name of the object's variable. */}}
{{- define "saguard.net.template" -}}
(request.resource.resource == 'pods' ? optional.of(dyn({{ . }})) :
request.resource.resource == 'podtemplates' ? dyn({{ . }}).?template :
request.resource.resource == 'cronjobs' ? dyn({{ . }}).?spec.?jobTemplate.?spec.?template :
dyn({{ . }}).?spec.?template)
{{- end -}}

{{/* The account that a pod template names: serviceAccountName, else its deprecated alias, else default. Takes an optional
     template. */}}
{{- define "saguard.net.account" -}}
[string({{ . }}.?spec.?serviceAccountName.orValue('')), string({{ . }}.?spec.?serviceAccount.orValue('')), 'default'].filter(n, n != '')[0]
{{- end -}}

{{/* Images of a pod's containers. Takes the name of the object's variable. */}}
{{- define "saguard.net.images" -}}
[dyn({{ . }}).spec.?containers.orValue([]).map(c, c.?image.orValue('')), dyn({{ . }}).spec.?initContainers.orValue([]).map(c, c.?image.orValue(''))]
{{- end -}}

{{/* Rules for the built-in kinds that hold a pod template which the API server knows: webhook/templates.go. Takes operations. */}}
{{- define "saguard.net.templateRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: {{ toJson . }}
  resources: [podtemplates, replicationcontrollers]
  scope: Namespaced
- apiGroups: [apps]
  apiVersions: [v1]
  operations: {{ toJson . }}
  resources: [daemonsets, deployments, replicasets, statefulsets]
  scope: Namespaced
- apiGroups: [batch]
  apiVersions: [v1]
  operations: {{ toJson . }}
  resources: [cronjobs, jobs]
  scope: Namespaced
{{- end -}}

{{/* CEL: whether a built-in controller makes the object of a template whose writer was judged: internal/identity/builtin.go. */}}
{{- define "saguard.net.madeOfTemplate" -}}
{{- $user := include "saguard.net.user" . -}}
{{- $own := "system:serviceaccount:kube-system:" -}}
{{- $made := list
    (list "replicaset-controller" "pods" "apps/ReplicaSet")
    (list "replication-controller" "pods" "/ReplicationController")
    (list "daemon-set-controller" "pods" "apps/DaemonSet")
    (list "statefulset-controller" "pods" "apps/StatefulSet")
    (list "job-controller" "pods" "batch/Job")
    (list "persistent-volume-binder" "pods" "/")
    (list "deployment-controller" "replicasets" "apps/Deployment")
    (list "cronjob-controller" "jobs" "batch/CronJob") -}}
request.operation == 'CREATE' && {{ $user }}.startsWith('system:') &&
[{{ $user }}, request.resource.resource,
(object.?metadata.?ownerReferences.orValue([]).filter(o, o.?controller.orValue(false))
.map(o, (string(o.apiVersion).contains('/') ? string(o.apiVersion).split('/')[0] : '') + '/' + string(o.kind)) + ['/'])[0]] in [
{{- range $i, $m := $made }}
['{{ $own }}{{ index $m 0 }}', '{{ index $m 1 }}', '{{ index $m 2 }}'],
['system:kube-controller-manager', '{{ index $m 1 }}', '{{ index $m 2 }}']{{ if lt (add1 $i) (len $made) }},{{ end }}
{{- end }}
]
{{- end -}}

{{/* CEL: whether the user is a kubelet. */}}
{{- define "saguard.net.isNode" -}}
({{ include "saguard.net.user" . }}.startsWith('system:node:') && 'system:nodes' in request.userInfo.?groups.orValue([]))
{{- end -}}

{{/* CEL: whether a kubelet shows a pod of its node's own manifests, which has no account. */}}
{{- define "saguard.net.isMirror" -}}
request.resource.resource == 'pods' && {{ include "saguard.net.isNode" . }} &&
dyn(object).spec.?nodeName.orValue('') != '' &&
'system:node:' + dyn(object).spec.?nodeName.orValue('') == {{ include "saguard.net.user" . }} &&
object.metadata.?annotations[?'kubernetes.io/config.mirror'].hasValue() &&
dyn(object).spec.?serviceAccountName.orValue('') + dyn(object).spec.?serviceAccount.orValue('') == ''
{{- end -}}

{{/* Users of the control plane that make, scale and delete what the release's namespace holds, each by its exact name, and
     saguard's own accounts: a matchCondition. Kubelets end pods. */}}
{{- define "saguard.net.notTheControlPlane" -}}
{{- $own := list (printf "system:serviceaccount:%s:%s" .Release.Namespace (include "saguard.serviceAccountName" .))
    (printf "system:serviceaccount:%s:%s" .Release.Namespace (include "saguard.net.unregister" .)) -}}
{{- if .Values.agent.enabled -}}
{{- $own = append $own (printf "system:serviceaccount:%s:%s" .Release.Namespace (include "saguard.agentServiceAccountName" .)) -}}
{{- end -}}
{{- $controllers := list "daemon-set-controller" "deployment-controller" "generic-garbage-collector" "namespace-controller" "node-controller"
    "pod-garbage-collector" "replicaset-controller" -}}
{{- $users := list "system:kube-controller-manager" "system:kube-scheduler" -}}
{{- range $controllers -}}
{{- $users = append $users (printf "system:serviceaccount:kube-system:%s" .) -}}
{{- end -}}
- name: not-the-control-plane
  expression: >-
    !({{ include "saguard.net.user" . }} in {{ concat $users $own .Values.webhook.namespaceDeleters | uniq | toJson }})
{{- end -}}

{{/* CEL: whether the user may change saguard itself. */}}
{{- define "saguard.net.mayChangeSaguard" -}}
authorizer.group('saguard.io').resource('serviceaccountguards').check('escalate').allowed()
{{- end -}}

{{/* CEL: what differs in an update besides bookkeeping. Owners count: the garbage collector deletes what belongs to nobody. Where
     cert-manager fills in caBundle, that alone is no change. */}}
{{- define "saguard.net.changes" -}}
(['aggregationRule', 'automountServiceAccountToken', 'data', 'imagePullSecrets', 'immutable', 'roleRef', 'rules', 'secrets', 'spec',
'subjects', 'type'{{ if not (include "saguard.injectAnnotations" .) }}, 'webhooks'{{ end }}].exists(f, dyn(object)[?f] != dyn(oldObject)[?f]) ||
{{- if include "saguard.injectAnnotations" . }}
(dyn(object).metadata.?name.orValue('') in ['validate.saguard.io', 'mutate.saguard.io'] && !(
dyn(object).?webhooks.orValue([]).size() == dyn(oldObject).?webhooks.orValue([]).size() &&
dyn(object).?webhooks.orValue([]).all(w, dyn(oldObject).?webhooks.orValue([]).exists(o, w.name == o.name &&
['admissionReviewVersions', 'failurePolicy', 'matchConditions', 'matchPolicy', 'namespaceSelector', 'objectSelector', 'reinvocationPolicy', 'rules',
'sideEffects', 'timeoutSeconds'].all(f, w[?f] == o[?f]) &&
w.clientConfig.?service == o.clientConfig.?service && w.clientConfig.?url == o.clientConfig.?url)))) ||
{{- end }}
object.metadata.?labels != oldObject.metadata.?labels || object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences)
{{- end -}}

{{/* The account of the hook that deletes the webhook configurations before an uninstallation. */}}
{{- define "saguard.net.unregister" -}}
{{ include "saguard.fullname" . }}-unregister
{{- end -}}
