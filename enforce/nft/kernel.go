package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// readBuffer holds what the kernel says of a transaction: one message, or one per message that it refuses.
	readBuffer = 4 << 20
	// writeBuffer is raised for larger transactions: a transaction is one sendmsg, and so it is atomic whatever its size.
	writeBuffer = 4 << 20
	// answerTime is how long the kernel may take. It has answered when sendmsg returns, so that this is never waited for.
	answerTime = 30 * time.Second
	// refusalTime is how long further refusals are read after the first.
	refusalTime = 20 * time.Millisecond
)

// errChanging says that others changed nftables faster than this package could read its table.
var errChanging = errors.New("nftables changed while the table was read")

// kernel is one lasting netlink socket and the table that is ours.
type kernel struct {
	table       atomic.Pointer[string]
	conn        *netlink.Conn
	writeBuffer int
}

// dial opens the socket in the network namespace of the calling thread, where it stays.
func dial() (*kernel, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	k := &kernel{conn: conn, writeBuffer: writeBuffer}
	// Without CapAcknowledge: the library does not read refusals that are cut short.
	err = errors.Join(
		conn.SetReadBuffer(readBuffer), conn.SetWriteBuffer(writeBuffer), conn.SetOption(netlink.ExtendedAcknowledge, true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netfilter socket: %w", err), conn.Close())
	}
	return k, nil
}

// name is that of the table.
func (k *kernel) name() string { return *k.table.Load() }

func (k *kernel) close() error { return k.conn.Close() }

func (k *kernel) batch() *batch { return &batch{table: k.name()} }

// transact has the kernel take all of b or nothing.
func (k *kernel) transact(b *batch) error {
	if len(b.messages) == 0 {
		return nil
	}
	messages, err := b.wrap()
	if err != nil {
		return err
	}
	size := 0
	for _, m := range messages {
		size += len(m.Data) + 32
	}
	if size > k.writeBuffer {
		if err := k.conn.SetWriteBuffer(size); err != nil {
			return fmt.Errorf("make room for a transaction of %d bytes: %w", size, err)
		}
		k.writeBuffer = size
	}
	sent, err := k.conn.SendMessages(messages)
	if err != nil {
		return fmt.Errorf("send transaction of %d bytes: %w", size, err)
	}
	return k.outcome(sent[len(sent)-2].Header.Sequence)
}

// outcome reads what the kernel says of a transaction whose last message has the number last.
func (k *kernel) outcome(last uint32) error {
	var refused error
	wait := answerTime
	for {
		if err := k.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		messages, err := k.conn.Receive()
		switch {
		case err != nil && refused != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return refused
		case err != nil && refused == nil:
			refused = fmt.Errorf("commit to nftables: %w", err)
			wait = refusalTime
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return refused
			}
		}
		for _, m := range messages {
			if m.Header.Type == netlink.Error && m.Header.Sequence == last {
				return refused
			}
		}
	}
}

// request asks for the objects of a kind; a dump asks for all, otherwise for the one that fill names. It returns their
// attributes, without the netfilter header.
func (k *kernel) request(kind int, flags netlink.HeaderFlags, fill func(*attributes)) ([][]byte, error) {
	a := &attributes{data: []byte{familyINet, unix.NFNETLINK_V0, 0, 0}}
	fill(a)
	if a.err != nil {
		return nil, a.err
	}
	sent, err := k.conn.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   a.data,
	})
	if err != nil {
		return nil, fmt.Errorf("ask nftables: %w", err)
	}
	if err := k.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	out, err := k.receive(sent.Header.Sequence, flags&netlink.Dump != 0)
	if err != nil {
		return nil, fmt.Errorf("ask nftables: %w", err)
	}
	return out, nil
}

// receive reads the answer to the request with a number. It does not leave that to the library: the kernel makes the messages
// of a dump as large as the largest buffer that was offered to it, and for each it counts from the start to where it was; so
// with the library's buffers a long dump takes many times as long.
func (k *kernel) receive(sequence uint32, dump bool) ([][]byte, error) {
	raw, err := k.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	buffer := make([]byte, 64<<10)
	for {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		done := false
		for rest := slices.Clone(buffer[:n]); len(rest) >= unix.SizeofNlMsghdr && !done; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < unix.SizeofNlMsghdr || size > len(rest) {
				return nil, errors.New("a message has the wrong size")
			}
			var data []byte
			if data, done, err = readMessage(rest[:size], sequence, dump); err != nil {
				return nil, err
			}
			if data != nil {
				out = append(out, data)
			}
			rest = rest[min(len(rest), (size+3)&^3):]
		}
		if done {
			return out, nil
		}
	}
}

