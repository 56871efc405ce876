package authz

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Bounds of what a Memory holds for one snapshot. A narrowed rule takes about half a KiB.
const (
	maxServers = 1 << 10
	maxPairs   = 1 << 13
	// maxRules bounds the rules of all pairs of a generation together, maxPairRules those of one: what matches between two
	// addresses in more ways is looked up each time.
	maxRules     = 1 << 16
	maxPairRules = 1 << 13
)

// Memory decides as [Decide] does, and remembers which policies select a server and which of their rules can match between
// two addresses. So a check costs the same whatever the number of policies that are not about its two pods. What it holds of
// pods and addresses is of one snapshot only, in bounded space, and is forgotten when it is asked about another; what it
// holds of policies is in the policies alone, and serves the next snapshot, too. The zero value is ready; it is safe for
// concurrent use.
type Memory struct {
	current atomic.Pointer[remembered]
}

// Decide is the package's Decide.
func (m *Memory) Decide(s *policy.Snapshot, c *Config, server ServerName, r *Request) Decision {
	return decide(s, c, server, r, m.of(s))
}

// of returns what is remembered of s. Snapshots are told apart by their identity: their content never changes.
func (m *Memory) of(s *policy.Snapshot) *remembered {
	have := m.current.Load()
	if have != nil && have.snapshot == s {
		return have
	}
	fresh := &remembered{snapshot: s, servers: map[*policy.Workload]*eval.Selection{}, young: pairs{of: map[pair]*policy.Snapshot{}}}
	if have != nil {
		fresh.index = have.index
	} else {
		fresh.index = eval.NewIndex(policy.Ingress)
	}
	// Whoever loses the race works with an empty memory of the right snapshot.
	m.current.CompareAndSwap(have, fresh)
	return fresh
}

// pair is what the conditions of rules, ports and HTTP aside, can read of a flow.
type pair struct {
	server              *policy.Workload
	source, destination netip.Addr
	protocol            uint8
}

type pairs struct {
	of    map[pair]*policy.Snapshot
	rules int
}

// remembered is about one snapshot. Pairs are kept in two generations: when the young one is full, it becomes the old one,
// and what was in that one and not asked for meanwhile is forgotten.
type remembered struct {
	snapshot *policy.Snapshot
	index    *eval.Index

	mu         sync.RWMutex
	servers    map[*policy.Workload]*eval.Selection
	young, old pairs
}

// narrow implements knowledge.
func (m *remembered) narrow(f eval.Flow) *policy.Snapshot {
	key := pair{server: f.Destination.Workload, source: f.Source.Addr, destination: f.Destination.Addr, protocol: f.Protocol}
	m.mu.RLock()
	have, young := m.young.of[key]
	if !young {
		have = m.old.of[key]
	}
	m.mu.RUnlock()
	if young {
		return have
	}
	if have == nil {
		have = m.server(key.server).Between(f, fitting(m.snapshot, f))
	}
	if count(have) <= maxPairRules {
		m.keep(key, have)
	}
	return have
}

// readsAccountLabels implements knowledge.
func (m *remembered) readsAccountLabels(server *policy.Workload) bool {
	return m.server(server).ReadsAccountLabels
}

// server returns what depends on the server alone.
func (m *remembered) server(server *policy.Workload) *eval.Selection {
	m.mu.RLock()
	have, ok := m.servers[server]
	m.mu.RUnlock()
	if ok {
		return have
	}
	have = m.index.Selecting(m.snapshot, server)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.servers) >= maxServers {
		clear(m.servers)
	}
	m.servers[server] = have
	return have
}

func (m *remembered) keep(key pair, s *policy.Snapshot) {
	rules := count(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.young.of[key]; ok {
		return
	}
	if len(m.young.of) >= maxPairs || m.young.rules+rules > maxRules {
		m.old, m.young = m.young, pairs{of: map[pair]*policy.Snapshot{}}
	}
	m.young.of[key] = s
	m.young.rules += rules
}

// count counts the rules that a narrowed snapshot holds.
func count(s *policy.Snapshot) int {
	n := 0
	for _, tier := range s.Tiers {
		for _, p := range tier.Policies {
			n += len(p.Ingress)
		}
	}
	return n
}
