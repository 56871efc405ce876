//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "benchnode: needs Linux") //nolint:errcheck // there is nobody else to tell
	os.Exit(1)                                        //nolint:forbidigo // this is a command, for developers
}
