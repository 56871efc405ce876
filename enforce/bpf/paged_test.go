//go:build linux

package bpf

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// Drivers may leave what they have not looked at in pages apart from the packet's first part, at any place; early demultiplexing,
// which forwarding nodes are advised to turn off, hides that from most. What the program reads must not depend on it.
func TestPacketsInPiecesAreReadAsWhole(t *testing.T) {
	r := newRig(t, "a", "b")
	tap := newPagedTap(r)
	a := newApplier(t, pinDir(t))
	r.must(a.Sync(t.Context(), plainRuleset(r, "a", "b")))

	total := func() (allowed, denied uint64) {
		hits, err := a.Hits(t.Context())
		r.must(err)
		return hits[ruleAllow].Packets, hits[ruleDeny].Packets
	}
	pieces := 0
	for _, six := range []bool{false, true} {
		source, destination, header := r.pods["a"].v4, r.pods["b"].v4, 20
		if six {
			source, destination, header = r.pods["a"].v6, r.pods["b"].v6, 40
		}
		for _, protocol := range []uint8{protocolTCP, protocolUDP, protocolSCTP} {
			for _, at := range []int{0, 1, 3, 4, 7, 8, 11, 12, 19, 20} { // of the bytes after the IP header, so many are in the first piece
				for _, port := range []uint16{5000, 6000} {
					f := ruleset.Flow{Source: source, Destination: destination, Protocol: protocol, Port: port, SourcePort: uint16(20000 + pieces)}
					pieces++
					allow, deny := total()
					tap.send(r, sound(packet(t, f)), header+at)
					// The way out of a is open, and counts as well.
					wantAllow, wantDeny := allow+2, deny
					if port == 6000 || protocol == protocolSCTP {
						wantAllow, wantDeny = allow+1, deny+1
					}
					gotAllow, gotDeny := total()
					for deadline := time.Now().Add(10 * time.Second); gotAllow+gotDeny < allow+deny+2 && time.Now().Before(deadline); {
						gotAllow, gotDeny = total()
					}
					if gotAllow != wantAllow || gotDeny != wantDeny {
						t.Fatalf("IPv6 %v, protocol %d to port %d, %d bytes of its header in the first piece: %d allowed, %d denied, want %d, %d",
							six, protocol, port, at, gotAllow-allow, gotDeny-deny, wantAllow-allow, wantDeny-deny)
					}
				}
			}
		}
	}
}

// pagedTap is a device of the node that puts each piece of what is written into a page of its own but the first.
type pagedTap struct {
	file *os.File
	mac  [6]byte
}

func newPagedTap(r *rig) *pagedTap {
	r.t.Helper()
	// Both would join the pieces that they look at.
	for setting, value := range map[string]string{"ipv4/ip_early_demux": "0", "ipv4/conf/default/rp_filter": "0", "ipv4/conf/all/rp_filter": "0"} {
		r.must(os.WriteFile("/proc/sys/net/"+setting, []byte(value), 0o644))
	}
	file, err := openTun(r.t.TempDir())
	r.must(err)
	r.t.Cleanup(func() { file.Close() })
	const name = "pages0"
	ifr, err := unix.NewIfreq(name)
	r.must(err)
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_NAPI | unix.IFF_NAPI_FRAGS)
	r.must(unix.IoctlIfreq(int(file.Fd()), unix.TUNSETIFF, ifr))
	r.must(withoutGRO(name))
	r.must(setUp(&netlink.Handle{}, name))
	l, err := netlink.LinkByName(name)
	r.must(err)
	return &pagedTap{file: file, mac: [6]byte(l.Attrs().HardwareAddr)}
}

// openTun opens the device of tun(4), by a node of its own in dir where the machine has none.
func openTun(dir string) (*os.File, error) {
	path := "/dev/net/tun"
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(dir, "tun")
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
			return nil, fmt.Errorf("make device node: %w", err)
		}
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// withoutGRO turns generic receive offload off, which would join the pieces too.
func withoutGRO(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	defer unix.Close(fd)
	value := struct{ command, data uint32 }{command: unix.ETHTOOL_SGRO}
	request := struct { // struct ifreq with ifr_data
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("turn GRO off: %w", errno)
	}
	return nil
}

// send sends an IP packet in two pieces, of which the first has so many bytes.
func (p *pagedTap) send(r *rig, ip []byte, first int) {
	r.t.Helper()
	frame := slices.Concat(p.mac[:], []byte{2, 0, 0, 0, 0, 1}, []byte{0x08, 0x00}, ip)
	if ip[0]>>4 == 6 {
		binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IPV6)
	}
	at := min(14+first, len(frame))
	pieces := [][]byte{frame[:at]}
	if at < len(frame) {
		pieces = append(pieces, frame[at:])
	}
	n, err := unix.Writev(int(p.file.Fd()), pieces)
	r.must(err)
	if n != len(frame) {
		r.t.Fatalf("wrote %d of %d bytes", n, len(frame))
	}
}

// sound gives an IPv4 header the checksum without which it would not be forwarded (RFC 791 3.1).
func sound(ip []byte) []byte {
	if ip[0]>>4 != 4 {
		return ip
	}
	var sum uint32
	for at := 0; at < 20; at += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[at:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	return ip
}
