//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR MIT

// The program on the FORWARD hook: what layout.h says about the maps, and rows.go about segments, is what it reads.
//
// One packet is judged by the state of one generation. Whoever writes puts (new, was, generation of the new) into every
// element that changes, and then raises the generation: until then readers take "was". A reader that sees the generation
// change under its hands starts again, so elements that nobody of the present generation refers to may be reused.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "packet.h"

char __license[] SEC("license") = "Dual MIT/GPL";

struct nf_hook_state {
	__u8 pf;
} KERNEL;
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
} KERNEL;

enum { DROP, ACCEPT }; // netfilter verdicts

// enum ip_conntrack_info, the low bits of skb->_nfct; the rest is the connection, or 0.
enum { CT_ESTABLISHED, CT_RELATED, CT_NEW, CT_REPLY, CT_RELATED_REPLY, CT_MASK = 7 };

#define MAX_TRIES 4
#define MAX_HALVINGS 18 // of a row of at most 2^18 segments

// The rate limit of events on one CPU: the time that one event costs and the most that is saved up.
volatile const __u64 event_cost = 1000000;
volatile const __u64 event_burst = 100000000;

// The verdict at one end. The zero value, if it applies, denies.
struct decision {
	__u32 applies, allow, rule, log;
	__u32 by_source_port;
};

// Whether the processor does loads in the order of the program, as x86 does; set by the loader.
volatile const __u8 loads_are_ordered = 0;

#define barrier_compiler() asm volatile("" ::: "memory")

// barrier_loads orders the loads before it and after it; the fetching atomic is a full barrier.
static __always_inline void barrier_loads(void)
{
	volatile __u64 word = 0;

	if (loads_are_ordered) {
		barrier_compiler();
		return;
	}
	__u64 was = __sync_fetch_and_add(&word, 0);
	asm volatile("" ::"r"(was) : "memory");
}

#define READ(x) (*(volatile typeof(x) *)&(x))
#define WRITE(x, value) (*(volatile typeof(x) *)&(x) = (value))

static __always_inline __u64 now_generation(void)
{
	__u32 zero = 0;
	__u64 *g = bpf_map_lookup_elem(&generation, &zero);

	return g ? READ(*g) : 0;
}

// read_host says what is known of an address; -1 if the element was reused meanwhile.
static __always_inline int read_host(struct address *a, __u64 now, __u32 *identity, __u32 *subject)
{
	struct host *h = bpf_map_lookup_elem(&hosts, a);
	__u64 generation;

	*identity = *subject = 0;
	if (!h)
		return 0;
	generation = READ(h->generation);
	*identity = generation <= now ? READ(h->identity) : READ(h->was_identity);
	*subject = generation <= now ? READ(h->subject) : READ(h->was_subject);
	return READ(h->key.high) == a->high && READ(h->key.low) == a->low ? 0 : -1;
}

// read_prefix says what is known of an address of which hosts has no identity: not what it is judged as, if hosts says that.
static __always_inline void read_prefix(struct address *a, __u64 now, __u32 *identity, __u32 *subject)
{
	struct prefix_key key = { .bits = 128 };
	struct prefix *p;
	int current;

	__builtin_memcpy(key.address, a, sizeof(key.address));
	p = bpf_map_lookup_elem(&prefixes, &key);
	if (!p)
		return;
	current = READ(p->generation) <= now;
	*identity = current ? READ(p->identity) : READ(p->was_identity);
	if (!*subject)
		*subject = current ? READ(p->subject) : READ(p->was_subject);
}

// A function that is not static is verified once and not at every call.

// last_before returns the index of the last segment of the list that starts at start or before it; 0 is none.
__noinline __u32 last_before(__u32 first, __u32 count, __u32 start)
{
	struct segment *s;
	int i;

	if (!count)
		return 0;
	for (i = 0; i < MAX_HALVINGS && count > 1; i++) {
		__u32 half = count / 2, middle = first + half;

		s = bpf_map_lookup_elem(&segments, &middle);
		if (!s)
			return 0;
		if (s->start <= start) {
			first = middle;
			count -= half;
		} else {
			count = half;
		}
	}
	return count == 1 ? first : 0;
}

// find returns the index of the segment of the row for the protocol of start, or for protocol 0 if it has none of its own;
// and BY_SOURCE_PORT if the packet's source port chose it.
#define BY_SOURCE_PORT (1ull << 32)
__noinline __u64 find(__u32 first, __u32 count, __u32 start, __u32 source_port)
{
	__u32 at = last_before(first, count, start);
	struct segment *s = bpf_map_lookup_elem(&segments, &at);

	if (s && (s->start ^ start) >> 16) {
		at = last_before(first, count, start & 0xffff);
		s = bpf_map_lookup_elem(&segments, &at);
	}
	if (s && s->flags & SPLIT)
		return BY_SOURCE_PORT | last_before(s->rule, s->log, source_port);
	return at;
}

