package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/ruleset"
)

// readTries is how often a table is read anew because it changed under the reader.
const readTries = 5

// Lookup implements enforce.Applier: it reads the chains and elements that the connection's first packet would meet from the
// kernel. Without a table nothing applies.
func (a *Applier) Lookup(ctx context.Context, f ruleset.Flow) (enforce.Answer, error) {
	for range readTries {
		if err := ctx.Err(); err != nil {
			return enforce.Answer{}, err
		}
		before, err := a.kernel.generation()
		if err != nil {
			return enforce.Answer{}, err
		}
		out, err := answer(&kernelContent{kernel: a.kernel, sets: map[string]*set{}}, f)
		if errors.Is(err, errNoTable) {
			return enforce.Answer{}, nil
		}
		after, generationErr := a.kernel.generation()
		if generationErr != nil {
			return enforce.Answer{}, generationErr
		}
		if before == after {
			return out, err
		}
	}
	return enforce.Answer{}, errChanging
}

var errNoTable = errors.New("there is no table")

// kernelContent reads the kernel's table piece by piece.
type kernelContent struct {
	kernel *kernel
	// sets are the ones with intervals, which are read as a whole, and the others, without elements.
	sets map[string]*set
}

func (k *kernelContent) chainRules(name string) ([]rule, error) {
	_, isHook := hooks()[name]
	raw, err := k.kernel.rules(name)
	if errors.Is(err, unix.ENOENT) {
		if isHook {
			return nil, errNoTable
		}
		return nil, fmt.Errorf("chain %s is missing: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 && isHook {
		if _, err := k.kernel.tableFlags(); errors.Is(err, unix.ENOENT) {
			return nil, errNoTable
		}
	}
	var out []rule
	for _, r := range raw {
		decoded, err := decodeRule(r.expressions)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", name, err)
		}
		out = append(out, decoded)
	}
	return out, nil
}

func (k *kernelContent) lookUp(name, key string) (element, bool, error) {
	s := k.sets[name]
	if s == nil {
		var err error
		if s, err = k.readSet(name); err != nil {
			return element{}, false, err
		}
		k.sets[name] = s
	}
	if s.intervals {
		e, ok := s.find(key)
		return e, ok, nil
	}
	found, err := k.kernel.elements(name, key)
	if errors.Is(err, unix.ENOENT) {
		return element{}, false, nil
	}
	if err != nil {
		return element{}, false, fmt.Errorf("look up in %s: %w", name, err)
	}
	for _, e := range found {
		if e.key == key {
			return element{chain: e.chain}, true, nil
		}
	}
	return element{}, false, nil
}

// readSet reads a set, and its elements if it has intervals.
func (k *kernelContent) readSet(name string) (*set, error) {
	found, err := k.kernel.sets(name)
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", name, err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("set %s is missing", name)
	}
	s := &set{setSpec: found[0].spec()}
	if !s.intervals {
		return s, nil
	}
	raw, err := k.kernel.elements(name, "")
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", name, err)
	}
	if s.elements, err = joinElements(s.setSpec, raw); err != nil {
		return nil, fmt.Errorf("read set %s: %w", name, err)
	}
	return s, nil
}

// spec is what a set of ours is, as far as the kernel's description says it.
func (s kernelSet) spec() setSpec {
	out := setSpec{verdicts: s.flags&unix.NFT_SET_MAP != 0, intervals: s.flags&unix.NFT_SET_INTERVAL != 0}
	for _, k := range []keyType{addressKey4, addressKey6, portKey} {
		if int(s.size) == k.size() {
			out.key = k
		}
	}
	return out
}

// joinElements makes elements of the kernel's, of which a set with intervals has starts and ends.
func joinElements(spec setSpec, raw []kernelElement) (map[string]element, error) {
	out := make(map[string]element, len(raw))
	var ends []string
	for _, e := range raw {
		if e.end {
			ends = append(ends, e.key)
			continue
		}
		if spec.verdicts && e.code != int32(gotoCode) {
			return nil, fmt.Errorf("%w: an element with verdict %d", errForeign, e.code)
		}
		if _, twice := out[e.key]; twice {
			return nil, fmt.Errorf("%w: two elements with one key", errForeign)
		}
		out[e.key] = element{chain: e.chain}
	}
	if !spec.intervals {
		if len(ends) > 0 {
			return nil, fmt.Errorf("%w: ends of intervals in a set without", errForeign)
		}
		return out, nil
	}
	slices.Sort(ends)
	starts := slices.Sorted(maps.Keys(out))
	for i, start := range starts {
		// The kernel may have an end of all keys as the key 0, which no interval of ours ends at.
		n, _ := slices.BinarySearchFunc(ends, start, func(end, start string) int {
			if end > start {
				return 1
			}
			return -1
		})
		e := out[start]
		if n < len(ends) {
			e.end = ends[n]
		}
		if i+1 < len(starts) && (e.end == "" || e.end > starts[i+1]) {
			return nil, fmt.Errorf("%w: intervals overlap", errForeign)
		}
		out[start] = e
	}
	return out, nil
}
