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
)

// ErrFindings is returned by commands that found something and have already printed it.
var ErrFindings = errors.New("there are findings")

// ExitCode returns the process's exit code for what a command returned.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrFindings):
		return ExitFindings
	default:
		return ExitError
	}
}

// ErrorText is what to tell the user of an error; "" if it has been told. Names in it come from files and clusters, and can hold what a
// terminal would obey.
func ErrorText(err error) string {
	if err == nil || errors.Is(err, ErrFindings) {
		return ""
	}
	return "error: " + printers.EscapeTerminal(err.Error())
}
