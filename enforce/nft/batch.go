package nft

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// elementBytes is what one message carries of elements: their list is one attribute, which ends at 64 KiB.
const elementBytes = 48 << 10

// verdictData is the data type of verdict maps (uapi/linux/netfilter/nf_tables.h, NFT_DATA_VERDICT).
const verdictData = 0xffffff00

// Names of what every table of ours has.
const (
	eventLimit   = "events"
	lostCounter  = "lost"
	objectLimit  = 4 // NFT_OBJECT_LIMIT
	objectCount  = 1 // NFT_OBJECT_COUNTER
	familyINet   = 1 // NFPROTO_INET
	hookForward  = 2 // NF_INET_FORWARD
	policyAccept = 1 // NF_ACCEPT
)

// hooks are the first chains, one for each end, and their priorities: just before "filter" (0), so after destination
// translation, and before other filters count what we drop. They are two because the kernel bounds how far chains lead.
func hooks() map[string]int32 {
	return map[string]int32{ruleset.Egress.String(): -2, ruleset.Ingress.String(): -1}
}

// batch is a transaction: the kernel takes all of it or nothing.
type batch struct {
	table    string
	messages []netlink.Message
	setID    uint32
	err      error
}

func (b *batch) add(kind int, flags netlink.HeaderFlags, fill func(*attributes)) {
	a := &attributes{data: []byte{familyINet, unix.NFNETLINK_V0, 0, 0}}
	fill(a)
	if a.err != nil && b.err == nil {
		b.err = a.err
	}
	b.messages = append(b.messages, netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   a.data,
	})
}

// addTable makes the table if it is not there.
func (b *batch) addTable() {
	b.add(unix.NFT_MSG_NEWTABLE, netlink.Create, func(a *attributes) {
		a.text(unix.NFTA_TABLE_NAME, b.table)
		a.u32(unix.NFTA_TABLE_FLAGS, 0)
	})
}

func (b *batch) deleteTable() {
	b.add(unix.NFT_MSG_DELTABLE, 0, func(a *attributes) { a.text(unix.NFTA_TABLE_NAME, b.table) })
}

// addObjects makes the limit of events per second and the counter of those that it holds back.
func (b *batch) addObjects(rate uint32) {
	b.addObject(eventLimit, objectLimit, func(a *attributes) {
		a.u64(unix.NFTA_LIMIT_RATE, uint64(rate))
		a.u64(unix.NFTA_LIMIT_UNIT, 1)
		a.u32(unix.NFTA_LIMIT_BURST, rate)
		a.u32(unix.NFTA_LIMIT_TYPE, unix.NFT_LIMIT_PKTS)
		a.u32(unix.NFTA_LIMIT_FLAGS, 0)
	})
	b.addObject(lostCounter, objectCount, func(a *attributes) {
		a.u64(unix.NFTA_COUNTER_BYTES, 0)
		a.u64(unix.NFTA_COUNTER_PACKETS, 0)
	})
}

func (b *batch) addObject(name string, kind uint32, fill func(*attributes)) {
	b.add(unix.NFT_MSG_NEWOBJ, netlink.Create, func(a *attributes) {
		a.text(unix.NFTA_OBJ_TABLE, b.table)
		a.text(unix.NFTA_OBJ_NAME, name)
		a.u32(unix.NFTA_OBJ_TYPE, kind)
		a.nest(unix.NFTA_OBJ_DATA, func() { fill(a) })
	})
}

func (b *batch) addChain(name string) {
	b.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, func(a *attributes) {
		a.text(unix.NFTA_CHAIN_TABLE, b.table)
		a.text(unix.NFTA_CHAIN_NAME, name)
		priority, ok := hooks()[name]
		if !ok {
			return
		}
		a.nest(unix.NFTA_CHAIN_HOOK, func() {
			a.u32(unix.NFTA_HOOK_HOOKNUM, hookForward)
			a.u32(unix.NFTA_HOOK_PRIORITY, uint32(priority))
		})
		a.u32(unix.NFTA_CHAIN_POLICY, policyAccept)
		a.text(unix.NFTA_CHAIN_TYPE, "filter")
	})
}

func (b *batch) deleteChain(name string) {
	b.add(unix.NFT_MSG_DELCHAIN, 0, func(a *attributes) {
		a.text(unix.NFTA_CHAIN_TABLE, b.table)
		a.text(unix.NFTA_CHAIN_NAME, name)
	})
}

// flushChain deletes all rules of a chain.
func (b *batch) flushChain(name string) {
	b.add(unix.NFT_MSG_DELRULE, 0, func(a *attributes) {
		a.text(unix.NFTA_RULE_TABLE, b.table)
		a.text(unix.NFTA_RULE_CHAIN, name)
	})
}

