package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/enforce"
)

// Verify implements enforce.Applier. If nobody else has committed anything to nftables since it was last looked at, that is
// all there is to see; otherwise it reads the whole table and compares.
func (a *Applier) Verify(ctx context.Context) error {
	if a.lowering == nil {
		return fmt.Errorf("verify rules: %w", errNotSynced)
	}
	for range readTries {
		if err := ctx.Err(); err != nil {
			return err
		}
		before, err := a.kernel.generation()
		if err != nil {
			return err
		}
		if a.verified && before == a.generation {
			return a.tidy()
		}
		a.verified = false
		difference, err := a.compare()
		if err != nil && !errors.Is(err, errChanging) {
			return fmt.Errorf("read table: %w", err)
		}
		after, generationErr := a.kernel.generation()
		if generationErr != nil {
			return generationErr
		}
		switch {
		case err != nil || before != after:
		case difference != "":
			return &enforce.Drift{What: difference}
		default:
			a.generation, a.verified = before, true
			return a.tidy()
		}
	}
	return errChanging
}

// tidy commits the removal of what is not in use any more.
func (a *Applier) tidy() error {
	l := a.lowering
	a.lowering = nil
	if err := a.collect(l); err != nil {
		return err
	}
	a.lowering = l
	return nil
}

// compare says how the kernel's table differs from the model, "" if it does not.
func (a *Applier) compare() (difference string, err error) {
	found, err := a.tables()
	if err != nil {
		return "", err
	}
	for _, t := range found {
		if t.name != a.kernel.name() {
			return fmt.Sprintf("there is also a table inet %s", t.name), nil
		}
	}
	flags, err := a.kernel.tableFlags()
	if errors.Is(err, unix.ENOENT) {
		return fmt.Sprintf("table inet %s is gone", a.kernel.name()), nil
	}
	if err != nil {
		return "", err
	}
	if flags&dormant != 0 {
		return fmt.Sprintf("table inet %s is dormant", a.kernel.name()), nil
	}
	for _, step := range []func() (string, error){a.compareObjects, a.compareChains, a.compareRules, a.compareSets} {
		difference, err := step()
		if errors.Is(err, unix.ENOENT) {
			return "part of the table went while it was read", nil
		}
		if err != nil || difference != "" {
			return difference, err
		}
	}
	return "", nil
}

// dormant is NFT_TABLE_F_DORMANT: the table is there and not in force.
const dormant = 1

func (a *Applier) compareObjects() (string, error) {
	data, err := a.kernel.object(eventLimit, objectLimit)
	if err != nil {
		return "", err
	}
	if rate, _ := number(data, unix.NFTA_LIMIT_RATE); rate != uint64(a.options.EventRate) {
		return fmt.Sprintf("limit %s is %d", eventLimit, rate), nil
	}
	_, err = a.kernel.object(lostCounter, objectCount)
	return "", err
}

func (a *Applier) compareChains() (string, error) {
	found, err := a.kernel.chains()
	if err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for _, c := range found {
		seen[c.name] = true
		priority, isHook := hooks()[c.name]
		switch {
		case a.lowering.chains[c.name] == nil:
			return fmt.Sprintf("chain %s is not ours", c.name), nil
		case c.hooked != isHook:
			return fmt.Sprintf("chain %s is or is not at a hook", c.name), nil
		case c.hooked && (c.hook != hookForward || c.priority != priority || c.policy != policyAccept || c.kind != "filter"):
			return fmt.Sprintf("chain %s is at another hook or priority, or has another policy", c.name), nil
		}
	}
	return missing("chain", a.lowering.chains, seen), nil
}

func (a *Applier) compareRules() (string, error) {
	found, err := a.kernel.rules("")
	if err != nil {
		return "", err
	}
	at := map[string]int{}
	for _, r := range found {
		c := a.lowering.chains[r.chain]
		if c == nil {
			return fmt.Sprintf("chain %s is not ours", r.chain), nil
		}
		i := at[r.chain]
		at[r.chain]++
		decoded, err := decodeRule(r.expressions)
		if err != nil {
			return fmt.Sprintf("chain %s rule %d: %v", r.chain, i, err), nil
		}
		if i >= len(c.rules) || decoded != a.inKernel(c.rules[i]) {
			return fmt.Sprintf("chain %s rule %d is %q", r.chain, i, decoded), nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.lowering.chains)) {
		if at[name] != len(a.lowering.chains[name].rules) {
			return fmt.Sprintf("chain %s has %d rules", name, at[name]), nil
		}
	}
	return "", nil
}

// inKernel is the rule with the kernel's name of its set.
func (a *Applier) inKernel(r rule) rule {
	if r.set != "" {
		r.set = a.lowering.kernelName(r.set)
	}
	return r
}

func (a *Applier) compareSets() (string, error) {
	found, err := a.kernel.sets("")
	if err != nil {
		return "", err
	}
	seen, names := map[string]bool{}, map[string]*set{}
	for name, s := range a.lowering.sets {
		names[a.lowering.kernelName(name)] = s
	}
	for _, k := range found {
		seen[k.name] = true
		s := names[k.name]
		if _, waits := a.lowering.outdated[k.name]; waits && s == nil {
			continue // no rule refers to it
		}
		if s == nil {
			return fmt.Sprintf("set %s is not ours", k.name), nil
		}
		if k.flags != s.flags() || k.size != uint32(s.key.size()) || k.key != s.key.nftType() {
			return fmt.Sprintf("set %s is of another kind", k.name), nil
		}
		raw, err := a.kernel.elements(k.name, "")
		if err != nil {
			return "", err
		}
		elements, err := joinElements(s.setSpec, raw)
		if err != nil {
			return fmt.Sprintf("set %s: %v", k.name, err), nil
		}
		if !maps.Equal(elements, s.elements) {
			return fmt.Sprintf("set %s: elements were added, removed or changed", k.name), nil
		}
	}
	return missing("set", names, seen), nil
}

// missing names the first of want that was not seen.
func missing[V any](what string, want map[string]V, seen map[string]bool) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !seen[name] {
			return fmt.Sprintf("%s %s is gone", what, name)
		}
	}
	return ""
}
