package webhook_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/saguard/saguard/webhook"
)

// podPaths returns the JSON paths at which a type holds a pod template, or a pod's own spec.
func podPaths(t reflect.Type, path []string, seen []reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[corev1.PodTemplateSpec]():
		return []string{strings.Join(path, ".")}
	case t == reflect.TypeFor[corev1.PodSpec]():
		return []string{strings.Join(path[:len(path)-1], ".")}
	case t.Kind() != reflect.Struct || slices.Contains(seen, t):
		return nil
	}
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		next := path
		if name != "" {
			next = append(slices.Clone(path), name)
		}
		out = append(out, podPaths(f.Type, next, append(seen, t))...)
	}
	return out
}

// Every kind of the Kubernetes client that holds a pod template, found by its Go type, is listed with the right path, and
// nothing else is. Groups that Kubernetes no longer serves are converted to those that it does.
func TestBuiltinTemplatesAreAllThereAre(t *testing.T) {
	served := map[string]string{"extensions": "apps"}
	found := map[schema.GroupKind]string{}
	for gvk, goType := range clientgoscheme.Scheme.AllKnownTypes() {
		if strings.HasSuffix(gvk.Kind, "List") {
			continue
		}
		group := gvk.Group
		if now, ok := served[group]; ok {
			group = now
		}
		for _, path := range podPaths(goType, nil, nil) {
			found[schema.GroupKind{Group: group, Kind: gvk.Kind}] = path
		}
	}
	for _, b := range webhook.BuiltinTemplates() {
		gk := schema.GroupKind{Group: b.Group, Kind: b.Kind}
		path, ok := found[gk]
		delete(found, gk)
		if b.Opaque {
			if ok {
				t.Errorf("%s is called opaque, but has a pod template at %s", gk, path)
			}
			continue
		}
		if want := strings.Join(b.Path, "."); !ok || path != want {
			t.Errorf("%s: the type has its template at %q (%v), the list at %q", gk, path, ok, want)
		}
	}
	for gk, path := range found {
		t.Errorf("%s has a pod template at %s and is not in BuiltinTemplates", gk, path)
	}
}
