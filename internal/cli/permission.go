package cli

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/saguard/saguard/rbac"
)

// permissionKind is what a permission is about, in the words of the command line.
type permissionKind string

const (
	kindLabel   permissionKind = "label"
	kindAccount permissionKind = "account"
	kindBand    permissionKind = "band"
)

// permission is VERB KIND NAME as the command line says it, checked.
type permission struct {
	verb string
	kind permissionKind
	// name of the account or band; "" for any.
	name string
	// key and value of a label. A value "*" is any value; a key PREFIX/* is any key of the prefix; a key "" is any label.
	key, value string
	// account is the one service account that a label permission is about; "" for none in particular.
	account string
}

func parseKind(s string) (permissionKind, error) {
	switch strings.ToLower(s) {
	case "label", "labels":
		return kindLabel, nil
	case "account", "accounts", "serviceaccount", "serviceaccounts", "sa":
		return kindAccount, nil
	case "band", "bands", "policyband", "policybands":
		return kindBand, nil
	default:
		return "", fmt.Errorf("kind %q: want label, account or band", s)
	}
}

// parsePermission checks VERB KIND NAME and --account. Each error says what would be right.
func parsePermission(verb, kind, name, account string) (permission, error) {
	k, err := parseKind(kind)
	if err != nil {
		return permission{}, err
	}
	switch {
	case verb != rbac.VerbUse && verb != rbac.VerbBind:
		return permission{}, fmt.Errorf("verb %q: want use (put a label on, run as an account, place policy in a band) or bind (write policy that refers to it)", verb)
	case k == kindBand && verb == rbac.VerbBind:
		return permission{}, fmt.Errorf("verb bind: bands are used, not bound: try %q", "use band "+name)
	case account != "" && k != kindLabel:
		return permission{}, fmt.Errorf("--account: goes with labels only; to speak of an account itself: %q", verb+" account "+account)
	case account != "" && verb == rbac.VerbBind:
		return permission{}, fmt.Errorf("--account: goes with use only; policy selects every account with the label, so bind cannot be limited to one")
	case name == "":
		return permission{}, fmt.Errorf("empty name: for any %s write '*'", k)
	}
	p := permission{verb: verb, kind: k, account: account}
	if account != "" {
		if err := checkName("--account", account, validation.IsDNS1123Subdomain(account)); err != nil {
			return permission{}, err
		}
	}
	if k == kindLabel {
		p.key, p.value, err = parseLabel(name)
		return p, err
	}
	if name == "*" {
		return p, nil
	}
	p.name = name
	return p, checkName(string(k), name, validation.IsDNS1123Subdomain(name))
}

// parseLabel reads KEY=VALUE, KEY=*, PREFIX/* and *.
func parseLabel(s string) (key, value string, err error) {
	if s == "*" {
		return "", "*", nil
	}
	if prefix, ok := strings.CutSuffix(s, "/*"); ok && !strings.Contains(prefix, "=") {
		return s, "*", checkName("label prefix", prefix, validation.IsDNS1123Subdomain(prefix))
	}
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", fmt.Errorf("label %q: want KEY=VALUE, or KEY=* for any value, or PREFIX/* for any key of a prefix", s)
	}
	if account, rest, ok := strings.Cut(key, ":"); ok {
		return "", "", fmt.Errorf("label %q: for one account only, write: %s=%s --account %s", s, rest, value, account)
	}
	if err := checkName("label key", key, validation.IsQualifiedName(key)); err != nil {
		return "", "", err
	}
	if value == "*" {
		return key, value, nil
	}
	return key, value, checkName("label value", value, validation.IsValidLabelValue(value))
}

func checkName(what, name string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s %q: %s", what, name, strings.Join(problems, "; "))
}

// resourceName is the entry of resourceNames that grants p; "" for a rule without resourceNames.
func (p permission) resourceName() string {
	if p.kind != kindLabel {
		return p.name
	}
	name := p.key
	switch {
	case p.key == "" && p.account == "":
		return ""
	case p.key == "":
		name = "*"
	case !strings.HasSuffix(p.key, "/*"):
		name = p.key + "=" + p.value
	}
	if p.account != "" {
		return p.account + ":" + name
	}
	return name
}

// grantQuestion is the question whose literal name a Role must hold, and that `kubectl auth can-i` answers literally.
func (p permission) grantQuestion(namespace string) rbac.Question {
	q := p.questions(namespace)[0]
	q.Name = rbac.Exact(p.resourceName())
	return q
}

// questions are what saguard asks when p is needed: who is allowed any one of them holds p.
func (p permission) questions(namespace string) []rbac.Question {
	switch p.kind {
	case kindAccount:
		if p.verb == rbac.VerbBind {
			return []rbac.Question{rbac.BindAccount(namespace, p.name)}
		}
		return []rbac.Question{rbac.UseAccount(namespace, p.name)}
	case kindBand:
		return []rbac.Question{rbac.UseBand(namespace, p.name)}
	default:
		var out []rbac.Question
		for _, name := range p.labelNames() {
			out = append(out, rbac.Question{
				Verb: p.verb, Resource: rbac.ResourceServiceAccounts, Subresource: rbac.SubresourceLabels,
				Namespace: namespace, Name: name,
			})
		}
		return out
	}
}

// labelNames are the names of which one must be granted for p, the narrowest first.
func (p permission) labelNames() []rbac.Name {
	if p.key != "" && !strings.HasSuffix(p.key, "/*") {
		// Of a value "*", the candidates of Label are KEY=*, PREFIX/* and these bound to the account: what every value answers to.
		return []rbac.Name{rbac.Label(p.account, p.key, p.value)}
	}
	names := []rbac.Name{rbac.Exact(p.key)}
	if p.account != "" {
		names = append(names, rbac.Exact(p.resourceName()))
		if all := rbac.Exact(p.account + ":*"); all != names[1] {
			names = append(names, all)
		}
	}
	return names
}
