package nft

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const gotoCode = expr.VerdictGoto

// encode writes the rule as the kernel's expressions, in an order from which nft can print them.
func (r rule) encode(a *attributes) {
	for _, e := range r.expressions() {
		data, err := expr.Marshal(familyINet, e)
		if err != nil {
			a.err = err
			return
		}
		a.raw(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	}
}

func (r rule) expressions() []expr.Any {
	var out []expr.Any
	equal := func(data ...byte) {
		out = append(out, &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: data})
	}
	if r.family != 0 {
		out = append(out, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1})
		equal(nfproto(r.family))
	}
	if r.reply {
		out = append(out, &expr.Ct{Key: expr.CtKeyDIRECTION, Register: unix.NFT_REG_1})
		equal(replyDirection)
	}
	if r.states != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeySTATE, Register: unix.NFT_REG_1},
			&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, r.states), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: make([]byte, 4)})
	}
	if r.hasProtocol {
		out = append(out, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1})
		equal(r.protocol)
	}
	if r.hasSources {
		out = append(out, payload(sourcePort), r.sources.expression())
	}
	if r.hasPorts {
		out = append(out, payload(r.portField), r.ports.expression())
	}
	if r.set != "" {
		field := payload(r.setField)
		if r.family == 6 && r.setField == sourceAddress {
			field.Offset, field.Len = 8, 16
		}
		if r.family == 6 && r.setField == destAddress {
			field.Offset, field.Len = 24, 16
		}
		out = append(out, field, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: r.set, IsDestRegSet: r.isMap, DestRegister: unix.NFT_REG_VERDICT})
	}
	return append(out, r.statements()...)
}

func (r rule) statements() []expr.Any {
	var out []expr.Any
	if r.counted {
		out = append(out, &expr.Counter{})
	}
	if r.limited {
		out = append(out, &expr.Objref{Type: objectLimit, Name: eventLimit},
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX, Group: r.group, Data: []byte(r.prefix)})
	}
	if r.lost {
		out = append(out, &expr.Objref{Type: objectCount, Name: lostCounter})
	}
	if r.verdict != noVerdict {
		out = append(out, &expr.Verdict{Kind: r.verdict.code(), Chain: r.chain})
	}
	return out
}

// replyDirection is IP_CT_DIR_REPLY.
const replyDirection = 1

// code is the kernel's number of the verdict.
func (v verdict) code() expr.VerdictKind {
	switch v {
	case accept:
		return expr.VerdictAccept
	case toCaller:
		return expr.VerdictReturn
	case jump:
		return expr.VerdictJump
	case goTo:
		return expr.VerdictGoto
	case noVerdict, drop:
		return expr.VerdictDrop
	default:
		return expr.VerdictDrop
	}
}

// nfproto is the kernel's number of an IP version.
func nfproto(family uint8) byte {
	if family == 4 {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

// payload loads a field into register 1; addresses as in IPv4.
func payload(f field) *expr.Payload {
	out := &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseTransportHeader, Len: 2}
	switch f {
	case sourceAddress:
		out.Base, out.Offset, out.Len = expr.PayloadBaseNetworkHeader, 12, 4
	case destAddress:
		out.Base, out.Offset, out.Len = expr.PayloadBaseNetworkHeader, 16, 4
	case destPort:
		out.Offset = 2
	default: // sourcePort, icmpTypeCode: the first two bytes
	}
	return out
}

func (s span) expression() expr.Any {
	first, last := binary.BigEndian.AppendUint16(nil, s.first), binary.BigEndian.AppendUint16(nil, s.last)
	if s.first == s.last {
		return &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: first}
	}
	return &expr.Range{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, FromData: first, ToData: last}
}
