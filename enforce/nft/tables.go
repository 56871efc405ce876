package nft

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// numbers are what the names of our tables end in.
var numbers = regexp.MustCompile(`^[0-9]{1,9}$`)

// tableHandle is NFTA_TABLE_HANDLE (uapi/linux/netfilter/nf_tables.h).
const tableHandle = 4

// table is a table of ours in the kernel.
type table struct {
	name string
	// handle grows with every table that is made.
	handle uint64
}

// tables lists our tables: one, or several if a Sync was cut short, or none.
func (a *Applier) tables() ([]table, error) {
	replies, err := a.kernel.request(unix.NFT_MSG_GETTABLE, netlink.Dump, func(*attributes) {})
	if err != nil {
		return nil, err
	}
	var out []table
	for _, reply := range replies {
		name := text(reply, unix.NFTA_TABLE_NAME)
		if len(name) < len(a.prefix) || name[:len(a.prefix)] != a.prefix || !numbers.MatchString(name[len(a.prefix):]) {
			continue
		}
		handle, _ := number(reply, tableHandle)
		out = append(out, table{name: name, handle: handle})
	}
	return out, nil
}

// findTable uses the newest table that is there; if there is none, the name of the first.
func (a *Applier) findTable() error {
	found, err := a.tables()
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	newest := table{name: a.unusedName(nil)}
	for _, t := range found {
		if t.handle > newest.handle {
			newest = t
		}
	}
	a.use(newest.name)
	return nil
}

func (a *Applier) use(name string) {
	a.kernel.table.Store(&name)
	a.events.kernel.table.Store(&name)
}

// unusedName is the first name that no table has.
func (a *Applier) unusedName(used []table) string {
	for n := 0; ; n++ {
		name := a.prefix + strconv.Itoa(n)
		if !slices.ContainsFunc(used, func(t table) bool { return t.name == name }) {
			return name
		}
	}
}

// retire takes tables away. First their rules, then, when no packet can be on its way through them any more, the rest: to a
// packet that is, an element that was deleted is gone at once, and its verdict would be neither of two.
func (a *Applier) retire(old []table) error {
	if len(old) == 0 {
		return nil
	}
	empty, remove := &batch{}, &batch{}
	for _, t := range old {
		empty.table, remove.table = t.name, t.name
		empty.flushTable()
		remove.deleteTable()
	}
	if err := a.kernel.transact(empty); err != nil {
		return fmt.Errorf("empty old tables: %w", err)
	}
	awaitPackets()
	if err := a.kernel.transact(remove); err != nil {
		return fmt.Errorf("delete old tables: %w", err)
	}
	return nil
}

// awaitPackets waits until no packet is in the hooks that was there before: a global memory barrier waits for the end of all
// read-side critical sections (membarrier(2)), and the hooks run in one.
func awaitPackets() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		<-time.After(epoch) // a kernel with nohz_full does not offer it
	}
}

// Remove deletes the tables. Packets are not judged any more.
func (a *Applier) Remove(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.lowering, a.verified = nil, false
	found, err := a.tables()
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	return a.retire(found)
}

// Probe tries out whether this kernel takes what [Applier.Sync] writes: a table under another name with one of each, which
// the same transaction deletes again.
func (a *Applier) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := newLowering(a.options.NFLOGGroup)
	if err := l.load(sample()); err != nil {
		return fmt.Errorf("lower sample: %w", err)
	}
	b := &batch{table: a.prefix + "probe"}
	b.addTable()
	b.deleteTable()
	b.addTable()
	b.addObjects(a.options.EventRate)
	b.create(l.model)
	b.deleteTable()
	if err := a.kernel.transact(b); err != nil {
		return fmt.Errorf("try nftables out: %w", err)
	}
	return nil
}
