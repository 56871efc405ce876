package bypass

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
)

// Facts is what the kernel says of the node's network.
type Facts struct {
	// Links are the network interfaces, by name.
	Links map[string]Link
	// Routes are those of the main table.
	Routes []Route
	// BridgeCalls says, for IPv4 and IPv6, whether every bridge hands packets to the hooks (net.bridge.bridge-nf-call-iptables
	// and -ip6tables); false where the module is not loaded.
	BridgeCalls [2]bool
}

// Link is a network interface.
type Link struct {
	Bridge bool
	// Calls is [Facts.BridgeCalls] of this bridge alone.
	Calls [2]bool
}

// Route is a prefix and the interface that its packets leave by.
type Route struct {
	Prefix netip.Prefix
	Link   string
}

// Gather reads the facts from root, which is "/" of the node's network namespace: /proc/net, /proc/sys/net and /sys/class/net.
func Gather(root fs.FS) (Facts, error) {
	f := Facts{Links: map[string]Link{}}
	entries, err := fs.ReadDir(root, "sys/class/net")
	if err != nil {
		return Facts{}, fmt.Errorf("list network interfaces: %w", err)
	}
	for _, e := range entries {
		dir := "sys/class/net/" + e.Name() + "/bridge/"
		_, err := fs.Stat(root, strings.TrimSuffix(dir, "/"))
		f.Links[e.Name()] = Link{
			Bridge: err == nil,
			Calls:  [2]bool{flag(root, dir+"nf_call_iptables"), flag(root, dir+"nf_call_ip6tables")},
		}
	}
	f.BridgeCalls = [2]bool{flag(root, "proc/sys/net/bridge/bridge-nf-call-iptables"), flag(root, "proc/sys/net/bridge/bridge-nf-call-ip6tables")}
	for file, parse := range map[string]func(string) ([]Route, error){"proc/net/route": parseIPv4, "proc/net/ipv6_route": parseIPv6} {
		text, err := fs.ReadFile(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an IP version that the kernel does not have
		}
		if err != nil {
			return Facts{}, fmt.Errorf("read routes: %w", err)
		}
		routes, err := parse(string(text))
		if err != nil {
			return Facts{}, fmt.Errorf("read /%s: %w", file, err)
		}
		f.Routes = append(f.Routes, routes...)
	}
	return f, nil
}

// flag reads a file that holds 0 or 1; one that is missing is 0.
func flag(root fs.FS, name string) bool {
	text, err := fs.ReadFile(root, name)
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// parseIPv4 reads /proc/net/route (net/ipv4/fib_trie.c): addresses are in the byte order of the machine, as hex.
func parseIPv4(text string) ([]Route, error) {
	var out []Route
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 {
			continue // titles
		}
		if len(fields) < 8 {
			return nil, fmt.Errorf("line %d has %d columns", i+1, len(fields))
		}
		destination, err := word(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: destination: %w", i+1, err)
		}
		mask, err := word(fields[7])
		if err != nil {
			return nil, fmt.Errorf("line %d: mask: %w", i+1, err)
		}
		bits := 0
		for bits < 32 && mask[bits/8]&(0x80>>(bits%8)) != 0 {
			bits++
		}
		out = append(out, Route{Prefix: netip.PrefixFrom(netip.AddrFrom4(destination), bits).Masked(), Link: fields[0]})
	}
	return out, nil
}

func word(text string) ([4]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return [4]byte{}, fmt.Errorf("%q is not 8 hex digits", text)
	}
	var out [4]byte
	binary.NativeEndian.PutUint32(out[:], binary.BigEndian.Uint32(raw))
	return out, nil
}

// parseIPv6 reads /proc/net/ipv6_route (net/ipv6/route.c): destination, prefix length, ..., interface last.
func parseIPv6(text string) ([]Route, error) {
	var out []Route
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 10 {
			return nil, fmt.Errorf("line %d has %d columns", i+1, len(fields))
		}
		raw, err := hex.DecodeString(fields[0])
		if err != nil || len(raw) != 16 {
			return nil, fmt.Errorf("line %d: destination %q is not 32 hex digits", i+1, fields[0])
		}
		bits, err := hex.DecodeString(fields[1])
		if err != nil || len(bits) != 1 || bits[0] > 128 {
			return nil, fmt.Errorf("line %d: prefix length %q is not of 0 to 80 hex", i+1, fields[1])
		}
		out = append(out, Route{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(raw)), int(bits[0])).Masked(), Link: fields[9]})
	}
	return out, nil
}
