package appliertest

import (
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/testenv"
)

// patience bounds every wait for something that has to happen; window is how long something that must not happen is waited
// for, after a packet sent later on the same way has arrived.
const (
	patience = 10 * time.Second
	window   = 10 * time.Millisecond
)

// Node is where an Applier works. All functions of a Backend are called on a thread that is in the node's network namespace.
type Node struct {
	// Name is that of the Kubernetes node. No two nodes of one process are in the same namespace.
	Name string
	// Dir is an empty folder of the node's own, for whatever outlives the process: it is the same for every Applier of the
	// node, and gone at the end of the test.
	Dir string
	// NetNS is the file descriptor of the node's network namespace.
	NetNS int
}

// Backend is an implementation of enforce.Applier as the suite drives it.
type Backend struct {
	// Name is what Applier.Name has to return.
	Name string
	// Open makes an Applier for the node, over whatever an earlier one left there.
	Open func(Node) (enforce.Applier, error)
	// Remove takes away all that Appliers left on the node, as `saguard-agent cleanup` does.
	Remove func(Node) error
	// Tampers are ways to damage the kernel's state, by what they do ("flush the table"). Each has to be noticed.
	Tampers map[string]func(Node) error
	// Objects counts the backend's kernel objects on the node: tables, chains, sets, elements, maps, links. Others may be
	// among them, as long as they are always the same. Optional.
	Objects func(Node) (int, error)
	// Skip names subtests that are left out, with the reason, which is logged. A backend that is done has none.
	Skip map[string]string
}

// Run holds a backend to everything that an Applier promises. It needs root and network namespaces; without, it skips the
// test unless the variable REQUIRE names netns. The variable APPLIERTEST_VOLUME multiplies what is repeated (1 if not set).
//
// The test has to call Run directly: the crash story starts the test binary again with -test.run set to the test's name, and
// Run is then the process that is killed.
func Run(t *testing.T, b Backend) {
	t.Helper()
	if child(t, b) {
		return
	}
	needNamespaces(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, Backend)
	}{
		{"Table", table},
		{"Translated", translated},
		{"Errors", icmpErrors},
		{"Host", host},
		{"Stray", stray},
		{"Revoked", revoked},
		{"Untouched", untouched},
		{"Reuse", reuse},
		{"Strangers", strangers},
		{"Exchange", exchange},
		{"Restart", restart},
		{"Crash", crash},
		{"Tamper", tamper},
		{"Hits", hits},
		{"Watch", watch},
		{"Removed", removed},
		{"Growth", growth},
		{"Worlds", worlds},
		{"Corpus", corpus},
	} {
		t.Run(part.name, func(t *testing.T) {
			if why, ok := b.Skip[part.name]; ok {
				t.Skip(why)
			}
			part.run(t, b)
		})
	}
}

// needNamespaces skips the test where no network namespace can be made.
func needNamespaces(t testing.TB) {
	t.Helper()
	err := onThread(func() error {
		n, err := netns.New()
		if err != nil {
			return err
		}
		return n.Close()
	})
	if err == nil {
		return
	}
	testenv.Lacking(t, testenv.NetNS, err.Error())
}
