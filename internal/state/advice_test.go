package state_test

import (
	"sync"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/reference"
	"github.com/saguard/saguard/policy/shadow"
)

func shadowPolicy(namespace, name string) state.Policy {
	return state.Policy{Shadow: shadow.New(policy.Object{Value: &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}})}
}

func always() bool { return true }

// What stands beside a policy follows the policies there are, in its namespace and in none.
func TestOthersFollowPolicies(t *testing.T) {
	c := state.New(state.Live{PoliciesCurrent: always}, nil)
	id := func(resource, namespace, name string) state.PolicyID {
		return state.PolicyID{Resource: resource, Namespace: namespace, Name: name}
	}
	expect := func(when, namespace string, own, global int) {
		t.Helper()
		o, ok := c.Others(namespace).Get()
		if !ok || len(o.Own) != own || len(o.Global) != global {
			t.Errorf("%s: %d of the namespace and %d global (known: %v), want %d and %d", when, len(o.Own), len(o.Global), ok, own, global)
		}
	}
	expect("nothing", "prod", 0, 0)
	c.SetPolicy(id("n", "prod", "a"), shadowPolicy("prod", "a"))
	c.SetPolicy(id("n", "dev", "a"), shadowPolicy("dev", "a"))
	c.SetPolicy(id("g", "", "a"), shadowPolicy("", "a"))
	expect("one of each", "prod", 1, 1)
	expect("seen from nowhere", "", 0, 1)
	before, _ := c.Others("prod").Get()
	c.SetPolicy(id("n", "prod", "b"), shadowPolicy("prod", "b"))
	c.SetPolicy(id("n", "prod", "a"), shadowPolicy("prod", "a"))
	expect("two in prod", "prod", 2, 1)
	if len(before.Own) != 1 {
		t.Error("a slice that was handed out has changed")
	}
	c.SetPolicy(id("n", "prod", "b"), state.Policy{})
	expect("one that is not enforced any more", "prod", 1, 1)
	c.ReplacePolicies("n", map[state.PolicyID]state.Policy{id("n", "prod", "c"): shadowPolicy("prod", "c"), id("n", "prod", "d"): {}})
	expect("one resource replaced", "prod", 1, 1)
	expect("one resource replaced", "dev", 0, 1)
	c.DeletePolicy(id("n", "prod", "c"))
	c.DeletePolicy(id("g", "", "a"))
	c.DeletePolicy(id("g", "", "none"))
	expect("all deleted", "prod", 0, 0)
}

func TestTiersFollowBothGroups(t *testing.T) {
	current := false
	c := state.New(state.Live{PoliciesCurrent: always, TiersCurrent: func() bool { return current }}, nil)
	tiers := func() shadow.Tiers {
		o, _ := c.Others("").Get()
		tiers, ok := o.Tiers.Get()
		if ok != current {
			t.Errorf("tiers known: %v, want %v", ok, current)
		}
		return tiers
	}
	c.SetTier("a", policy.Tier{Name: "security", Order: 1})
	tiers()
	current = true
	c.ReplaceTiers("b", []policy.Tier{{Name: "platform", Order: 2}})
	if got := tiers(); len(got) != 2 || got["security"].Order != 1 || got["platform"].Order != 2 {
		t.Errorf("tiers %v", got)
	}
	before := tiers()
	c.SetTier("a", policy.Tier{Name: "security", Order: 5})
	c.DeleteTier("b", "platform")
	c.DeleteTier("none", "x")
	if got := tiers(); len(got) != 1 || got["security"].Order != 5 || len(before) != 2 {
		t.Errorf("tiers %v, before %v", got, before)
	}
}

func TestAccountsAreFoundByNameAndLabel(t *testing.T) {
	current := false
	c := state.New(state.Live{AccountsCurrent: func() bool { return current }}, nil)
	account := func(name string) reference.Grant {
		return reference.Grant{Kind: reference.Account, Value: name}
	}
	label := func(key, value string) reference.Grant {
		return reference.Grant{Kind: reference.Label, Key: key, Value: value}
	}
	has := func(key string) reference.Grant { return reference.Grant{Kind: reference.AnyValue, Key: key} }
	expect := func(when, namespace string, g reference.Grant, want bool) {
		t.Helper()
		if got, ok := c.AnyAccount(namespace, g).Get(); !ok || got != want {
			t.Errorf("%s: %s in %q: %v (known: %v), want %v", when, g, namespace, got, ok, want)
		}
	}
	c.SetAccount("prod", "web", map[string]string{"role": "a", "team": "x"})
	if f := c.AnyAccount("prod", account("web")); f.WhyUnknown() == "" {
		t.Errorf("known before all are read: %v", f)
	}
	current = true
	c.SetAccount("dev", "api", nil)
	expect("by name", "prod", account("web"), true)
	expect("by name, elsewhere", "dev", account("web"), false)
	expect("by name, anywhere", "", account("web"), true)
	expect("a name that there is not", "", account("wbe"), false)
	expect("by label", "prod", label("role", "a"), true)
	expect("another value", "prod", label("role", "b"), false)
	expect("by key", "", has("team"), true)
	expect("by key, elsewhere", "dev", has("team"), false)
	expect("a namespace without accounts", "none", reference.Grant{Kind: reference.AnyAccount}, false)
	c.SetAccount("prod", "db", map[string]string{"role": "a"})
	c.SetAccount("prod", "web", map[string]string{"role": "b"})
	expect("a changed label", "prod", label("role", "b"), true)
	expect("a label that another still has", "prod", label("role", "a"), true)
	expect("a label that nobody has any more", "prod", has("team"), false)
	c.DeleteAccount("prod", "db")
	c.DeleteAccount("prod", "none")
	c.DeleteAccount("none", "web")
	expect("a deleted account's label", "", label("role", "a"), false)
	c.ReplaceAccounts(func(add func(string, string, map[string]string)) { add("dev", "web", map[string]string{"role": "a"}) })
	expect("all replaced", "prod", account("web"), false)
	expect("all replaced", "dev", label("role", "a"), true)
}

// For the race detector.
func TestAdviceIsReadAndWrittenAtOnce(t *testing.T) {
	c := state.New(state.Live{PoliciesCurrent: always, TiersCurrent: always, AccountsCurrent: always}, nil)
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			name := string(rune('a' + w))
			for range 100 {
				c.SetAccount("prod", name, map[string]string{"role": name})
				c.SetPolicy(state.PolicyID{Resource: "n", Namespace: "prod", Name: name}, shadowPolicy("prod", name))
				c.SetTier("t", policy.Tier{Name: name})
				c.DeleteTier("t", name)
				c.DeleteAccount("prod", name)
			}
		})
	}
	for range 300 {
		o, _ := c.Others("prod").Get()
		tiers, _ := o.Tiers.Get()
		if len(o.Own) > 3 || len(tiers) > 3 {
			t.Fatal("more than there can be")
		}
		c.AnyAccount("", reference.Grant{Kind: reference.AnyValue, Key: "role"})
	}
	writers.Wait()
}
