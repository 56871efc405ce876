// Command nodeinit is the first process of a test's node, see package node.
package main

import (
	"fmt"
	"os"

	"github.com/saguard/saguard/e2e/node/boot"
)

func main() {
	if err := boot.Run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "nodeinit:", err)
		os.Exit(1)
	}
}