// flushTable deletes all rules of all chains. Sets and their elements stay for the packets that are on their way.
func (b *batch) flushTable() {
	b.add(unix.NFT_MSG_DELRULE, 0, func(a *attributes) { a.text(unix.NFTA_RULE_TABLE, b.table) })
}

func (b *batch) addRule(chain string, r rule) {
	b.add(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, func(a *attributes) {
		a.text(unix.NFTA_RULE_TABLE, b.table)
		a.text(unix.NFTA_RULE_CHAIN, chain)
		a.nest(unix.NFTA_RULE_EXPRESSIONS, func() { r.encode(a) })
	})
}

// nftType is the number that nft has for the type of a key, so that it can print it (nftables: include/datatype.h).
func (k keyType) nftType() uint32 { return [...]uint32{7, 8, 13}[k] }

func (b *batch) addSet(name string, spec setSpec) {
	b.setID++
	b.add(unix.NFT_MSG_NEWSET, netlink.Create, func(a *attributes) {
		a.text(unix.NFTA_SET_TABLE, b.table)
		a.text(unix.NFTA_SET_NAME, name)
		a.u32(unix.NFTA_SET_FLAGS, spec.flags())
		a.u32(unix.NFTA_SET_KEY_TYPE, spec.key.nftType())
		a.u32(unix.NFTA_SET_KEY_LEN, uint32(spec.key.size()))
		a.u32(unix.NFTA_SET_ID, b.setID)
		if spec.verdicts {
			a.u32(unix.NFTA_SET_DATA_TYPE, verdictData)
			a.u32(unix.NFTA_SET_DATA_LEN, 0)
		}
		// nft needs to be told that keys are in network byte order, or it prints intervals backwards.
		a.raw(unix.NFTA_SET_USERDATA, userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, 2))
	})
}

func (s setSpec) flags() uint32 {
	var flags uint32
	if s.verdicts {
		flags |= unix.NFT_SET_MAP
	}
	if s.intervals {
		flags |= unix.NFT_SET_INTERVAL
	}
	return flags
}

func (b *batch) deleteSet(name string) {
	b.add(unix.NFT_MSG_DELSET, 0, func(a *attributes) {
		a.text(unix.NFTA_SET_TABLE, b.table)
		a.text(unix.NFTA_SET_NAME, name)
	})
}

// elements adds or deletes elements, in the order of their keys, in as many messages as it takes.
func (b *batch) elements(kind int, flags netlink.HeaderFlags, name string, spec setSpec, elements map[string]element) {
	keys := slices.Sorted(maps.Keys(elements))
	for len(keys) > 0 {
		b.add(kind, flags, func(a *attributes) {
			a.text(unix.NFTA_SET_ELEM_LIST_TABLE, b.table)
			a.text(unix.NFTA_SET_ELEM_LIST_SET, name)
			a.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				start := len(a.data)
				for len(keys) > 0 && len(a.data)-start < elementBytes {
					encodeElement(a, spec, keys[0], elements[keys[0]])
					keys = keys[1:]
				}
			})
		})
	}
}

// encodeElement writes an element, and the end of its interval as an element of its own, as the kernel's trees have it.
func encodeElement(a *attributes, spec setSpec, key string, e element) {
	a.nest(unix.NFTA_LIST_ELEM, func() {
		a.nest(unix.NFTA_SET_ELEM_KEY, func() { a.raw(unix.NFTA_DATA_VALUE, []byte(key)) })
		if spec.verdicts {
			a.verdict(unix.NFTA_SET_ELEM_DATA, gotoCode, e.chain)
		}
	})
	if !spec.intervals || e.end == "" {
		return
	}
	a.nest(unix.NFTA_LIST_ELEM, func() {
		a.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		a.nest(unix.NFTA_SET_ELEM_KEY, func() { a.raw(unix.NFTA_DATA_VALUE, []byte(e.end)) })
	})
}

// A packet is not judged in one moment: it goes by the rules of the generation in which it came, but looks every element up in
// the generation of that moment, and to a packet that came before a commit the chains which that made are empty. So changes
// are committed in phases, each of which leads from one state to another whatever a packet saw of either.
type phase func(*batch, *model)

// Changes of elements that do not depend on each other: each is of one address.
func elementPhases() []phase {
	return []phase{
		(*batch).create,  // what nothing leads to yet
		(*batch).extend,  // elements with new keys, and the rules that lead to exchanged sets of intervals
		(*batch).replace, // elements that change, where no packet looks
		(*batch).retract, // elements that go
		(*batch).delete,  // what nothing leads to any more, since an epoch ago
	}
}