static __noinline int decide(struct packet *p, struct side *side, __u32 peer, __u64 now, struct decision *out)
{
	struct cell_key key = { .program = side->program, .identity = peer };
	struct row row = side->fallback;
	struct segment *s;
	struct cell *c;
	__u64 found;
	__u32 at;

	c = bpf_map_lookup_elem(&cells, &key);
	if (c) {
		int current = READ(c->generation) <= now;
		struct row own;

		own.first = current ? READ(c->row.first) : READ(c->was.first);
		own.count = current ? READ(c->row.count) : READ(c->was.count);
		if (READ(c->key.program) != key.program || READ(c->key.identity) != key.identity)
			return -1;
		if (own.count)
			row = own;
	}
	found = find(row.first, row.count, (__u32)p->protocol << 16 | p->port, p->source_port);
	out->by_source_port = !!(found & BY_SOURCE_PORT);
	at = found;
	s = bpf_map_lookup_elem(&segments, &at);
	if (!at || !s || s->flags & SPLIT)
		return 0;
	out->allow = s->flags & ALLOW;
	out->rule = s->rule;
	out->log = s->log;
	return 0;
}

static __always_inline struct flow *flow_of(struct packet *p)
{
	__u64 hash = p->source.low ^ p->source.high * 3;
	__u32 slot;

	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ull;
	hash ^= p->destination.low ^ p->destination.high * 3;
	hash = (hash ^ hash >> 32) * 0x94d049bb133111ebull;
	hash ^= (__u32)p->protocol << 16 | p->port;
	hash *= 0x9e3779b97f4a7c15ull;
	slot = hash >> 32 & (FLOWS - 1);
	return bpf_map_lookup_elem(&flows, &slot);
}

// recall returns what was decided in this generation of a packet like this one, whatever its source port; -1 if that is not
// known. Whoever interrupts this program on its processor, and writes the element meanwhile, changes turn.
static __always_inline int recall(struct packet *p, struct flow *f, __u64 now, struct decision *egress, struct decision *ingress)
{
	__u32 turn = READ(f->turn);
	__u8 flags;

	barrier_compiler();
	if (f->generation != now || f->source.low != p->source.low || f->destination.low != p->destination.low ||
	    f->source.high != p->source.high || f->destination.high != p->destination.high || f->port != p->port ||
	    f->protocol != p->protocol)
		return -1;
	flags = f->flags;
	egress->by_source_port = ingress->by_source_port = 0;
	egress->applies = !!(flags & EGRESS_APPLIES);
	egress->allow = !!(flags & EGRESS_ALLOWS);
	egress->rule = f->egress_rule;
	egress->log = f->egress_log;
	ingress->applies = !!(flags & INGRESS_APPLIES);
	ingress->allow = !!(flags & INGRESS_ALLOWS);
	ingress->rule = f->ingress_rule;
	ingress->log = f->ingress_log;
	barrier_compiler();
	return turn & 1 || READ(f->turn) != turn ? -1 : 0;
}

// remember keeps what was decided, unless it interrupted somebody who is about to write the element.
static __always_inline void remember(struct packet *p, struct flow *f, __u64 now, struct decision *egress, struct decision *ingress)
{
	__u32 turn = READ(f->turn);

	if (turn & 1)
		return;
	WRITE(f->turn, turn + 1);
	barrier_compiler();
	f->generation = now;
	f->source = p->source;
	f->destination = p->destination;
	f->port = p->port;
	f->protocol = p->protocol;
	f->flags = (egress->applies ? EGRESS_APPLIES : 0) | (egress->allow ? EGRESS_ALLOWS : 0) |
		   (ingress->applies ? INGRESS_APPLIES : 0) | (ingress->allow ? INGRESS_ALLOWS : 0);
	f->egress_rule = egress->rule;
	f->egress_log = egress->log;
	f->ingress_rule = ingress->rule;
	f->ingress_log = ingress->log;
	barrier_compiler();
	WRITE(f->turn, turn + 2);
}

