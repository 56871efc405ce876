// SPDX-License-Identifier: GPL-2.0-only OR MIT

// What a packet is to the rules, and how it is read.
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "layout.h"

// The fields of kernel structures that are read; offsets are the running kernel's (CO-RE).
#define KERNEL __attribute__((preserve_access_index))
struct sk_buff {
	unsigned int len, data_len;
	unsigned long _nfct;
	unsigned char *data;
} KERNEL;
struct udphdr { // TCP's ports are in the same place
	__be16 source, dest, len, check;
} KERNEL;

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 buffer__szk) __ksym;

enum { HOPOPTS = 0, ICMP = 1, TCP = 6, UDP = 17, ROUTING = 43, FRAGMENT = 44, AUTH = 51, ICMPV6 = 58, DSTOPTS = 60, SCTP = 132, UDPLITE = 136 };
enum { PF_IPV4 = 2, PF_IPV6 = 10 };

#define MAX_EXTENSION_HEADERS 8

struct packet {
	struct address source, destination;
	__u16 port, source_port;
	__u8 protocol;
	__u8 readable; // ports and protocol are known
	__u8 is_error; // an ICMP error
	__u8 established; // the connection has seen a reply
};

// port_header says how much of the packet the protocol's header takes at least; 0 if it has neither ports nor type and code.
static __always_inline __u32 port_header(__u8 protocol)
{
	switch (protocol) {
	case TCP:
		return 20;
	case SCTP:
		return 12;
	case UDP:
	case UDPLITE:
	case ICMP:
	case ICMPV6:
		return 8;
	}
	return 0;
}

static __always_inline void read_ports(struct bpf_dynptr *d, __u32 len, __u32 offset, struct packet *p)
{
	__u32 need = port_header(p->protocol);
	__u8 buffer[4], *h;

	if (!need) {
		p->readable = 1;
		return;
	}
	if (offset + need > len)
		return;
	h = bpf_dynptr_slice(d, offset, buffer, sizeof(buffer));
	if (!h)
		return;
	p->readable = 1;
	if (p->protocol == ICMP || p->protocol == ICMPV6) {
		p->port = (__u16)h[0] << 8 | h[1];
		if (p->protocol == ICMPV6)
			p->is_error = h[0] < 128;
		else // unreachable, source quench, redirect, time exceeded, parameter problem
			p->is_error = h[0] == 3 || h[0] == 4 || h[0] == 5 || h[0] == 11 || h[0] == 12;
		return;
	}
	p->source_port = (__u16)h[0] << 8 | h[1];
	p->port = (__u16)h[2] << 8 | h[3];
}

static __always_inline int is_ipv4(struct address *a)
{
	return !a->high && (__u32)a->low == bpf_htonl(0xffff);
}

// AT is a header of the packet at an address in the kernel's memory. It is read without calling the kernel, and whoever uses
// it has to know that it is there: what is not memory reads as 0, and what is not of the packet is not stopped.
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;
#define AT(address, type) ((const type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(type)))

// glance reads the packet if it is like nearly all: TCP or UDP, without options, extension headers or fragments, in one piece
// as far as the end of their headers; else it returns -1, and leaves p unreadable.
static __always_inline int glance(struct sk_buff *skb, __u8 pf, struct packet *p)
{
	unsigned char *data = skb->data;
	__u32 linear = skb->len - skb->data_len, size;
	const struct udphdr *ports;
	__u8 protocol;

	if (pf == PF_IPV4) {
		const struct iphdr *ip = AT(data, struct iphdr);

		size = sizeof(*ip);
		if (linear < size || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
			return -1;
		protocol = ip->protocol;
		p->source.low = bpf_cpu_to_be64(0xffff00000000ull) | (__u64)ip->saddr << 32;
		p->destination.low = bpf_cpu_to_be64(0xffff00000000ull) | (__u64)ip->daddr << 32;
	} else {
		const struct ipv6hdr *ip = AT(data, struct ipv6hdr);

		size = sizeof(*ip);
		if (pf != PF_IPV6 || linear < size)
			return -1;
		protocol = ip->nexthdr;
		p->source.high = ((const __u64 *)&ip->saddr)[0];
		p->source.low = ((const __u64 *)&ip->saddr)[1];
		p->destination.high = ((const __u64 *)&ip->daddr)[0];
		p->destination.low = ((const __u64 *)&ip->daddr)[1];
		if (is_ipv4(&p->source) || is_ipv4(&p->destination))
			return -1;
	}
	if ((protocol != UDP && protocol != TCP) || linear < size + port_header(protocol))
		return -1;
	ports = AT(data + size, struct udphdr);
	p->protocol = protocol;
	p->source_port = bpf_ntohs(ports->source);
	p->port = bpf_ntohs(ports->dest);
	p->readable = 1;
	return 0;
}

static __always_inline int read_ipv4(struct bpf_dynptr *d, __u32 len, struct packet *p)
{
	struct iphdr buffer, *ip = bpf_dynptr_slice(d, 0, &buffer, sizeof(buffer));

	if (!ip)
		return -1;
	p->source.low = bpf_cpu_to_be64(0xffff00000000ull) | (__u64)ip->saddr << 32;
	p->destination.low = bpf_cpu_to_be64(0xffff00000000ull) | (__u64)ip->daddr << 32;
	p->protocol = ip->protocol;
	// Fragments were put together before; if one comes all the same, it cannot be read.
	if (!(ip->frag_off & bpf_htons(0x3fff)) && ip->ihl >= 5)
		read_ports(d, len, ip->ihl * 4, p);
	return 0;
}

static __always_inline int read_ipv6(struct bpf_dynptr *d, __u32 len, struct packet *p)
{
	struct ipv6hdr buffer, *ip = bpf_dynptr_slice(d, 0, &buffer, sizeof(buffer));
	__u32 offset = sizeof(*ip);
	__u8 protocol;
	int i;

	if (!ip)
		return -1;
	__builtin_memcpy(&p->source, &ip->saddr, sizeof(p->source));
	__builtin_memcpy(&p->destination, &ip->daddr, sizeof(p->destination));
	// An IPv4 address in an IPv6 header would get the rights of the IPv4 pod: unreadable.
	if (is_ipv4(&p->source) || is_ipv4(&p->destination))
		return 0;
	protocol = ip->nexthdr;
	for (i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		__u8 room[4], *h;

		if (protocol != HOPOPTS && protocol != ROUTING && protocol != FRAGMENT && protocol != AUTH && protocol != DSTOPTS) {
			p->protocol = protocol;
			read_ports(d, len, offset, p);
			return 0;
		}
		if (offset + 8 > len)
			break;
		h = bpf_dynptr_slice(d, offset, room, sizeof(room));
		if (!h)
			break;
		if (protocol == FRAGMENT) {
			if (h[2] || h[3] & 0xf9) // offset or more fragments, as for IPv4
				break;
			offset += 8;
		} else if (protocol == AUTH) {
			offset += ((__u32)h[1] + 2) * 4;
		} else {
			offset += ((__u32)h[1] + 1) * 8;
		}
		protocol = h[0];
	}
	p->protocol = protocol;
	return 0;
}