// All other changes: elements change by new sets ([model.renew]), and with the rules that lead to them all at once.
func rulePhases() []phase { return []phase{(*batch).create, (*batch).exchange, (*batch).delete} }

// create writes new chains with their rules, and new sets with their elements. The order is the kernel's: what is referred to
// is there before what refers to it.
func (b *batch) create(m *model) {
	var chains []string
	for _, name := range slices.Sorted(maps.Keys(m.wasChain)) {
		if m.wasChain[name] == nil && m.chains[name] != nil {
			chains = append(chains, name)
			b.addChain(name)
		}
	}
	var sets []string
	for _, name := range slices.Sorted(maps.Keys(m.wasSet)) {
		if s := m.sets[name]; m.wasSet[name] == nil && s != nil {
			sets = append(sets, name)
			b.addSet(m.kernelName(name), s.setSpec)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.renewed)) {
		sets = append(sets, name)
		b.addSet(m.kernelName(name), m.sets[name].setSpec)
	}
	for _, name := range sets {
		b.elements(unix.NFT_MSG_NEWSETELEM, netlink.Create, m.kernelName(name), m.sets[name].setSpec, m.sets[name].elements)
	}
	for _, name := range chains {
		b.addRules(name, m)
	}
}

// exchange writes the rules of chains that were there anew.
func (b *batch) exchange(m *model) {
	for _, name := range slices.Sorted(maps.Keys(m.wasChain)) {
		if m.rewritten(name) {
			b.flushChain(name)
			b.addRules(name, m)
		}
	}
}

func (b *batch) addRules(chain string, m *model) {
	for _, r := range m.chains[chain].rules {
		if r.set != "" {
			r.set = m.kernelName(r.set)
		}
		b.addRule(chain, r)
	}
}

func (b *batch) extend(m *model) {
	b.someElements(m, unix.NFT_MSG_NEWSETELEM, netlink.Create, func(was, now *element) *element {
		if was == nil {
			return now
		}
		return nil
	})
	b.exchange(m)
}

func (b *batch) replace(m *model) {
	b.someElements(m, unix.NFT_MSG_DELSETELEM, 0, func(was, now *element) *element {
		if now != nil {
			return was
		}
		return nil
	})
	b.someElements(m, unix.NFT_MSG_NEWSETELEM, netlink.Create, func(was, now *element) *element {
		if was != nil {
			return now
		}
		return nil
	})
}

func (b *batch) retract(m *model) {
	b.someElements(m, unix.NFT_MSG_DELSETELEM, 0, func(was, now *element) *element {
		if now == nil {
			return was
		}
		return nil
	})
}

func (b *batch) delete(m *model) {
	var chains []string
	for _, name := range slices.Sorted(maps.Keys(m.wasChain)) {
		if m.wasChain[name] != nil && m.chains[name] == nil {
			chains = append(chains, name)
			b.flushChain(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.dropped)) {
		b.deleteSet(name)
	}
	for _, name := range chains {
		b.deleteChain(name)
	}
}

// someElements adds or deletes the elements that choose returns, of sets that were there and are. choose gets what a key had
// and has, nil for nothing, if they differ.
func (b *batch) someElements(m *model, kind int, flags netlink.HeaderFlags, choose func(was, now *element) *element) {
	for _, name := range slices.Sorted(maps.Keys(m.wasElement)) {
		s := m.sets[name]
		if s == nil || m.renewed[name] != "" {
			continue // its elements go, or come, with it
		}
		chosen := map[string]element{}
		for key, was := range m.wasElement[name] {
			var now *element
			if e, ok := s.elements[key]; ok {
				now = &e
			}
			if was == nil && now == nil || was != nil && now != nil && *was == *now {
				continue
			}
			if e := choose(was, now); e != nil {
				chosen[key] = *e
			}
		}
		b.elements(kind, flags, m.kernelName(name), s.setSpec, chosen)
	}
}

// wrap puts the transaction's brackets around the messages. Only the last one is acknowledged; what the kernel refuses it
// says anyway, and an acknowledgement of each would not fit into the socket.
func (b *batch) wrap() ([]netlink.Message, error) {
	if b.err != nil {
		return nil, fmt.Errorf("encode rules: %w", b.err)
	}
	b.messages[len(b.messages)-1].Header.Flags |= netlink.Acknowledge
	bracket := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	out := append([]netlink.Message{bracket(unix.NFNL_MSG_BATCH_BEGIN)}, b.messages...)
	return append(out, bracket(unix.NFNL_MSG_BATCH_END)), nil
}
