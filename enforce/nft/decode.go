package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errForeign says that the kernel has something in the table that this package never writes.
var errForeign = errors.New("not one of this program's rules")

// decodeRule reads the expressions of a rule back. Whatever [rule.encode] does not write is an error: what cannot be read
// must not pass for what it looks like.
func decodeRule(list []byte) (rule, error) {
	var d decoder
	err := eachAttribute(list, func(kind uint16, data []byte) error {
		if kind != unix.NFTA_LIST_ELEM {
			return nil
		}
		name, body, err := nameAndBody(data)
		if err != nil {
			return err
		}
		return d.expression(name, body)
	})
	if err != nil {
		return rule{}, err
	}
	if d.v6 != (d.family == 6 && (d.setField == sourceAddress || d.setField == destAddress)) {
		return rule{}, fmt.Errorf("%w: address of another IP version", errForeign)
	}
	if d.hasSources && isICMP(d.protocol) {
		return rule{}, fmt.Errorf("%w: ICMP with ports", errForeign)
	}
	return d.rule, nil
}

// decoder is a rule of which some expressions were read.
type decoder struct {
	rule
	// loaded is the field in register 1, mask what it was masked with.
	loaded field
	mask   uint32
	v6     bool
}

func nameAndBody(data []byte) (name string, body []byte, err error) {
	err = eachAttribute(data, func(kind uint16, data []byte) error {
		switch kind {
		case unix.NFTA_EXPR_NAME:
			name = strings.TrimRight(string(data), "\x00")
		case unix.NFTA_EXPR_DATA:
			body = data
		}
		return nil
	})
	return name, body, err
}

// expression adds one expression to the rule.
func (r *decoder) expression(name string, body []byte) error {
	foreign := fmt.Errorf("%w: %s", errForeign, name)
	read := func(e expr.Any) error { return expr.Unmarshal(familyINet, body, e) }
	if r.verdict != noVerdict || r.isMap {
		return foreign // nothing of ours comes after a verdict
	}
	switch name {
	case "meta":
		e := &expr.Meta{}
		if err := read(e); err != nil {
			return err
		}
		switch {
		case e.SourceRegister:
			return foreign
		case e.Key == expr.MetaKeyNFPROTO:
			r.loaded = networkProtocol
		case e.Key == expr.MetaKeyL4PROTO:
			r.loaded = transport
		default:
			return foreign
		}
	case "ct":
		e := &expr.Ct{}
		if err := read(e); err != nil {
			return err
		}
		switch {
		case e.Register == 0: // it sets, and does not read
			return foreign
		case e.Key == expr.CtKeyDIRECTION:
			r.loaded = conntrackReply
		case e.Key == expr.CtKeySTATE:
			r.loaded = conntrackState
		default:
			return foreign
		}
	case "payload":
		e := &expr.Payload{}
		if err := read(e); err != nil {
			return err
		}
		if r.loaded, r.v6 = payloadField(e, r.hasProtocol && (r.protocol == unix.IPPROTO_ICMP || r.protocol == unix.IPPROTO_ICMPV6)); r.loaded == noField {
			return foreign
		}
	case "bitwise":
		e := &expr.Bitwise{}
		if err := read(e); err != nil {
			return err
		}
		if r.loaded != conntrackState || len(e.Mask) != 4 || len(e.Xor) != 4 || e.SourceRegister != e.DestRegister || binary.NativeEndian.Uint32(e.Xor) != 0 {
			return foreign
		}
		r.mask = binary.NativeEndian.Uint32(e.Mask)
	case "cmp":
		e := &expr.Cmp{}
		if err := read(e); err != nil {
			return err
		}
		return r.decodeComparison(e)
	case "range":
		e := &expr.Range{}
		if err := read(e); err != nil {
			return err
		}
		if e.Op != expr.CmpOpEq || len(e.FromData) != 2 || len(e.ToData) != 2 {
			return foreign
		}
		return r.decodePorts(span{binary.BigEndian.Uint16(e.FromData), binary.BigEndian.Uint16(e.ToData)})
	case "lookup":
		e := &expr.Lookup{}
		if err := read(e); err != nil {
			return err
		}
		switch r.loaded {
		case sourceAddress, destAddress, destPort, icmpTypeCode:
		default:
			return foreign
		}
		if e.Invert || e.SetName == "" || r.set != "" || e.IsDestRegSet && e.DestRegister != unix.NFT_REG_VERDICT {
			return foreign
		}
		r.set, r.setField, r.isMap = e.SetName, r.loaded, e.IsDestRegSet
	default:
		return r.decodeStatement(name, body)
	}
	return nil
}

