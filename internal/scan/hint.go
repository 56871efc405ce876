package scan

import (
	"strings"

	"github.com/saguard/saguard/rbac"
)

// grantHint is the command that prints RBAC for a permission; "" where no command line can say it.
func grantHint(q rbac.Question) string {
	kind := ""
	switch {
	case q.Group == rbac.GroupSaguard && q.Resource == rbac.ResourcePolicyBands:
		kind = "band"
	case q.Group == "" && q.Resource == rbac.ResourceServiceAccounts && q.Subresource == "":
		kind = "account"
	case q.Group == "" && q.Resource == rbac.ResourceServiceAccounts && q.Subresource == rbac.SubresourceLabels:
		kind = "label"
	default:
		return ""
	}
	name := q.Name.String()
	if name == "" {
		name = "*"
	}
	quoted, ok := shellWord(name)
	if !ok {
		return ""
	}
	where := "--cluster-wide"
	if q.Namespace != "" {
		where = "-n " + q.Namespace
	}
	return "kubectl saguard grant " + q.Verb + " " + kind + " " + quoted + " " + where + " --user USER"
}

// shellWord quotes what a shell would take for more than a word; false for text that nobody can type.
func shellWord(s string) (string, bool) {
	plain := true
	for _, r := range s {
		switch {
		case r < ' ' || r == 0x7f || r > '~':
			return "", false
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_./=:@%+,", r):
		default:
			plain = false
		}
	}
	if plain {
		return s, true
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
}
