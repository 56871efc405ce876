package selector

// Bounds of the default [Limits].
const (
	// MaxLength is the longest selector in bytes: the maxLength of the
	// selector fields in Calico's own CRDs (api/config/crd), which leave it out
	// on serviceAccounts.selector alone.
	MaxLength = 1024
	// MaxDepth is the most parentheses open at once. Calico has no bound and
	// overflows its stack near a million; people do not nest beyond a handful.
	MaxDepth = 64
	// MaxKeyLength is the longest label key in bytes, as in Calico's tokenizer.
	MaxKeyLength = 512

	// hardLength and hardDepth bound even the limits that ask for none, so
	// that walking a tree recursively cannot exhaust the stack. An API object
	// cannot be larger than about 1.5 MiB (etcd's request limit).
	hardLength = 2 << 20
	hardDepth  = 10_000
)

// Limits bound what a parse accepts. The zero value allows nothing but the
// empty selector: it fails closed.
type Limits struct {
	Length int // bytes of text
	Depth  int // parentheses open at once
}

// DefaultLimits are MaxLength and MaxDepth: what admission and agent accept.
func DefaultLimits() Limits { return Limits{Length: MaxLength, Depth: MaxDepth} }

// CalicoLimits are for predicting Calico, whose parser has none: large enough
// for every selector that fits into an API object, nested up to 10,000 deep,
// and still safe against stack exhaustion.
func CalicoLimits() Limits { return Limits{Length: hardLength, Depth: hardDepth} }

// bounded returns l within what is safe to process.
func (l Limits) bounded() Limits {
	return Limits{Length: min(l.Length, hardLength), Depth: min(l.Depth, hardDepth)}
}
