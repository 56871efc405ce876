package state

import (
	"maps"
	"sync"
	"unique"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy/reference"
)

// accounts holds the names and labels of service accounts. It is safe for concurrent use.
type accounts struct {
	mu sync.RWMutex
	in map[string]*accountsOf // by namespace
}

// accountsOf is the accounts of one namespace. Names of accounts repeat in many namespaces, labels on many accounts.
type accountsOf struct {
	labels map[unique.Handle[string]][]label // by account
	counts map[label]int
	keys   map[unique.Handle[string]]int
}

type label struct{ key, value unique.Handle[string] }

// AnyAccount implements webhook.World: whether an account of a namespace, or any where that is "", is one that the grant
// speaks of.
func (c *Cluster) AnyAccount(namespace string, g reference.Grant) decision.Fact[bool] {
	if c.live.AccountsCurrent == nil || !c.live.AccountsCurrent() {
		return decision.Unknown[bool]("service accounts are not read, or not current")
	}
	is := func(in *accountsOf) bool { return true }
	switch g.Kind {
	case reference.Account:
		name := unique.Make(g.Value)
		is = func(in *accountsOf) bool { _, ok := in.labels[name]; return ok }
	case reference.Label:
		l := label{key: unique.Make(g.Key), value: unique.Make(g.Value)}
		is = func(in *accountsOf) bool { return in.counts[l] > 0 }
	case reference.AnyValue:
		key := unique.Make(g.Key)
		is = func(in *accountsOf) bool { return in.keys[key] > 0 }
	case reference.Everything, reference.AnyAccount, reference.AnyLabel: // every account is
	}
	return decision.Known(c.accounts.some(namespace, is))
}

func (a *accounts) some(namespace string, is func(*accountsOf) bool) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if namespace != "" {
		in, ok := a.in[namespace]
		return ok && is(in)
	}
	for _, in := range a.in {
		if is(in) {
			return true
		}
	}
	return false
}

// put is for a writer that holds the lock; nil labels of a known account are no labels.
func (a *accounts) put(namespace, name string, labels map[string]string) {
	if a.in == nil {
		a.in = map[string]*accountsOf{}
	}
	in := a.in[namespace]
	if in == nil {
		in = &accountsOf{labels: map[unique.Handle[string]][]label{}, counts: map[label]int{}, keys: map[unique.Handle[string]]int{}}
		a.in[namespace] = in
	}
	h := unique.Make(name)
	in.count(h, -1)
	list := make([]label, 0, len(labels))
	for k, v := range labels {
		list = append(list, label{key: unique.Make(k), value: unique.Make(v)})
	}
	in.labels[h] = list
	in.count(h, 1)
}

func (a *accounts) remove(namespace, name string) {
	in := a.in[namespace]
	if in == nil {
		return
	}
	h := unique.Make(name)
	in.count(h, -1)
	delete(in.labels, h)
	if len(in.labels) == 0 {
		delete(a.in, namespace)
	}
}

// count adds by to what is counted of an account's labels.
func (in *accountsOf) count(account unique.Handle[string], by int) {
	for _, l := range in.labels[account] {
		in.counts[l] += by
		in.keys[l.key] += by
	}
	if by < 0 {
		maps.DeleteFunc(in.counts, func(_ label, n int) bool { return n == 0 })
		maps.DeleteFunc(in.keys, func(_ unique.Handle[string], n int) bool { return n == 0 })
	}
}

// SetAccount adds or changes a service account. Accounts do not count in Revision: no decision rests on them.
func (c *Cluster) SetAccount(namespace, name string, labels map[string]string) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	c.accounts.put(namespace, name, labels)
}

// DeleteAccount forgets a service account.
func (c *Cluster) DeleteAccount(namespace, name string) {
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	c.accounts.remove(namespace, name)
}

// ReplaceAccounts makes all the service accounts there are: each is called with a function to be told of them, one by one.
func (c *Cluster) ReplaceAccounts(each func(add func(namespace, name string, labels map[string]string))) {
	var fresh accounts
	each(fresh.put)
	c.accounts.mu.Lock()
	defer c.accounts.mu.Unlock()
	c.accounts.in = fresh.in
}
