package cli

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
)

// pageSize is how many objects a list request asks for at a time, as kubectl's --chunk-size.
const pageSize = 500

// rbacFromCluster lists the cluster's RBAC: of namespace, or of all namespaces if it is "", and what is cluster-wide.
func rbacFromCluster(ctx context.Context, c rbacclient.RbacV1Interface, namespace string) (*rbacObjects, error) {
	o := &rbacObjects{}
	lists := []struct {
		resource string
		page     func(metav1.ListOptions) (metav1.ListInterface, error)
	}{
		{"clusterroles", func(opts metav1.ListOptions) (metav1.ListInterface, error) {
			l, err := c.ClusterRoles().List(ctx, opts)
			if err == nil {
				o.ClusterRoles = append(o.ClusterRoles, l.Items...)
			}
			return l, err
		}},
		{"clusterrolebindings", func(opts metav1.ListOptions) (metav1.ListInterface, error) {
			l, err := c.ClusterRoleBindings().List(ctx, opts)
			if err == nil {
				o.ClusterRoleBindings = append(o.ClusterRoleBindings, l.Items...)
			}
			return l, err
		}},
		{"roles", func(opts metav1.ListOptions) (metav1.ListInterface, error) {
			l, err := c.Roles(namespace).List(ctx, opts)
			if err == nil {
				o.Roles = append(o.Roles, l.Items...)
			}
			return l, err
		}},
		{"rolebindings", func(opts metav1.ListOptions) (metav1.ListInterface, error) {
			l, err := c.RoleBindings(namespace).List(ctx, opts)
			if err == nil {
				o.RoleBindings = append(o.RoleBindings, l.Items...)
			}
			return l, err
		}},
	}
	for _, l := range lists {
		if err := pages(l.page); err != nil {
			return nil, listError(l.resource, namespace, err)
		}
	}
	return o, nil
}

// pages asks for page after page. A list that expires half-way is an error: half a list would be a misleading answer.
func pages(page func(metav1.ListOptions) (metav1.ListInterface, error)) error {
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		l, err := page(opts)
		if err != nil {
			return err
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return nil
		}
	}
}

// listError says what to do about a list that the user may not make.
func listError(resource, namespace string, err error) error {
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	where := "-A"
	if namespace != "" && (resource == "roles" || resource == "rolebindings") {
		where = "-n " + namespace
	}
	return fmt.Errorf("you may not list %s, so this cannot be answered from the cluster: ask for `kubectl auth can-i list %s.%s %s`, or give the RBAC as files: %w",
		resource, resource, rbacv1.GroupName, where, err)
}
