// SPDX-License-Identifier: GPL-2.0-only OR MIT

// The maps; layout.go has the same for the other side.
#pragma once

struct address { // network byte order; IPv4 as ::ffff:a.b.c.d
	__u64 high, low;
};

struct host {
	struct address key; // of the element: tells whether it was reused while it was read
	__u32 identity, was_identity; // 0: look in prefixes
	__u32 subject, was_subject; // index into subjects; 0: not an endpoint
	__u64 generation;
};

struct prefix_key {
	__u32 bits;
	__u32 address[4];
};

struct prefix {
	__u32 identity, was_identity;
	__u32 subject, was_subject; // of addresses that are not in hosts
	__u64 generation;
};

struct row { // a range of segments; none is no row
	__u32 first, count;
};

struct side {
	__u32 program;
	struct row fallback;
};

struct subject {
	struct side ingress, egress;
};

struct cell_key {
	__u32 program, identity;
};

struct cell {
	struct cell_key key; // as in host
	struct row row, was;
	__u64 generation;
};

// Sorted by start; each goes to the next one's start.
struct segment {
	__u32 start; // protocol << 16 | port; in a list of source ports: the port
	__u32 rule; // if SPLIT: the first segment of the list of source ports
	__u32 log; // if SPLIT: their number
	__u32 flags;
};
enum { ALLOW = 1, SPLIT = 2 };

struct event {
	__u64 time; // ns since boot
	__u64 lost;
	struct address source, destination;
	__u32 rule;
	__u16 port, source_port;
	__u8 protocol, egress, allowed, unused[5];
};

// What was decided of packets between two addresses to one port lately, where source ports do not matter: a cache, one per
// processor.
struct flow {
	__u64 generation; // that it was decided by; 0 is none
	struct address source, destination;
	__u16 port; // as in packet
	__u8 protocol, flags;
	__u32 turn; // odd while it is written
	__u32 egress_rule, egress_log, ingress_rule, ingress_log;
};
enum { EGRESS_APPLIES = 1, EGRESS_ALLOWS = 2, INGRESS_APPLIES = 4, INGRESS_ALLOWS = 8 };
enum { FLOWS = 512 }; // 64 bytes each

struct bucket {
	__u64 credit, filled; // ns
	__u64 lost;
};

// Sizes are set by the loader.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct address);
	__type(value, struct host);
} hosts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct prefix_key);
	__type(value, struct prefix);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct cell_key);
	__type(value, struct cell);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct subject);
} subjects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct segment);
} segments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} generation SEC(".maps");

struct { // by rule
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct { // by hash
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOWS);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