// readMessage returns the attributes of a message, and whether it is the last of the answer. Those with another number are
// what is left of an earlier request.
func readMessage(m []byte, sequence uint32, dump bool) (data []byte, done bool, err error) {
	kind, flags := binary.NativeEndian.Uint16(m[4:]), binary.NativeEndian.Uint16(m[6:])
	data = m[unix.SizeofNlMsghdr:]
	switch {
	case binary.NativeEndian.Uint32(m[8:]) != sequence:
		return nil, false, nil
	case flags&unix.NLM_F_DUMP_INTR != 0:
		return nil, false, errChanging
	case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
		if len(data) >= 4 && binary.NativeEndian.Uint32(data) != 0 {
			return nil, false, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
		}
		return nil, true, nil
	case len(data) < 4:
		return nil, false, errors.New("a message is too short")
	}
	return data[4:], !dump, nil
}

// generation is the number of the last commit to nftables in this network namespace, by whoever.
func (k *kernel) generation() (uint32, error) {
	replies, err := k.request(unix.NFT_MSG_GETGEN, 0, func(*attributes) {})
	if err != nil {
		return 0, err
	}
	for _, reply := range replies {
		if n, ok := number(reply, unix.NFTA_GEN_ID); ok {
			return uint32(n), nil
		}
	}
	return 0, errors.New("nftables has no generation")
}

// nextGeneration is the one after n: the kernel leaves 0 out.
func nextGeneration(n uint32) uint32 {
	if n+1 == 0 {
		return 1
	}
	return n + 1
}

// kernelTable is a table as the kernel describes it.
func (k *kernel) tableFlags() (flags uint32, err error) {
	replies, err := k.request(unix.NFT_MSG_GETTABLE, 0, func(a *attributes) { a.text(unix.NFTA_TABLE_NAME, k.name()) })
	if err != nil {
		return 0, err
	}
	for _, reply := range replies {
		n, _ := number(reply, unix.NFTA_TABLE_FLAGS)
		flags |= uint32(n)
	}
	return flags, nil
}

// kernelChain is a chain without its rules.
type kernelChain struct {
	name, kind string
	hooked     bool
	hook       uint64
	priority   int32
	policy     uint64
}

func (k *kernel) chains() ([]kernelChain, error) {
	replies, err := k.request(unix.NFT_MSG_GETCHAIN, netlink.Dump, func(*attributes) {})
	if err != nil {
		return nil, err
	}
	var out []kernelChain
	for _, reply := range replies {
		if text(reply, unix.NFTA_CHAIN_TABLE) != k.name() {
			continue
		}
		c := kernelChain{name: text(reply, unix.NFTA_CHAIN_NAME), kind: text(reply, unix.NFTA_CHAIN_TYPE)}
		if hook, ok := find(reply, unix.NFTA_CHAIN_HOOK); ok {
			c.hooked = true
			c.hook, _ = number(hook, unix.NFTA_HOOK_HOOKNUM)
			n, _ := number(hook, unix.NFTA_HOOK_PRIORITY)
			c.priority = int32(uint32(n))
		}
		c.policy, _ = number(reply, unix.NFTA_CHAIN_POLICY)
		out = append(out, c)
	}
	return out, nil
}

// kernelRule is a rule as its attributes.
type kernelRule struct {
	chain string
	// expressions is nil in a rule without any.
	expressions []byte
}

// rules returns the rules of one chain, or of all if chain is "".
func (k *kernel) rules(chain string) ([]kernelRule, error) {
	replies, err := k.request(unix.NFT_MSG_GETRULE, netlink.Dump, func(a *attributes) {
		a.text(unix.NFTA_RULE_TABLE, k.name())
		if chain != "" {
			a.text(unix.NFTA_RULE_CHAIN, chain)
		}
	})
	if err != nil {
		return nil, err
	}
	var out []kernelRule
	for _, reply := range replies {
		r := kernelRule{chain: text(reply, unix.NFTA_RULE_CHAIN)}
		// Older kernels do not filter.
		if text(reply, unix.NFTA_RULE_TABLE) != k.name() || chain != "" && r.chain != chain {
			continue
		}
		r.expressions, _ = find(reply, unix.NFTA_RULE_EXPRESSIONS)
		out = append(out, r)
	}
	return out, nil
}

// kernelSet is a set without its elements.
type kernelSet struct {
	name             string
	flags, key, size uint32
}

