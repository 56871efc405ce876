package rbac

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CanI returns the `kubectl auth can-i` line that asks the API server the same, in words a POSIX shell reads as they are
// (bash and zsh if the name has control characters). It names Name.String(): of a label the plain KEY=VALUE. RBAC takes that
// literally, so a subject whose grant is written KEY=* is answered "no" by kubectl and allowed by saguard.
func (q Question) CanI() string {
	resource := q.Resource
	// saguard's own resources are discoverable by their bare name; of any other group kubectl must be told.
	if q.Group != "" && q.Group != GroupSaguard && q.Resource != "*" {
		resource += "." + q.Group
	}
	if name := q.Name.String(); name != "" {
		resource += "/" + name
	}
	words := []string{"kubectl", "auth", "can-i", q.Verb, resource}
	if q.Subresource != "" {
		words = append(words, "--subresource="+q.Subresource)
	}
	if q.Namespace == "" {
		words = append(words, "-A")
	} else {
		words = append(words, "-n", q.Namespace)
	}
	for i, w := range words {
		words[i] = shellQuote(w)
	}
	return strings.Join(words, " ")
}

// shellQuote returns word so that a shell reads exactly word, and a terminal is sent no control character.
func shellQuote(word string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
	if word != "" && strings.Trim(word, safe) == "" {
		return word
	}
	// A bare U+FFFD is escaped byte by byte too: it prints like a broken byte and would hide which of the two it is.
	hidden := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(word, hidden) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(word); {
		r, size := utf8.DecodeRuneInString(word[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case hidden(r):
			for _, c := range []byte(word[i : i+size]) {
				// Three octal digits, always: \x takes as many hexadecimal digits as follow in some shells.
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteRune(r)
		}
		i += size
	}
	b.WriteByte('\'')
	return b.String()
}
