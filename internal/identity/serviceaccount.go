// Package identity holds the parsed, comparable names of who acts: service accounts and request subjects.
package identity

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The user name and groups that the API server gives a service account's token
// (k8s.io/apiserver/pkg/authentication/serviceaccount).
const (
	serviceAccountUserPrefix  = "system:serviceaccount:"
	serviceAccountGroupPrefix = "system:serviceaccounts:"

	// AllServiceAccounts is the group of every service account of the cluster.
	AllServiceAccounts = "system:serviceaccounts"
)

// ErrNotServiceAccount says that a name is not that of a service account.
var ErrNotServiceAccount = errors.New("not a service account")

// ServiceAccount names one service account. It is comparable; its zero value names nothing (IsZero).
type ServiceAccount struct {
	namespace, name string
}

// NewServiceAccount returns the account, or an error that wraps ErrNotServiceAccount unless namespace is a DNS-1123 label
// and name a DNS-1123 subdomain, as the API server requires of the objects.
func NewServiceAccount(namespace, name string) (ServiceAccount, error) {
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return ServiceAccount{}, ErrNotServiceAccount
	}
	return ServiceAccount{namespace: namespace, name: name}, nil
}

// ParseUsername parses "system:serviceaccount:NAMESPACE:NAME"; any other user name gives ErrNotServiceAccount.
func ParseUsername(user string) (ServiceAccount, error) {
	rest, ok := strings.CutPrefix(user, serviceAccountUserPrefix)
	if !ok {
		return ServiceAccount{}, ErrNotServiceAccount
	}
	namespace, name, ok := strings.Cut(rest, ":")
	if !ok {
		return ServiceAccount{}, ErrNotServiceAccount
	}
	return NewServiceAccount(namespace, name)
}

// Namespace returns the account's namespace.
func (a ServiceAccount) Namespace() string { return a.namespace }

// Name returns the account's name.
func (a ServiceAccount) Name() string { return a.name }

// IsZero reports that a names nothing.
func (a ServiceAccount) IsZero() bool { return a == ServiceAccount{} }

// String returns "namespace/name".
func (a ServiceAccount) String() string { return a.namespace + "/" + a.name }

// Username returns the user name of the account's tokens.
func (a ServiceAccount) Username() string {
	return serviceAccountUserPrefix + a.namespace + ":" + a.name
}

// Groups returns the groups that the API server gives the account's tokens, without system:authenticated.
func (a ServiceAccount) Groups() []string {
	return []string{AllServiceAccounts, serviceAccountGroupPrefix + a.namespace}
}
