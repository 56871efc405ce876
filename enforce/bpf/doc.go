// Package bpf enforces rulesets by one BPF program on the FORWARD hook of netfilter (links of that kind exist from Linux 6.4
// on), attached for IPv4 and IPv6, behind IP defragmentation.
//
// Data flow in one direction:
//
//	rows.go    row -> sorted segments
//	tables.go  what was applied last, and where in the kernel it lies
//	plan.go    tables + deltas -> change (pure)
//	kernel.go  change -> maps; the maps and the program are made together and never outlive each other
//	pins.go    program -> links, which are pinned and so outlive the process
//	judge.c    packet -> maps -> verdict
//
// A packet of a pod costs two lookups in hosts (address -> identity, and for the node's own pods -> subject), one in cells
// (program, identity -> row) for each end that is of this node, and one binary search in the segments of the row, whatever
// the number of policies. An address that is no pod's takes one lookup more, in prefixes. What was decided lately between two
// addresses, for one port of the destination, is remembered for the processor (64 bytes each, 512 of them) and holds for one
// generation; where a rule looks at source ports, it is not. Packets like nearly all are read where they are, which takes no call of
// the kernel; all others, and those whose ports are in another page, through it (packet.h).
//
// # Updates
//
// Every element that can change holds what it says and what it said before, and the generation from which on it says it. An
// update writes all of its elements first; then raising the number in the map generation puts all of them into force at once:
// a packet is judged by the ruleset before or by the one after, never by a mixture, however long the delta. Rows and subjects
// never change; they are written where nothing refers to, and their place is used again only in a later generation. A packet
// during whose judgement the generation changes is judged again.
//
// [Applier.Sync] makes new maps and a new program instead. It attaches them beside the old ones, at another priority, and then
// takes the old ones away; in between a packet has to pass both, so nothing leaks. A process that is killed in between leaves
// both, which deny what either denies, until the next Sync.
//
// # What is needed
//
// CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the program reads fields of the kernel's struct sk_buff), and CAP_SYS_ADMIN only to
// mount the BPF file system where it is not; conntrack, which nf_tables is asked to switch on, since otherwise no packet would
// be known for a reply.
package bpf
