package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/selector"
)

// vocabulary is what policies read of pods themselves; labels of namespaces and accounts are not in it, as a class has
// all of them anyway. It is that of all policies, active or not, so that identities do not depend on the node.
type vocabulary struct {
	keys  map[string]int // label keys, with the number of readers
	ports map[string]int // names of ports, likewise
	// read are the keys, sorted.
	read []string
}

// words are what one policy reads, with repetitions.
type words struct{ keys, ports []string }

func readWords(p *policy.Policy) words {
	var w words
	w.selector(p.Selector)
	for _, rules := range [][]policy.Rule{p.Ingress, p.Egress} {
		for i := range rules {
			w.entity(&rules[i].Source)
			w.entity(&rules[i].Destination)
		}
	}
	return w
}

func (w *words) selector(s *selector.Selector) {
	s.Walk(func(n *selector.Node) bool {
		k := n.Key()
		if k != "" && !strings.HasPrefix(k, policy.PrefixNamespace) && !strings.HasPrefix(k, policy.PrefixServiceAccount) {
			w.keys = append(w.keys, k)
		}
		return true
	})
}

func (w *words) entity(e *policy.Entity) {
	for _, s := range []*policy.Set{e.Set, e.NotSet} {
		if s != nil {
			w.selector(s.Selector)
		}
	}
	for _, ports := range [][]policy.Port{e.Ports, e.NotPorts} {
		for _, p := range ports {
			if p.Name != "" {
				w.ports = append(w.ports, p.Name)
			}
		}
	}
}

// count adds n to the number of readers of each word.
func (v *vocabulary) count(w words, n int) (changed bool) {
	for words, readers := range map[*[]string]map[string]int{&w.keys: v.keys, &w.ports: v.ports} {
		for _, word := range *words {
			before := readers[word]
			readers[word] = before + n
			if before+n == 0 {
				delete(readers, word)
			}
			changed = changed || before == 0 || before+n == 0
		}
	}
	return changed
}

// settleVocabulary classifies all pods again if what is read has changed.
func (c *Compiler) settleVocabulary() {
	if !c.dirty.vocabulary {
		return
	}
	c.dirty.vocabulary = false
	c.vocabulary.read = slices.Sorted(maps.Keys(c.vocabulary.keys))
	if len(c.dirty.pods) < len(c.pods) { // at the start all are to be looked at anyway
		for _, p := range c.pods {
			c.touchPod(p)
		}
	}
}
