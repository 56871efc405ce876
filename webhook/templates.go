package webhook

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// BuiltinTemplate says where objects of a built-in kind hold the pod template that somebody makes pods of.
type BuiltinTemplate struct {
	Group, Resource, Kind string
	// Path is of the template inside the object; empty where the object is the pod itself.
	Path []string
	// Opaque says that the API server knows no schema of what is there.
	Opaque bool
}

// BuiltinTemplates returns every built-in kind that holds a pod template. There is none that is left out on purpose: a kind
// of a newer Kubernetes that is not listed is one that account-use does not see yet.
func BuiltinTemplates() []BuiltinTemplate {
	template := []string{"spec", "template"}
	return []BuiltinTemplate{
		{Resource: "pods", Kind: "Pod"},
		{Resource: "podtemplates", Kind: "PodTemplate", Path: []string{"template"}},
		{Resource: "replicationcontrollers", Kind: "ReplicationController", Path: template},
		// The StatefulSet controller makes pods of a revision's patch while an update is under way.
		{Group: "apps", Resource: "controllerrevisions", Kind: "ControllerRevision", Path: []string{"data", "spec", "template"}, Opaque: true},
		{Group: "apps", Resource: "daemonsets", Kind: "DaemonSet", Path: template},
		{Group: "apps", Resource: "deployments", Kind: "Deployment", Path: template},
		{Group: "apps", Resource: "replicasets", Kind: "ReplicaSet", Path: template},
		{Group: "apps", Resource: "statefulsets", Kind: "StatefulSet", Path: template},
		{Group: "batch", Resource: "cronjobs", Kind: "CronJob", Path: []string{"spec", "jobTemplate", "spec", "template"}},
		{Group: "batch", Resource: "jobs", Kind: "Job", Path: template},
	}
}

// IgnoredWorkloadSubresources do not write the pod template; the chart sends none. Another subresource of a kind of BuiltinTemplates, beside
// those of pods, is refused by check account-use (fails closed).
func IgnoredWorkloadSubresources() []string { return []string{"scale", "status"} }

//nolint:gochecknoglobals // BuiltinTemplates by resource, never changed: it is looked up for every request
var builtinTemplates = func() map[schema.GroupResource]BuiltinTemplate {
	all := map[schema.GroupResource]BuiltinTemplate{}
	for _, b := range BuiltinTemplates() {
		all[schema.GroupResource{Group: b.Group, Resource: b.Resource}] = b
	}
	return all
}()

func builtinTemplate(gr schema.GroupResource) (BuiltinTemplate, bool) {
	b, ok := builtinTemplates[gr]
	return b, ok
}

// template is one pod template of the request's object; of a Pod, the pod itself, at the root.
type template struct {
	// path is nil for a Pod; spec is the path of the pod spec.
	path, spec *field.Path
	// now is what the request asks for; was is what stood there before, nil where nothing did.
	now, was *podView
	// changed says that what runs may differ from what ran before.
	changed bool
	// bare says that the pod spec stands at path itself, without metadata.
	bare bool
	// partial says that now is a patch of a template that is not in the object.
	partial bool
	// unreadable says why now cannot be read as a pod template; now is nil then.
	unreadable error
}
