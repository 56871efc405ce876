package cli

import (
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/saguard/saguard/rbac"
)

// rbacFromManifests takes the RBAC objects out of manifests, adds those that every cluster has and files seldom
// hold, and aggregates ClusterRoles as the cluster's controller would. Namespaced objects without a namespace go to namespace, as `kubectl apply -n` would put
// them. notes are for the user; others counts the objects that are not RBAC.
func rbacFromManifests(manifests []manifest, namespace string) (o *rbacObjects, others int, notes []string, err error) {
	o = &rbacObjects{}
	var errs []error
	seen := map[string]string{}
	for _, m := range manifests {
		gvk := m.GroupVersionKind()
		if gvk.Group != rbacv1.GroupName {
			others++
			continue
		}
		if gvk.Version != rbacv1.SchemeGroupVersion.Version {
			errs = append(errs, fmt.Errorf("%s: %s: apiVersion %s is not served any more: write %s", m.source, m.describe(), m.GetAPIVersion(), rbacv1.SchemeGroupVersion))
			continue
		}
		namespaced := gvk.Kind == rbac.KindRole || gvk.Kind == rbac.KindRoleBinding
		if namespaced && m.GetNamespace() == "" {
			if namespace == "" {
				errs = append(errs, fmt.Errorf("%s: %s has no namespace: write one, or say which with -n", m.source, m.describe()))
				continue
			}
			m = manifest{Unstructured: m.DeepCopy(), source: m.source}
			m.SetNamespace(namespace)
			notes = append(notes, fmt.Sprintf("%s: %s has no namespace in the file", m.source, m.describe()))
		}
		if first, twice := seen[m.describe()]; twice {
			errs = append(errs, fmt.Errorf("%s: %s is also in %s", m.source, m.describe(), first))
			continue
		}
		seen[m.describe()] = m.source
		if err := addRBAC(o, m); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", m.source, m.describe(), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, others, notes, err
	}
	more, err := addBuiltinRoles(o)
	if err != nil {
		return nil, others, notes, err
	}
	notes = append(notes, more...)
	if o.ClusterRoles, err = rbac.Aggregate(o.ClusterRoles); err != nil {
		return nil, others, notes, fmt.Errorf("aggregate ClusterRoles: %w", err)
	}
	return o, others, append(notes, dangling(o)...), nil
}

// addRBAC decodes strictly: of a misspelt resourceNames the API server would make a rule without any.
func addRBAC(o *rbacObjects, m manifest) error {
	var err error
	switch kind := m.GetKind(); kind {
	case rbac.KindRole:
		o.Roles, err = appendDecoded(o.Roles, m)
	case rbac.KindClusterRole:
		o.ClusterRoles, err = appendDecoded(o.ClusterRoles, m)
	case rbac.KindRoleBinding:
		o.RoleBindings, err = appendDecoded(o.RoleBindings, m)
	case rbac.KindClusterRoleBinding:
		o.ClusterRoleBindings, err = appendDecoded(o.ClusterRoleBindings, m)
	default:
		err = fmt.Errorf("unknown kind %s of group %s", kind, rbacv1.GroupName)
	}
	return err
}

func appendDecoded[T any](list []T, m manifest) ([]T, error) {
	var object T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(m.Object, &object, true); err != nil {
		return list, fmt.Errorf("decode: %w", err)
	}
	return append(list, object), nil
}

func appendConverted[T any](list []T, o *unstructured.Unstructured) ([]T, error) {
	var object T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &object); err != nil {
		return list, fmt.Errorf("decode: %w", err)
	}
	return append(list, object), nil
}
