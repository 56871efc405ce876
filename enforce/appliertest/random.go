package appliertest

import (
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy/policytest"
)

// random makes worlds as the compiler's own property test does.
type random struct{ policytest.Random }

func newRandom(seed uint64) random {
	return random{policytest.New(seed, "node-1", "node-1", "node-2", "elsewhere")}
}

// flow is between addresses of pods and others.
func (r random) flow() ruleset.Flow {
	source, destination := r.Ends()
	out := ruleset.Flow{Source: source, Destination: destination, Protocol: policytest.Pick[uint8](r.Random, 6, 6, 6, 17, 132, 1, 58, 47, 136, 253)}
	switch {
	case ported(out.Protocol):
		out.Port, out.SourcePort = policytest.Pick[uint16](r.Random, 80, 81, 53, 52, 0, 1000, 65535), policytest.Pick[uint16](r.Random, 80, 53, 40000)
	case out.Protocol == 1 || out.Protocol == 58:
		out.ICMPType, out.ICMPCode = policytest.Pick[uint8](r.Random, 0, 1, 2, 8, 128), uint8(r.IntN(2))
	}
	return out
}
