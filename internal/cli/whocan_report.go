package cli

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/rbac"
)

// apiVersion is of the results that the commands print as JSON and YAML. They are no objects of an API server.
const apiVersion = "cli.saguard.io/v1alpha1"

// whoCanReport is the result of who-can.
type whoCanReport struct {
	metav1.TypeMeta `json:",inline"`
	Question        whoCanQuestion `json:"question"`
	Holders         []whoCanHolder `json:"holders"`
}

type whoCanQuestion struct {
	Verb        string `json:"verb"`
	APIGroup    string `json:"apiGroup"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
	// Namespace is absent if the question was cluster-wide.
	Namespace string `json:"namespace,omitempty"`
	// ResourceNames are the spellings of which a holder's rule has one, or no resourceNames at all.
	ResourceNames []string `json:"resourceNames,omitempty"`
	// CanI asks the API server whether the caller holds the first of them.
	CanI string `json:"canI"`
}

type whoCanHolder struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Account is the one service account that the holder's grant is bound to; absent if it holds for all.
	Account string `json:"account,omitempty"`
	// Binding, Role and Rule (index in the role's rules) are absent for system:masters, whom the API server lets pass before RBAC.
	Binding *objectName `json:"binding,omitempty"`
	Role    *objectName `json:"role,omitempty"`
	Rule    *int        `json:"rule,omitempty"`
}

// whoCan answers "who can". Of a label that is asked for without an account, grants bound to one account are listed too, with that
// account: to leave them out would say that their holders cannot put the label anywhere.
func whoCan(o *rbacObjects, p permission, namespace string) *whoCanReport {
	index, questions := indexOf(o), p.questions(namespace)
	q := questions[0]
	r := &whoCanReport{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "WhoCan"},
		Question: whoCanQuestion{
			Verb: q.Verb, APIGroup: q.Group, Resource: q.Resource, Subresource: q.Subresource, Namespace: namespace,
			CanI: q.CanI(),
		},
	}
	for _, q := range questions {
		if !q.Name.IsUnrestricted() {
			r.Question.ResourceNames = append(r.Question.ResourceNames, q.Name.Candidates()...)
		}
	}
	whole := map[rbacv1.Subject]bool{}
	for _, h := range holders(index, questions) {
		whole[h.Subject] = true
		r.Holders = append(r.Holders, newHolder(h, ""))
	}
	if p.kind == kindLabel && p.verb == rbac.VerbUse && p.account == "" {
		for _, account := range boundAccounts(o) {
			bound := p
			bound.account = account
			for _, h := range holders(index, bound.questions(namespace)) {
				if !whole[h.Subject] {
					r.Holders = append(r.Holders, newHolder(h, account))
				}
			}
		}
	}
	slices.SortStableFunc(r.Holders, func(a, b whoCanHolder) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Account, b.Account))
	})
	return r
}

// holders lists who is allowed any of the questions, each once, with what grants the first of them.
func holders(index *rbac.Index, questions []rbac.Question) []rbac.Holder {
	var out []rbac.Holder
	seen := map[rbacv1.Subject]bool{}
	for _, q := range questions {
		for _, h := range index.WhoCan(q) {
			if !seen[h.Subject] {
				seen[h.Subject] = true
				out = append(out, h)
			}
		}
	}
	return out
}

func newHolder(h rbac.Holder, account string) whoCanHolder {
	out := whoCanHolder{Kind: h.Subject.Kind, Namespace: h.Subject.Namespace, Name: h.Subject.Name, Account: account}
	if h.Grant.IsMasters() {
		return out
	}
	rule, roleNamespace := h.Grant.Rule, ""
	if h.Grant.RoleKind == rbac.KindRole {
		roleNamespace = h.Grant.BindingNamespace
	}
	out.Binding = &objectName{Kind: h.Grant.BindingKind, Namespace: h.Grant.BindingNamespace, Name: h.Grant.BindingName}
	out.Role = &objectName{Kind: h.Grant.RoleKind, Namespace: roleNamespace, Name: h.Grant.RoleName}
	out.Rule = &rule
	return out
}

// boundAccounts returns the accounts that some resourceName of a label grant is bound to, sorted.
func boundAccounts(o *rbacObjects) []string {
	accounts := map[string]bool{}
	collect := func(rules []rbacv1.PolicyRule) {
		for i := range rules {
			for _, name := range rules[i].ResourceNames {
				if account, _, ok := strings.Cut(name, ":"); ok && account != "" {
					accounts[account] = true
				}
			}
		}
	}
	for i := range o.Roles {
		collect(o.Roles[i].Rules)
	}
	for i := range o.ClusterRoles {
		collect(o.ClusterRoles[i].Rules)
	}
	return slices.Sorted(maps.Keys(accounts))
}

func (r *whoCanReport) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Kind"), column("Name"), column("Binding"), column("Role"), column("Rule"),
	}}
	bound := slices.ContainsFunc(r.Holders, func(h whoCanHolder) bool { return h.Account != "" })
	if bound {
		t.ColumnDefinitions = slices.Insert(t.ColumnDefinitions, 2, column("Only on"))
	}
	for _, h := range r.Holders {
		name, rule, binding := h.Name, "-", h.Binding.String()
		if h.Namespace != "" {
			name = h.Namespace + "/" + name
		}
		if h.Rule != nil {
			rule = strconv.Itoa(*h.Rule)
		} else {
			binding = "(passes before RBAC)"
		}
		cells := []any{h.Kind, name, binding, h.Role.String(), rule}
		if bound {
			cells = slices.Insert(cells, 2, any(cmp.Or(h.Account, "-")))
		}
		t.Rows = append(t.Rows, row(cells...))
	}
	return t
}

// boundNotes say who holds the permission on one account only.
func (r *whoCanReport) boundNotes() []string {
	var out []string
	for _, h := range r.Holders {
		if h.Account != "" {
			out = append(out, h.Kind+" "+h.Name+" holds it on service account "+h.Account+" only")
		}
	}
	return out
}

// names are what grant's flags take: user/NAME, group/NAME, serviceaccount/NAMESPACE:NAME.
func (r *whoCanReport) names() []string {
	var out []string
	for _, h := range r.Holders {
		name := h.Name
		if h.Namespace != "" {
			name = h.Namespace + ":" + name
		}
		out = append(out, strings.ToLower(h.Kind)+"/"+name)
	}
	return slices.Compact(out)
}
