package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

var errNotNet = errors.New("not an IP address or CIDR")

// Calico writes these in the place of all() and global().
const (
	hasNamespace = "has(" + LabelNamespace + ")"
	hasAccount   = "has(" + LabelServiceAccount + ")"
)

// reader parses the parts of one policy. Whatever does not parse becomes an error, and has one of three effects: strict
// rows mark what is being read as broken (it becomes deny-all); in Calico's reading the part is left out, or the policy
// is absent.
type reader struct {
	sem       Semantics
	namespace string // of the policy, "" if global
	// unbounded: the selectors were made of a Kubernetes policy, for which Kubernetes itself sets the bounds.
	unbounded bool
	errs      field.ErrorList

	broken bool // what is being read did not parse, strictly
	absent bool // Calico drops the whole policy
}

// fail records err, for a part that Calico leaves out.
func (r *reader) fail(row Semantics, err *field.Error) {
	r.errs = append(r.errs, err)
	if r.sem.strict(row) {
		r.broken = true
	}
}

// drop records err, for a part without which Calico drops the policy (felix/calc/validation_filter.go).
func (r *reader) drop(row Semantics, err *field.Error) {
	r.fail(row, err)
	if !r.sem.strict(row) {
		r.absent = true
	}
}

// selector parses a selector of the object. With an error comes the row that decides on it: that of the syntax, and s is
// nil, or that of the bounds.
func (r *reader) selector(path *field.Path, text string) (s *selector.Selector, row Semantics, err *field.Error) {
	s, perr := selector.ParseLimits(text, selector.CalicoLimits())
	if perr != nil {
		return nil, rowSelectorSyntax, field.Invalid(path, text, perr.Error())
	}
	if _, perr := selector.Parse(text); perr != nil && !r.unbounded {
		return s, rowSelectorBounds, field.Invalid(path, text, perr.Error())
	}
	return s, 0, nil
}

// required checks a selector without which Calico drops the policy.
func (r *reader) required(path *field.Path, text string) {
	s, row, err := r.selector(path, text)
	switch {
	case err == nil:
	case s == nil:
		r.drop(row, err)
	default:
		r.fail(row, err)
	}
}

// prefixed is the canonical text of a selector with prefix before every key; "" if it does not parse
// (updateprocessors/selectors.go).
func prefixed(text, prefix string) string {
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		return ""
	}
	return s.PrefixKeys(prefix).String()
}

// checkEntity reports everything in an EntityRule that does not parse. The conversion leaves a bad namespaceSelector or
// serviceAccounts.selector out (hole F3), but Felix then validates the original texts as well, and drops the policy
// (libcalico-go/lib/backend/model/rule.go, the validate tags of OriginalSrcServiceAccountSelector and its like).
func (r *reader) checkEntity(path *field.Path, in *v3.EntityRule) {
	r.required(path.Child("selector"), in.Selector)
	r.required(path.Child("notSelector"), in.NotSelector)
	r.required(path.Child("namespaceSelector"), in.NamespaceSelector)
	if sa := in.ServiceAccounts; sa != nil {
		at := path.Child("serviceAccounts")
		r.required(at.Child("selector"), sa.Selector)
		for i, name := range sa.Names {
			if why := validation.IsDNS1123Subdomain(name); len(why) > 0 {
				r.fail(rowAccountName, field.Invalid(at.Child("names").Index(i), name, strings.Join(why, "; ")))
			}
		}
	}
	if in.Services != nil {
		r.fail(rowServices, field.Forbidden(path.Child("services"), "services are not supported"))
	}
}

