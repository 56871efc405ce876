package hygiene

import (
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

const maxAccountNames = 256 // as nets and notNets in Calico's CRDs

// Positive tests that every pod passes and nothing else does.
const (
	hasAccountName  = "has(projectcalico.org/name)"           // in an account selector
	hasAccountLabel = "has(projectcalico.org/serviceaccount)" // in a plain selector
)

// accounts refuses what makes one end of a rule wider than it reads. plain and
// accounts are the parsed selector and serviceAccounts.selector, nil if they do
// not parse, which is an error already.
func (c *checker) accounts(path *field.Path, e *v3.EntityRule, plain, accounts *selector.Selector) {
	if sa := e.ServiceAccounts; sa != nil {
		c.accountNames(path, sa.Names)
		switch {
		case len(sa.Names) > 0: // a name is a positive test
		case sa.Selector == "":
			c.strict(DivergenceAccountsEmpty, field.Required(path.Child("serviceAccounts"), "names or selector: left empty it matches any peer"))
		case accounts != nil && accounts.MatchesUnlabelled():
			c.strict(DivergenceAccountsNegative, negative(path.Child("serviceAccounts", "selector"), sa.Selector, hasAccountName))
		}
	}
	c.plainNegative(path, e.Selector, plain)

	byPlain := plain != nil && slices.ContainsFunc(plain.Keys(), readsAccount)
	if e.ServiceAccounts == nil && !byPlain {
		return
	}
	switch {
	case onlyGlobal(e.NamespaceSelector):
		c.strict(DivergenceAccountsUnscoped, field.Invalid(path.Child("namespaceSelector"), e.NamespaceSelector, "what is in no namespace has no service account"))
	case !c.global || strings.Trim(e.NamespaceSelector, " \t") != "":
	case plain != nil && slices.ContainsFunc(plain.Keys(), readsNamespace):
	default:
		c.strict(DivergenceAccountsUnscoped, field.Required(path.Child("namespaceSelector"),
			"a global policy that matches service accounts says in which namespaces; all() for all of them"))
	}
}

// plainNegative finds an account selector in a plain one (hole F7): all it reads
// is labels of accounts and of namespaces. One that reads pod labels as well
// may mean what it says.
func (c *checker) plainNegative(parent *field.Path, text string, s *selector.Selector) {
	if s == nil {
		return
	}
	keys := s.Keys()
	if !slices.ContainsFunc(keys, readsAccount) ||
		slices.ContainsFunc(keys, func(k string) bool { return !readsAccount(k) && !readsNamespace(k) }) {
		return
	}
	if possibleWithoutAccount(s.Root(), false) {
		c.strict(DivergenceAccountsNegative, negative(parent.Child("selector"), text, hasAccountLabel))
	}
}

// possibleWithoutAccount: can n, negated or not, be true of something without
// an account in some namespace? Tests of namespaces can, whatever they say.
func possibleWithoutAccount(n *selector.Node, negate bool) bool {
	possible := func(o *selector.Node) bool { return possibleWithoutAccount(o, negate) }
	switch kind := n.Kind(); {
	case kind == selector.KindNot:
		return possibleWithoutAccount(n.Operands()[0], !negate)
	case kind == selector.KindAnd && !negate, kind == selector.KindOr && negate:
		return !slices.ContainsFunc(n.Operands(), func(o *selector.Node) bool { return !possible(o) })
	case kind == selector.KindAnd, kind == selector.KindOr:
		return slices.ContainsFunc(n.Operands(), possible)
	case readsNamespace(n.Key()):
		return true
	default:
		absent := kind == selector.KindNe || kind == selector.KindNotIn || kind == selector.KindAll || kind == selector.KindGlobal
		return absent != negate
	}
}

func (c *checker) accountNames(entity *field.Path, names []string) {
	if len(names) == 0 {
		return
	}
	path := entity.Child("serviceAccounts", "names")
	if len(names) > maxAccountNames {
		c.strict(DivergenceAccountCount, field.TooMany(path, len(names), maxAccountNames))
	}
	seen := sets.New[string]()
	for i, n := range names {
		if seen.Has(n) {
			c.fail(field.Duplicate(path.Index(i), brief(n)))
		}
		seen.Insert(n)
		for _, why := range validation.IsDNS1123Subdomain(n) {
			c.strict(DivergenceAccountName, field.Invalid(path.Index(i), brief(n), "not a service account's name: "+why))
		}
	}
}

// Label keys that Calico derives (libcalico-go/lib/backend/k8s/conversion).
func readsAccount(key string) bool {
	return key == "projectcalico.org/serviceaccount" || strings.HasPrefix(key, "pcsa.")
}

func readsNamespace(key string) bool {
	return key == "projectcalico.org/namespace" || strings.HasPrefix(key, "pcns.")
}

func negative(path *field.Path, text, positive string) *field.Error {
	return field.Invalid(path, brief(text), "is true of what has no service account, such as network sets and host endpoints; "+
		"add a positive test, for instance "+positive)
}
