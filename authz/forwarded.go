package authz

import "strings"

// HeaderForwardedClientCert is the header that [ConfigOptions.ForwardedClientCert] is about, as Envoy spells it.
const HeaderForwardedClientCert = "x-forwarded-client-cert"

// maxForwarded is the longest such header that is read, in bytes; a chain of certificates fits.
const maxForwarded = 32 << 10

// notOne is a principal that no certificate can have; it reads as malformed.
const notOne = "x-forwarded-client-cert: want one element with one URI"

// principal is the identity that the proxy vouches for: the connection's own, or, where there is none and the configuration
// says so, the one that the proxy forwards.
func (c *Config) principal(r *Request) string {
	if r.Source.Principal != "" || !c.forwarded || r.HTTP == nil {
		return r.Source.Principal
	}
	header, ok := r.HTTP.Headers[HeaderForwardedClientCert]
	if !ok || header == "" {
		return ""
	}
	return forwardedURI(header)
}

// forwardedURI returns the URI of a header with one element and one URI in it. A sanitising proxy sends no other (Envoy's
// SANITIZE_SET): where there are several, a client may have written some of them, and the identity is malformed (fails
// closed).
func forwardedURI(header string) string {
	if len(header) > maxForwarded {
		return notOne
	}
	uri, found := "", false
	for rest := header; rest != ""; {
		pair, end, more := nextPair(rest)
		if end == ',' || more == "" && end != 0 {
			return notOne
		}
		rest = more
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return notOne
		}
		if !strings.EqualFold(strings.TrimSpace(key), "URI") {
			continue
		}
		value, ok = unquote(value)
		if found || !ok {
			return notOne
		}
		uri, found = value, true
	}
	if !found || uri == "" {
		return notOne
	}
	return uri
}

// nextPair cuts before the first semicolon or comma outside of quotes; end is that byte, 0 at the end of the text.
func nextPair(s string) (pair string, end byte, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ';', ',':
			if !quoted {
				return s[:i], s[i], s[i+1:]
			}
		}
	}
	return s, 0, ""
}

// unquote removes the quotes around a value. A SPIFFE ID needs no escapes: one is refused.
func unquote(s string) (string, bool) {
	if inner, ok := strings.CutPrefix(s, `"`); ok {
		inner, ok = strings.CutSuffix(inner, `"`)
		return inner, ok && !strings.ContainsAny(inner, `"\`)
	}
	return s, !strings.ContainsAny(s, `"\`)
}
