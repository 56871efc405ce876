// Package guard compiles ServiceAccountGuards into the question that admission asks: what holds in this namespace, for
// this subject? It is pure: no client, no clock.
package guard

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
)

// Problem is a guard that cannot be obeyed as written. Admission refuses such guards; one that got in all the same holds
// in every namespace, because a scope nobody can read must not be an empty one (fails closed).
type Problem struct {
	Guard   string
	Message string
}

// Set is every guard of the cluster, compiled. It is immutable; the zero Set and nil guard nothing.
type Set struct {
	guards     []compiled
	policyKeys policyKeys
}

type compiled struct {
	name     string
	selector labels.Selector
	spec     *v1alpha1.ServiceAccountGuardSpec
	keys     keySet
	// fromPolicies says that the keys that policies read are guarded, too.
	fromPolicies bool
}

// Compile compiles guards; policyKeys are the label keys that policies read, of which guards with fromPolicies guard each in
// the namespaces of whose accounts it is read.
func Compile(guards []v1alpha1.ServiceAccountGuard, policyKeys ...PolicyKeys) (*Set, []Problem) {
	var problems []Problem
	s := &Set{policyKeys: newPolicyKeys(policyKeys)}
	for i := range guards {
		g := guards[i].DeepCopy()
		enforceByDefault(&g.Spec)
		selector, err := metav1.LabelSelectorAsSelector(&g.Spec.NamespaceSelector)
		if err != nil {
			problems = append(problems, Problem{Guard: g.Name, Message: fmt.Sprintf("spec.namespaceSelector: %v; the guard holds in every namespace", err)})
			selector = labels.Everything()
		}
		c := compiled{name: g.Name, selector: selector, spec: &g.Spec}
		if l := g.Spec.Labels; l != nil && l.Mode.Normalize() != v1alpha1.ModeOff {
			c.keys, c.fromPolicies = newKeySet(l), l.FromPolicies
		}
		s.guards = append(s.guards, c)
	}
	slices.SortFunc(s.guards, func(a, b compiled) int { return strings.Compare(a.name, b.name) })
	return s, problems
}

// enforceByDefault gives a section that names no mode the one that the CRD's schema defaults. The API server has done so
// already; files, and a schema that somebody edited, have not (fails closed).
func enforceByDefault(s *v1alpha1.ServiceAccountGuardSpec) {
	modes := []*v1alpha1.Mode{}
	if s.Labels != nil {
		modes = append(modes, &s.Labels.Mode)
	}
	if s.Workloads != nil {
		modes = append(modes, &s.Workloads.Mode, &s.Workloads.Connect, &s.Workloads.Tokens)
	}
	if s.Policies != nil {
		modes = append(modes, &s.Policies.References, &s.Policies.Precedence, &s.Policies.Hygiene)
	}
	if s.DefaultAccount != nil {
		modes = append(modes, &s.DefaultAccount.Bindings)
	}
	for _, m := range modes {
		if *m == "" {
			*m = v1alpha1.ModeEnforce
		}
	}
}

// Empty reports that there is no guard at all.
func (s *Set) Empty() bool { return s == nil || len(s.guards) == 0 }

// GuardedKeys returns the keys and prefixes that the guard of that name guards in some namespace, sorted; nil if there is no
// such guard.
func (s *Set) GuardedKeys(name string) []string {
	if s == nil {
		return nil
	}
	for i := range s.guards {
		if s.guards[i].name == name {
			keys := s.guards[i].keys.list()
			if s.guards[i].fromPolicies {
				keys = append(keys, s.policyKeys.all...)
				slices.Sort(keys)
			}
			return slices.Compact(keys)
		}
	}
	return nil
}

// Only returns the set of the one guard of that name, which holds as it does among the others; it is empty if there is none.
func (s *Set) Only(name string) *Set {
	if s == nil {
		return &Set{}
	}
	return &Set{policyKeys: s.policyKeys, guards: slices.DeleteFunc(slices.Clone(s.guards), func(c compiled) bool { return c.name != name })}
}

// Names returns the names of all guards, sorted.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	names := make([]string, len(s.guards))
	for i := range s.guards {
		names[i] = s.guards[i].name
	}
	return names
}

// NeedsNamespaceLabels reports whether the labels of a namespace make a difference to some guard.
func (s *Set) NeedsNamespaceLabels() bool {
	if s == nil {
		return false
	}
	return slices.ContainsFunc(s.guards, func(c compiled) bool { return !c.selector.Empty() })
}

// ForNamespace returns what holds for the subject in the namespace of that name, which has these labels.
func (s *Set) ForNamespace(name string, nsLabels map[string]string, subject identity.Subject) Effective {
	e := s.effective(subject, func(c *compiled) bool { return c.selector.Matches(labels.Set(nsLabels)) })
	e.namespace = name
	return e
}

// ForCluster returns what holds for cluster-scoped objects, which can touch any namespace: every guard.
func (s *Set) ForCluster(subject identity.Subject) Effective {
	e := s.effective(subject, func(*compiled) bool { return true })
	e.everywhere = true
	return e
}

func (s *Set) effective(subject identity.Subject, holds func(*compiled) bool) Effective {
	var e Effective
	if s == nil {
		return e
	}
	e.policyKeys = &s.policyKeys
	for i := range s.guards {
		c := &s.guards[i]
		switch {
		case !holds(c):
		case Exempts(c.spec.Exempt, subject):
			e.ExemptFrom = append(e.ExemptFrom, c.name)
		default:
			e.guards = append(e.guards, c)
		}
	}
	return e
}

// Exempts reports whether subject is one of those named, each name compared exactly.
func Exempts(e v1alpha1.Exemption, subject identity.Subject) bool {
	return slices.Contains(e.Users, subject.User) || slices.ContainsFunc(e.Groups, subject.InGroup)
}
