package reference

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/saguard/saguard/policy/selector"
)

// Labels under which selectors see service accounts (libcalico-go/lib/backend/k8s/conversion/constants.go).
const (
	keyAccount  = "projectcalico.org/serviceaccount" // an endpoint's own label: the account's name
	keyName     = "projectcalico.org/name"           // in an account or namespace selector: its name
	prefixLabel = "pcsa."                            // before the account's labels, on the endpoint
)

// Kind says how much a [Grant] covers. The zero kind is everything: it fails closed.
type Kind uint8

const (
	// Everything is any account, whatever its name and labels: of what cannot be read.
	Everything Kind = iota
	// AnyAccount is accounts of any name.
	AnyAccount
	// Account is the accounts called Value.
	Account
	// AnyLabel is accounts with any labels, or none.
	AnyLabel
	// AnyValue is accounts that have label Key.
	AnyValue
	// Label is accounts that have label Key=Value.
	Label
)

// Grant is a leaf of a reference's formula: a group of service accounts that somebody may refer to.
type Grant struct {
	Kind       Kind
	Key, Value string
}

// GrantOf says what a leaf of [Reference.Formula] is about.
func GrantOf(g selector.Grant) Grant {
	label, isLabel := strings.CutPrefix(g.Key, prefixLabel)
	switch {
	case g.Key == keyAccount, label == keyName && isLabel:
		if g.Kind == selector.GrantValue {
			return Grant{Kind: Account, Value: g.Value}
		}
		return Grant{Kind: AnyAccount}
	case !isLabel:
		return Grant{}
	case g.Kind == selector.GrantValue && label != "":
		return Grant{Kind: Label, Key: label, Value: g.Value}
	case g.Kind == selector.GrantAnyValue && label != "":
		return Grant{Kind: AnyValue, Key: label}
	default:
		return Grant{Kind: AnyLabel}
	}
}

// String returns words for messages: "service account web", "service accounts labelled role=intern". Bytes that do not
// print are quoted.
func (g Grant) String() string {
	switch g.Kind {
	case Account:
		return "service account " + printable(g.Value)
	case AnyAccount:
		return "service accounts of any name"
	case Label:
		return "service accounts labelled " + printable(g.Key+"="+g.Value)
	case AnyValue:
		return "service accounts that have label " + printable(g.Key)
	case AnyLabel:
		return "service accounts whatever their labels"
	case Everything:
	}
	return "any service accounts"
}

// wordsOf is at most most grants in words, for the formula's kind of and/or, and how many more there are.
func wordsOf(f selector.Formula) string {
	const most = 3
	var words []string
	more := 0
	var walk func(selector.Formula)
	walk = func(f selector.Formula) {
		if f.Op == selector.OpGrant {
			if len(words) < most {
				words = append(words, GrantOf(f.Grant).String())
			} else {
				more++
			}
		}
		for _, t := range f.Terms {
			walk(t)
		}
	}
	walk(f)
	text := strings.Join(words, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func printable(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}

// accountKey reports whether a selector over endpoints that reads key reads something of a service account.
func accountKey(key string) bool { return key == keyAccount || strings.HasPrefix(key, prefixLabel) }

// everything is the formula of what cannot be read.
func everything() selector.Formula { return selector.Formula{} }

// ofAccounts rewrites the formula of a selector over accounts into one over endpoints, as Calico prefixes its keys. all()
// becomes a test of the prefix alone, which no label has.
func ofAccounts(f selector.Formula) selector.Formula {
	if f.Op == selector.OpGrant {
		f.Grant.Key = prefixLabel + f.Grant.Key
		return f
	}
	terms := make([]selector.Formula, len(f.Terms))
	for i, t := range f.Terms {
		terms[i] = ofAccounts(t)
	}
	f.Terms = terms
	return f
}