func (r *decoder) decodeComparison(e *expr.Cmp) error {
	foreign := fmt.Errorf("%w: comparison of field %d", errForeign, r.loaded)
	if r.loaded == conntrackState {
		if e.Op != expr.CmpOpNeq || r.mask == 0 || r.states != 0 || !slices.Equal(e.Data, make([]byte, 4)) {
			return foreign
		}
		r.states = r.mask
		return nil
	}
	if e.Op != expr.CmpOpEq || len(e.Data) == 0 {
		return foreign
	}
	switch r.loaded {
	case networkProtocol:
		switch {
		case r.family != 0:
			return foreign
		case e.Data[0] == unix.NFPROTO_IPV4:
			r.family = 4
		case e.Data[0] == unix.NFPROTO_IPV6:
			r.family = 6
		default:
			return foreign
		}
	case transport:
		if r.hasProtocol {
			return foreign
		}
		r.hasProtocol, r.protocol = true, e.Data[0]
	case conntrackReply:
		if e.Data[0] != replyDirection || r.reply {
			return foreign
		}
		r.reply = true
	default:
		if len(e.Data) != 2 {
			return foreign
		}
		n := binary.BigEndian.Uint16(e.Data)
		return r.decodePorts(span{n, n})
	}
	return nil
}

func (r *decoder) decodePorts(s span) error {
	switch {
	case r.loaded == sourcePort && !r.hasSources:
		r.hasSources, r.sources = true, s
	case (r.loaded == destPort || r.loaded == icmpTypeCode) && !r.hasPorts:
		r.hasPorts, r.portField, r.ports = true, r.loaded, s
	default:
		return fmt.Errorf("%w: ports of field %d", errForeign, r.loaded)
	}
	return nil
}

func (r *decoder) decodeStatement(name string, body []byte) error {
	foreign := fmt.Errorf("%w: %s", errForeign, name)
	switch name {
	case "counter":
		if r.counted {
			return foreign
		}
		r.counted = true
	case "objref":
		e := &expr.Objref{}
		if err := expr.Unmarshal(familyINet, body, e); err != nil {
			return err
		}
		switch {
		case e.Type == objectLimit && e.Name == eventLimit:
			if r.limited {
				return foreign
			}
			r.limited = true
		case e.Type == objectCount && e.Name == lostCounter && !r.lost:
			r.lost = true
		default:
			return foreign
		}
	case "log":
		e := &expr.Log{}
		if err := expr.Unmarshal(familyINet, body, e); err != nil {
			return err
		}
		if r.prefix != "" || !r.limited {
			return foreign
		}
		r.prefix, r.group = strings.TrimRight(string(e.Data), "\x00"), e.Group
	case "immediate":
		data, _ := find(body, unix.NFTA_IMMEDIATE_DATA)
		value, _ := find(data, unix.NFTA_DATA_VERDICT)
		code, ok := number(value, unix.NFTA_VERDICT_CODE)
		if !ok {
			return foreign
		}
		for _, v := range []verdict{accept, drop, toCaller, jump, goTo} {
			if int32(v.code()) == int32(uint32(code)) {
				r.verdict, r.chain = v, text(value, unix.NFTA_VERDICT_CHAIN)
				return nil
			}
		}
		return foreign
	default:
		return foreign
	}
	return nil
}

func payloadField(e *expr.Payload, icmp bool) (out field, v6 bool) {
	type place struct {
		base        expr.PayloadBase
		offset, len uint32
	}
	switch (place{e.Base, e.Offset, e.Len}) {
	case place{expr.PayloadBaseNetworkHeader, 12, 4}:
		return sourceAddress, false
	case place{expr.PayloadBaseNetworkHeader, 16, 4}:
		return destAddress, false
	case place{expr.PayloadBaseNetworkHeader, 8, 16}:
		return sourceAddress, true
	case place{expr.PayloadBaseNetworkHeader, 24, 16}:
		return destAddress, true
	case place{expr.PayloadBaseTransportHeader, 2, 2}:
		return destPort, false
	case place{expr.PayloadBaseTransportHeader, 0, 2}:
		if icmp {
			return icmpTypeCode, false
		}
		return sourcePort, false
	}
	return noField, false
}

// eachAttribute calls see for each netlink attribute in data, without the flags in its type.
func eachAttribute(data []byte, see func(kind uint16, data []byte) error) error {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return err
	}
	for ad.Next() {
		if err := see(ad.Type(), ad.Bytes()); err != nil {
			return err
		}
	}
	return ad.Err()
}
