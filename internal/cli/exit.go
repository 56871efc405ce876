package cli

import (
	"errors"

	"k8s.io/cli-runtime/pkg/printers"
)

// Exit codes of the process.
const (
	ExitOK = 0
	// ExitError says that the command could not do what it was asked.
	ExitError = 1
	// ExitFindings says that the command did what it was asked and found something; scripts tell it from a failure.
	ExitFindings = 3

	// ExitDifferent and ExitTrouble are of diff alone, as of kubectl diff: 1 is that something differs, and what goes wrong
	// is more.
	ExitDifferent = 1
	ExitTrouble   = 2
)

// ErrFindings is returned by commands that found something and have already printed it.
var ErrFindings = errors.New("there are findings")

// ErrDifferences is returned by diff if something differs; it has printed what.
var ErrDifferences = errors.New("there are differences")

// trouble is an error of a command whose exit code 1 means something else.
type trouble struct{ error }

// Unwrap returns the error.
func (t trouble) Unwrap() error { return t.error }

// asTrouble marks an error so that the exit code is ExitTrouble; nil stays nil.
func asTrouble(err error) error {
	if err == nil {
		return nil
	}
	return trouble{err}
}

// ExitCode returns the process's exit code for what a command returned.
func ExitCode(err error) int {
	var t trouble
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &t):
		return ExitTrouble
	case errors.Is(err, ErrDifferences):
		return ExitDifferent
	case errors.Is(err, ErrFindings):
		return ExitFindings
	default:
		return ExitError
	}
}

// ErrorText is what to tell the user of an error; "" if it has been told. Names in it come from files and clusters, and can hold what a
// terminal would obey.
func ErrorText(err error) string {
	if err == nil || errors.Is(err, ErrFindings) || errors.Is(err, ErrDifferences) {
		return ""
	}
	return "error: " + printers.EscapeTerminal(err.Error())
}
