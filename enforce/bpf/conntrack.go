//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Conntrack does not work in a network namespace before somebody asks for it, and without it no packet is known for a reply:
// everything would be judged, and answers be denied (fails closed, but breaks everything). A rule that reads the state of
// connections is such a request. The chain that it is in is on no hook, so no packet ever sees it.
const (
	conntrackTable = "saguard-conntrack"
	conntrackChain = "use"
)

// conntrackOn makes sure that the table is there, once, and complete.
func conntrackOn() error {
	ok, err := conntrackIsOn()
	if err != nil || ok {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	addConntrack(conn, conntrackTable)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("switch conntrack on by a table of nf_tables: %w", err)
	}
	return nil
}

// addConntrack replaces what table has the name.
func addConntrack(conn *nftables.Conn, name string) *nftables.Table {
	table := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{Name: conntrackChain, Table: table})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{ // ct state established return
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}})
	return table
}

func conntrackIsOn() (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nf_tables: %w", err)
	}
	table := &nftables.Table{Name: conntrackTable, Family: nftables.TableFamilyINet}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: conntrackChain, Table: table})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list the table for conntrack: %w", err)
	}
	return len(rules) == 1, nil
}

// conntrackOff takes the table away. Whoever else needs conntrack has asked for it, too.
func conntrackOff() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: conntrackTable, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the table for conntrack: %w", err)
	}
	return nil
}

// conntrackPossible asks the kernel for such a table, and takes it away in the same transaction.
func conntrackPossible() error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	conn.DelTable(addConntrack(conn, conntrackTable+"-probe"))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("switch conntrack on by a table of nf_tables: %w", err)
	}
	return nil
}
