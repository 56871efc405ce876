// Package testenv decides what a test does on a machine that lacks something it needs: skip, or fail where the variable
// REQUIRE names it, as it does in CI. A test that was skipped proves nothing.
package testenv

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What a machine may lack, as REQUIRE names it.
const (
	// NetNS is the right to make network namespaces and nftables tables.
	NetNS = "netns"
	// Nodes is what real kubelets need: root, cgroups, Debian's containerd.
	Nodes = "nodes"
	// Chromium is a headless browser.
	Chromium = "chromium"
)

// Lacking skips the test because the machine lacks need, or fails it if the variable REQUIRE, a list separated by spaces or
// commas, names it.
func Lacking(tb testing.TB, need, why string) {
	tb.Helper()
	if required(os.Getenv("REQUIRE"), need) {
		tb.Fatalf("this machine lacks %s, which REQUIRE asks for: %s", need, why)
	}
	tb.Skipf("needs %s: %s", need, why)
}

func required(list, need string) bool {
	return slices.Contains(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), need)
}
