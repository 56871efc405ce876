package rbac

import "strings"

type nameKind uint8

const (
	exactName nameKind = iota
	labelName
	anyValueName
)

// Name says which entries of a rule's resourceNames answer a question. RBAC compares resourceNames literally; the stars below are
// saguard's convention: a Name stands for a short list of literal names, any one of which is enough.
//
// A Name is comparable. The zero Name is Exact(""): only rules without resourceNames answer it (fails closed).
type Name struct {
	kind           nameKind
	account        string
	key, value     string // value holds the whole name if kind is exactName
	keyPrefixSlash int    // length of the key up to and with its first "/"; 0 if it has none
}

// Exact is answered by name itself. Exact("") asks for everything: only rules without resourceNames answer it (and, as in the
// API server, a rule that lists the empty name).
func Exact(name string) Name { return Name{value: name} }

// Label is answered by KEY=VALUE, KEY=* and, if the key has a prefix, PREFIX/*. With an account (the name of a service
// account, no namespace) also by each of these behind "ACCOUNT:", and by "ACCOUNT:*".
//
// A key or account that could make one candidate read like another ("=" or ":" in the key; "=", ":" or "/" in the account) and
// an empty key cannot be a label of a service account. They give the zero Name, which only rules without resourceNames
// answer (fails closed).
func Label(account, key, value string) Name {
	if key == "" || strings.ContainsAny(key, "=:") || strings.ContainsAny(account, "=:/") {
		return Name{}
	}
	return Name{kind: labelName, account: account, key: key, value: value, keyPrefixSlash: prefixLength(key)}
}

// AnyValue is answered by KEY=* and, if the key has a prefix, PREFIX/*: by those who may act for every value of the key.
// Malformed keys are treated as by Label.
func AnyValue(key string) Name {
	if key == "" || strings.ContainsAny(key, "=:") {
		return Name{}
	}
	return Name{kind: anyValueName, key: key, keyPrefixSlash: prefixLength(key)}
}

func prefixLength(key string) int {
	if i := strings.IndexByte(key, '/'); i > 0 {
		return i + 1
	}
	return 0
}

// Matches reports whether resourceName, one entry of a rule's resourceNames, answers n: whether it is one of n.Candidates().
// It does not allocate.
func (n *Name) Matches(resourceName string) bool {
	if n.kind == exactName {
		return resourceName == n.value
	}
	if n.matchesPlain(resourceName) {
		return true
	}
	if n.account == "" || len(resourceName) <= len(n.account) || resourceName[len(n.account)] != ':' ||
		resourceName[:len(n.account)] != n.account {
		return false
	}
	bound := resourceName[len(n.account)+1:]
	return bound == "*" || n.matchesPlain(bound)
}

// matchesPlain compares with KEY=VALUE, KEY=* and PREFIX/*.
func (n *Name) matchesPlain(s string) bool {
	if len(s) > len(n.key) && s[len(n.key)] == '=' && s[:len(n.key)] == n.key {
		value := s[len(n.key)+1:]
		return value == "*" || n.kind == labelName && value == n.value
	}
	p := n.keyPrefixSlash
	return p > 0 && len(s) == p+1 && s[p] == '*' && s[:p] == n.key[:p]
}

// Candidates returns the literal names any one of which answers n, in a fixed order: the plain ones before those bound to an
// account, the exact ones before the wide. There is always at least one, at most seven.
func (n Name) Candidates() []string {
	if n.kind == exactName {
		return []string{n.value}
	}
	plain := make([]string, 0, 7)
	if n.kind == labelName {
		plain = append(plain, n.key+"="+n.value)
	}
	if any := n.key + "=*"; len(plain) == 0 || plain[0] != any {
		plain = append(plain, any)
	}
	if n.keyPrefixSlash > 0 {
		plain = append(plain, n.key[:n.keyPrefixSlash]+"*")
	}
	if n.account == "" {
		return plain
	}
	all := plain
	for _, p := range plain {
		all = append(all, n.account+":"+p)
	}
	return append(all, n.account+":*")
}

// IsUnrestricted reports that only rules without resourceNames answer n.
func (n Name) IsUnrestricted() bool { return n.kind == exactName && n.value == "" }

// String returns the first candidate: the name itself, KEY=VALUE or KEY=*; "" if n is unrestricted.
func (n Name) String() string {
	switch n.kind {
	case labelName:
		return n.key + "=" + n.value
	case anyValueName:
		return n.key + "=*"
	default:
		return n.value
	}
}
