package authz

import "strings"

// maxPath is the longest path in bytes that strict semantics compare. Envoy's own default for all headers together is
// 60 KiB.
const maxPath = 64 << 10

// normalize brings a path into the one form in which paths are compared, as Calico's checker does since April 2026
// (app-policy/checker/match.go): query and fragment cut, percent escapes decoded once, backslashes taken for slashes, matrix
// parameters dropped, empty, "." and ".." segments resolved, no slash at the end. ok is false for what different servers
// read in different ways: bad escapes, a NUL, and escapes of '.', '/' and '\' that are left after decoding; with strict, any
// escape that is left. Such a path matches no rule (fails closed: only Allow rules have paths).
func normalize(path string, strict bool) (normal string, ok bool) {
	if strict && len(path) > maxPath {
		return "", false
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	if clean(path) {
		return path, true
	}
	path, ok = decodeOnce(path)
	if !ok || strings.IndexByte(path, 0) >= 0 || doubleEncoded(path, strict) {
		return "", false
	}
	return resolve(strings.ReplaceAll(path, `\`, "/")), true
}

// clean reports whether a path is in its normal form already, so that nothing needs to be allocated. It may say no to one
// that is.
func clean(path string) bool {
	if path == "/" {
		return true
	}
	if path == "" || path[0] != '/' || path[len(path)-1] == '/' {
		return false
	}
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '%', '\\', ';', 0:
			return false
		case '/':
			if path[i+1] == '/' || path[i+1] == '.' { // there is a next byte: the last one is no slash
				return false
			}
		}
	}
	return true
}

// decodeOnce decodes percent escapes. ok is false for one that is none.
func decodeOnce(s string) (decoded string, ok bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		b, ok := escape(s[i:])
		if !ok {
			return "", false
		}
		out = append(out, b)
		i += 2
	}
	return string(out), true
}

// escape reads the escape at the beginning of s.
func escape(s string) (b byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	high, ok1 := hex(s[1])
	low, ok2 := hex(s[2])
	return high<<4 | low, ok1 && ok2
}

func hex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// doubleEncoded reports whether escapes are left that a second decoding would turn into something else.
func doubleEncoded(s string, strict bool) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		b, ok := escape(s[i:])
		if ok && (strict || b == '.' || b == '/' || b == '\\') {
			return true
		}
	}
	return false
}

// resolve drops matrix parameters and resolves segments; nothing leads out of the root.
func resolve(path string) string {
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			if len(segments) > 0 {
				segments = segments[:len(segments)-1]
			}
		default:
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/")
}

// under reports whether path is prefix or below it, segment by segment. Both are normal.
func under(path, prefix string) bool {
	if prefix == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
