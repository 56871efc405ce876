package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/identity"
)

// subjectFlags are --user, --group and --serviceaccount, as in `kubectl create rolebinding`. --user hides the kubeconfig's flag of
// that name, as it does there.
type subjectFlags struct {
	users, groups, accounts []string
}

func (f *subjectFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.users, "user", nil, "User who is granted the permission; may be repeated.")
	fs.StringArrayVar(&f.groups, "group", nil, "Group that is granted the permission; may be repeated.")
	fs.StringArrayVar(&f.accounts, "serviceaccount", nil, "Service account, NAMESPACE:NAME, that is granted the permission; may be repeated.")
}

// parse returns the subjects, each once, in the order users, groups, service accounts.
func (f *subjectFlags) parse() ([]rbacv1.Subject, error) {
	var out []rbacv1.Subject
	seen := map[rbacv1.Subject]bool{}
	add := func(s rbacv1.Subject) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, u := range f.users {
		if u == "" {
			return nil, errors.New("--user: empty name")
		}
		add(rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: u})
	}
	for _, g := range f.groups {
		if g == "" {
			return nil, errors.New("--group: empty name")
		}
		add(rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: g})
	}
	for _, a := range f.accounts {
		namespace, name, _ := strings.Cut(a, ":")
		account, err := identity.NewServiceAccount(namespace, name)
		if err != nil {
			return nil, fmt.Errorf("--serviceaccount %q: want NAMESPACE:NAME", a)
		}
		add(rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace(), Name: account.Name()})
	}
	if len(out) == 0 {
		return nil, errors.New("say who: --user, --group or --serviceaccount NAMESPACE:NAME")
	}
	return out, nil
}