// entity builds the condition on one end. The selector is put together as text, as Calico does, and then parsed, because
// that is where its holes are; each part has been checked before, so in strict semantics the text is safe to paste.
func (r *reader) entity(path *field.Path, in *v3.EntityRule, reading Reading) Entity {
	e := Entity{}
	positive, negative := r.entityText(in, reading), in.NotSelector
	if positive != "" && negative != "" {
		// felix/calc/rule_scanner.go: a positive selector confines the rule to endpoints, so the negative one filters them.
		positive, negative = fmt.Sprintf("(%s) && (!(%s))", positive, negative), ""
	}
	accounts := in.ServiceAccounts != nil
	e.Set = r.set(path, positive, accounts, reading)
	e.NotSet = r.set(path, negative, false, reading.opposite())
	if accounts {
		e.AccountNames = slices.Clone(in.ServiceAccounts.Names)
		e.AccountSelector = parsedOrNil(in.ServiceAccounts.Selector)
	}
	e.NamespaceSelector = parsedOrNil(in.NamespaceSelector)
	return e
}

func parsedOrNil(text string) *selector.Selector {
	if text == "" {
		return nil
	}
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		return nil
	}
	return s
}

// set parses the compiled text. If that fails although its parts were checked, it cannot be a prediction either: the
// policy is absent in Calico's reading, and the rule broken in the strict one.
func (r *reader) set(path *field.Path, text string, accounts bool, reading Reading) *Set {
	if text == "" {
		return nil
	}
	s, err := selector.ParseLimits(text, selector.CalicoLimits())
	if err != nil {
		if !r.broken && !r.absent {
			r.drop(rowSelectorSyntax, field.Invalid(path, text, err.Error()))
		}
		return nil
	}
	return &Set{Selector: s, Accounts: accounts || ReadsAccounts(s), Reading: reading}
}

// entityText is updateprocessors/rules.go (getEndpointSelector): namespace, accounts and selector in one.
func (r *reader) entityText(in *v3.EntityRule, reading Reading) string {
	namespace := ""
	switch {
	case in.NamespaceSelector != "":
		namespace = prefixed(in.NamespaceSelector, PrefixNamespace)
		namespace = strings.ReplaceAll(namespace, "all()", hasNamespace)
		namespace = strings.ReplaceAll(namespace, "global()", "!"+hasNamespace)
	case r.namespace != "":
		namespace = fmt.Sprintf("%s == '%s'", LabelNamespace, r.namespace)
	}
	var parts []string
	if text := accountText(in.ServiceAccounts, reading == ReadingCertain && r.sem.strict(rowEmptyAccounts)); text != "" {
		parts = append(parts, text)
	}
	if in.Selector != "" {
		parts = append(parts, in.Selector)
	}
	text := strings.Join(parts, ") && (")
	if len(parts) > 1 {
		text = "(" + text + ")"
	}
	switch {
	case namespace == "" || text == "" && in.NotSelector == "" && in.NamespaceSelector == "":
		return text
	case text == "":
		return namespace
	}
	return fmt.Sprintf("(%s) && (%s)", namespace, text)
}

// accountText is updateprocessors/rules.go (parseServiceAccounts). An empty match is no condition there; where empty
// is true it is "has an account".
func accountText(in *v3.ServiceAccountMatch, empty bool) string {
	if in == nil {
		return ""
	}
	if in.Selector == "" && len(in.Names) == 0 {
		if empty {
			return hasAccount
		}
		return ""
	}
	text := ""
	if in.Selector != "" {
		text = prefixed(in.Selector, PrefixServiceAccount)
	}
	if len(in.Names) == 0 {
		return text
	}
	names, err := selector.ParseLimits(
		fmt.Sprintf("%s in { '%s' }", LabelServiceAccount, strings.Join(in.Names, "', '")), selector.CalicoLimits())
	if err != nil {
		return ""
	}
	if text == "" {
		return names.String()
	}
	return fmt.Sprintf("(%s) && (%s)", text, names)
}

// opposite is the reading of what is excluded.
func (r Reading) opposite() Reading {
	switch r {
	case ReadingCertain:
		return ReadingPossible
	case ReadingPossible:
		return ReadingCertain
	default:
		return r
	}
}
