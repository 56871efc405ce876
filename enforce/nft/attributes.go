package nft

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// attributes builds netlink attributes (RFC 3549 section 2.2, netlink(7)) in one buffer: a table of 10,000 addresses is a
// megabyte of them, too much to copy level by level.
type attributes struct {
	data []byte
	err  error
}

func (a *attributes) raw(kind uint16, value []byte) {
	a.data = binary.NativeEndian.AppendUint16(a.data, uint16(4+len(value)))
	a.data = binary.NativeEndian.AppendUint16(a.data, kind)
	a.data = append(a.data, value...)
	a.pad()
}

func (a *attributes) text(kind uint16, s string) {
	a.data = binary.NativeEndian.AppendUint16(a.data, uint16(5+len(s)))
	a.data = binary.NativeEndian.AppendUint16(a.data, kind)
	a.data = append(append(a.data, s...), 0)
	a.pad()
}

func (a *attributes) u32(kind uint16, n uint32) {
	a.raw(kind, binary.BigEndian.AppendUint32(nil, n))
}

func (a *attributes) u64(kind uint16, n uint64) {
	a.raw(kind, binary.BigEndian.AppendUint64(nil, n))
}

func (a *attributes) pad() {
	for len(a.data)%4 != 0 {
		a.data = append(a.data, 0)
	}
}

// nest writes an attribute that holds what fill writes.
func (a *attributes) nest(kind uint16, fill func()) {
	start := len(a.data)
	a.raw(kind|unix.NLA_F_NESTED, nil)
	fill()
	size := len(a.data) - start
	if size > math.MaxUint16 {
		a.err = errors.New("a netlink attribute is larger than 64 KiB")
		return
	}
	binary.NativeEndian.PutUint16(a.data[start:], uint16(size))
}

// verdict writes a verdict as the data of an element (uapi/linux/netfilter/nf_tables.h, NFTA_DATA_VERDICT).
func (a *attributes) verdict(kind uint16, code expr.VerdictKind, chain string) {
	a.nest(kind, func() {
		a.nest(unix.NFTA_DATA_VERDICT, func() {
			a.u32(unix.NFTA_VERDICT_CODE, uint32(int32(code)))
			if chain != "" {
				a.text(unix.NFTA_VERDICT_CHAIN, chain)
			}
		})
	})
}