// sets returns one set, or all if name is "".
func (k *kernel) sets(name string) ([]kernelSet, error) {
	var flags netlink.HeaderFlags
	if name == "" {
		flags = netlink.Dump
	}
	replies, err := k.request(unix.NFT_MSG_GETSET, flags, func(a *attributes) {
		a.text(unix.NFTA_SET_TABLE, k.name())
		if name != "" {
			a.text(unix.NFTA_SET_NAME, name)
		}
	})
	if err != nil {
		return nil, err
	}
	var out []kernelSet
	for _, reply := range replies {
		if text(reply, unix.NFTA_SET_TABLE) != k.name() {
			continue
		}
		s := kernelSet{name: text(reply, unix.NFTA_SET_NAME)}
		for kind, n := range map[uint16]*uint32{unix.NFTA_SET_FLAGS: &s.flags, unix.NFTA_SET_KEY_TYPE: &s.key, unix.NFTA_SET_KEY_LEN: &s.size} {
			value, _ := number(reply, kind)
			*n = uint32(value)
		}
		out = append(out, s)
	}
	return out, nil
}

// kernelElement is an element; of a set with intervals it is the start of one, or its end.
type kernelElement struct {
	key   string
	end   bool
	code  int32
	chain string
}

// elements returns the elements of a set, or the one with the key if that is not "".
func (k *kernel) elements(set, key string) ([]kernelElement, error) {
	flags := netlink.Dump
	if key != "" {
		flags = 0
	}
	replies, err := k.request(unix.NFT_MSG_GETSETELEM, flags, func(a *attributes) {
		a.text(unix.NFTA_SET_ELEM_LIST_TABLE, k.name())
		a.text(unix.NFTA_SET_ELEM_LIST_SET, set)
		if key != "" {
			a.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				a.nest(unix.NFTA_LIST_ELEM, func() {
					a.nest(unix.NFTA_SET_ELEM_KEY, func() { a.raw(unix.NFTA_DATA_VALUE, []byte(key)) })
				})
			})
		}
	})
	if err != nil {
		return nil, err
	}
	var out []kernelElement
	for _, reply := range replies {
		list, ok := find(reply, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		if !ok {
			continue
		}
		err := eachAttribute(list, func(_ uint16, data []byte) error {
			out = append(out, decodeElement(data))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read elements of %s: %w", set, err)
		}
	}
	return out, nil
}

func decodeElement(data []byte) kernelElement {
	var e kernelElement
	if key, ok := find(data, unix.NFTA_SET_ELEM_KEY); ok {
		value, _ := find(key, unix.NFTA_DATA_VALUE)
		e.key = string(value)
	}
	flags, _ := number(data, unix.NFTA_SET_ELEM_FLAGS)
	e.end = flags&unix.NFT_SET_ELEM_INTERVAL_END != 0
	if value, ok := find(data, unix.NFTA_SET_ELEM_DATA); ok {
		v, _ := find(value, unix.NFTA_DATA_VERDICT)
		code, _ := number(v, unix.NFTA_VERDICT_CODE)
		e.code, e.chain = int32(uint32(code)), text(v, unix.NFTA_VERDICT_CHAIN)
	}
	return e
}

// object returns the data of a stateful object.
func (k *kernel) object(name string, kind uint32) ([]byte, error) {
	replies, err := k.request(unix.NFT_MSG_GETOBJ, 0, func(a *attributes) {
		a.text(unix.NFTA_OBJ_TABLE, k.name())
		a.text(unix.NFTA_OBJ_NAME, name)
		a.u32(unix.NFTA_OBJ_TYPE, kind)
	})
	if err != nil {
		return nil, err
	}
	for _, reply := range replies {
		if data, ok := find(reply, unix.NFTA_OBJ_DATA); ok {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s has no data", name)
}

// find returns the attribute of a kind. What cannot be read is not there; whoever looks for it misses it.
func find(data []byte, kind uint16) (value []byte, ok bool) {
	for len(data) >= 4 {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return nil, false
		}
		if binary.NativeEndian.Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return data[4:size], true
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return nil, false
}

func text(data []byte, kind uint16) string {
	value, _ := find(data, kind)
	return strings.TrimRight(string(value), "\x00")
}

// number returns an unsigned integer of 1, 2, 4 or 8 bytes.
func number(data []byte, kind uint16) (n uint64, ok bool) {
	value, ok := find(data, kind)
	for _, b := range value {
		n = n<<8 | uint64(b)
	}
	return n, ok
}
