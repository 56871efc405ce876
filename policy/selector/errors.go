package selector

import (
	"errors"
	"fmt"
)

// Sentinels for errors.Is on what [Parse] and the constructors return.
var (
	// ErrSyntax: the text is not in Calico's grammar. Always a [*SyntaxError].
	ErrSyntax = errors.New("selector syntax")
	// ErrLimit: the text may be a selector, but is longer or deeper than the
	// [Limits] allow. Always a [*LimitError].
	ErrLimit = errors.New("selector limit")
	// ErrLiteral: a key or value given to a constructor cannot be written in
	// the language, which has no escapes. Always a [*LiteralError].
	ErrLiteral = errors.New("selector literal")
)

// SyntaxError says where a selector stops being one and what would have been
// right there.
type SyntaxError struct {
	Offset   int    // byte offset into the text, 0-based
	Expected string // what would have been accepted there
	Found    string // what is there, shortened; "" at the end of the text
}

// Error implements error.
func (e *SyntaxError) Error() string {
	found := "the end"
	if e.Found != "" {
		found = fmt.Sprintf("%q", e.Found)
	}
	return fmt.Sprintf("at byte %d: expected %s, found %s", e.Offset, e.Expected, found)
}

// Is makes every SyntaxError an [ErrSyntax].
func (e *SyntaxError) Is(target error) bool { return target == ErrSyntax }

// LimitError names the limit that a selector exceeds.
type LimitError struct {
	What   string // "length" in bytes or "depth" in open parentheses
	Limit  int    // the most that is allowed
	Offset int    // byte offset of what is too much, 0-based
}

// Error implements error.
func (e *LimitError) Error() string {
	unit := "bytes"
	if e.What == whatDepth {
		unit = "nested parentheses"
	}
	return fmt.Sprintf("at byte %d: more than %d %s", e.Offset, e.Limit, unit)
}

// Is makes every LimitError an [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// LiteralError is a key or value that no selector text can express.
type LiteralError struct {
	Key   string // the key of the test
	Value string // the value at fault; "" if the key is
}

// Error implements error.
func (e *LiteralError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("key %q is not 1 to %d characters of A-Z a-z 0-9 _ . / -", shorten(e.Key), MaxKeyLength)
	}
	return fmt.Sprintf("value %q of key %q contains both kinds of quotes", shorten(e.Value), e.Key)
}

// Is makes every LiteralError an [ErrLiteral].
func (e *LiteralError) Is(target error) bool { return target == ErrLiteral }

const (
	whatLength = "length"
	whatDepth  = "depth"
	// shown is how much of a user's text an error repeats, in bytes.
	shown = 24
)

func shorten(s string) string {
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "..."
}