// judge decides at both ends by the state of one generation; -1 if it changed meanwhile.
__noinline int judge(struct packet *p, struct decision *egress, struct decision *ingress)
{
	__u32 source, destination, source_subject, destination_subject;
	__u64 now = now_generation();
	struct flow *f;
	int failed;

	if (!p || !egress || !ingress) // for the verifier
		return -1;
	__builtin_memset(egress, 0, sizeof(*egress));
	__builtin_memset(ingress, 0, sizeof(*ingress));
	barrier_loads();
	failed = read_host(&p->source, now, &source, &source_subject);
	failed |= read_host(&p->destination, now, &destination, &destination_subject);
	if (!source)
		read_prefix(&p->source, now, &source, &source_subject);
	if (!destination)
		read_prefix(&p->destination, now, &destination, &destination_subject);
	egress->applies = !!source_subject;
	ingress->applies = !!destination_subject;
	if (!p->readable)
		goto out;
	if (source_subject) {
		struct subject *s = bpf_map_lookup_elem(&subjects, &source_subject);

		if (s) {
			struct side side = s->egress;

			failed |= decide(p, &side, destination, now, egress);
		}
	}
	if (destination_subject && (!source_subject || egress->allow)) {
		struct subject *s = bpf_map_lookup_elem(&subjects, &destination_subject);

		if (s) {
			struct side side = s->ingress;

			failed |= decide(p, &side, source, now, ingress);
		}
	}
out:
	barrier_loads();
	if (failed || now_generation() != now)
		return -1;
	if (!p->readable || egress->by_source_port || ingress->by_source_port)
		return 0;
	f = flow_of(p);
	if (f)
		remember(p, f, now, egress, ingress);
	return 0;
}

__noinline int report(struct packet *p, __u32 rule, __u32 egress, __u32 allowed)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 zero = 0;
	struct bucket *b = bpf_map_lookup_elem(&buckets, &zero);
	struct event *e;

	if (!b || !p)
		return 0;
	b->credit += now - b->filled;
	b->filled = now;
	if (b->credit > event_burst)
		b->credit = event_burst;
	if (b->credit < event_cost) {
		b->lost++;
		return 0;
	}
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		b->lost++;
		return 0;
	}
	b->credit -= event_cost;
	__builtin_memset(e, 0, sizeof(*e));
	e->time = now;
	e->lost = b->lost;
	e->source = p->source;
	e->destination = p->destination;
	e->rule = rule;
	e->port = p->port;
	e->source_port = p->source_port;
	e->protocol = p->protocol;
	e->egress = egress;
	e->allowed = allowed;
	b->lost = 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

// conclude counts and reports what was decided at one end, and returns the verdict. Only the first packets of an allowed
// connection are logged: the others would use up the limit.
static __always_inline int conclude(struct packet *p, struct decision *d, __u32 egress)
{
	__u64 *n;

	if (!d->applies)
		return ACCEPT;
	n = bpf_map_lookup_elem(&hits, &d->rule);
	if (n)
		++*n;
	if (d->log && (!d->allow || !p->established))
		report(p, d->log, egress, d->allow);
	if (d->allow)
		return ACCEPT;
	report(p, d->rule, egress, 0);
	return DROP;
}

SEC("netfilter")
int forward(struct bpf_nf_ctx *ctx)
{
	struct sk_buff *skb = ctx->skb;
	unsigned long ct = skb->_nfct;
	__u32 info = ct & CT_MASK, len = skb->len;
	struct decision egress = {}, ingress = {};
	struct packet p = {};
	struct bpf_dynptr d;
	struct flow *f;
	int known = !!(ct & ~(unsigned long)CT_MASK), i, failed = -1;

	if (known && info == CT_REPLY)
		return ACCEPT;
	if (glance(skb, ctx->state->pf, &p)) {
		// What cannot be read at all may be for an endpoint: fails closed.
		if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &d))
			return DROP;
		if (ctx->state->pf == PF_IPV4)
			failed = read_ipv4(&d, len, &p);
		else if (ctx->state->pf == PF_IPV6)
			failed = read_ipv6(&d, len, &p);
		if (failed)
			return DROP;
	}
	p.established = known && info == CT_ESTABLISHED;
	if (known && p.is_error && (info == CT_RELATED || info == CT_RELATED_REPLY))
		return ACCEPT;
	// What was decided in this generation is the verdict of the state that was in force when the generation was read.
	f = p.readable ? flow_of(&p) : 0;
	failed = f ? recall(&p, f, now_generation(), &egress, &ingress) : -1;
	for (i = 0; failed && i < MAX_TRIES; i++)
		failed = judge(&p, &egress, &ingress);
	if (failed) // the state changes faster than it can be read: fails closed
		return DROP;
	if (conclude(&p, &egress, 1) == DROP)
		return DROP;
	return conclude(&p, &ingress, 0);
}
