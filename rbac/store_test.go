package rbac_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/rbac/rbactest"
)

type ask struct {
	subject identity.Subject
	q       rbac.Question
}

func asks(g *rbactest.Generator, n int) []ask {
	out := make([]ask, n)
	for i := range out {
		out[i] = ask{g.Subject(), g.Question()}
	}
	return out
}

func answers(x *rbac.Index, asks []ask) []string {
	out := make([]string, len(asks))
	for i, a := range asks {
		g, ok := x.Authorize(a.subject, a.q)
		out[i] = fmt.Sprint(g, ok)
	}
	return out
}

func requireEqual(t *testing.T, seed uint64, what string, got, want []string) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("seed %d: %s: answer %d is %q, want %q", seed, what, i, got[i], want[i])
		}
	}
}

// What the Index answers depends on what the Store holds, not on how it came to hold it.
func TestStoreForgetsItsHistory(t *testing.T) {
	stores := map[string]func() *rbac.Store{
		"hashed":                  rbac.NewStore,
		"three hashes for all":    func() *rbac.Store { return rbac.NewCollidingStore(3) },
		"one hash for everything": func() *rbac.Store { return rbac.NewCollidingStore(1) },
	}
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				forgetsItsHistory(t, seed, newStore())
			}
		})
	}
}

func forgetsItsHistory(t *testing.T, seed uint64, s *rbac.Store) {
	t.Helper()
	rng, g := rbactest.NewRand(seed+1000), rbactest.NewGenerator(seed, "")
	whole, noise := aggregated(t, seed, rbactest.Options{}), aggregated(t, seed+5000, rbactest.Options{})
	// What was there once and is gone in the end: also roles that bindings still refer to.
	w := whole
	w.Roles, w.ClusterRoles = most(rng, whole.Roles), most(rng, whole.ClusterRoles)
	w.RoleBindings, w.ClusterRoleBindings = most(rng, whole.RoleBindings), most(rng, whole.ClusterRoleBindings)
	questions := asks(g, 100)
	want := answers(w.Store().Snapshot(), questions)
	wantSlots, wantBindings, wantSubjects := w.Store().Held()

	// A past of other objects, some of the same names, set and deleted.
	for _, event := range shuffled(rng, append(noise.Events(), whole.Events()...)) {
		event(s)
		if rng.IntN(3) == 0 {
			deleteSomething(rng, s, noise, whole)
		}
	}
	before := s.Snapshot()
	answered := answers(before, questions)

	// Then what the world does not have goes, and what it has comes, in any order.
	var events []func(*rbac.Store)
	events = append(events, shuffled(rng, w.Events())...)
	if rng.IntN(2) == 0 {
		events = append(append(events, deletions(noise, w)...), deletions(whole, w)...)
		events = shuffled(rng, events)
	} else {
		events = shuffled(rng, []func(*rbac.Store){
			func(s *rbac.Store) { s.ReplaceRoles(w.Roles) },
			func(s *rbac.Store) { s.ReplaceClusterRoles(w.ClusterRoles) },
			func(s *rbac.Store) { s.ReplaceRoleBindings(w.RoleBindings) },
			func(s *rbac.Store) { s.ReplaceClusterRoleBindings(w.ClusterRoleBindings) },
		})
	}
	for _, event := range events {
		event(s)
	}
	requireEqual(t, seed, "after all events", answers(s.Snapshot(), questions), want)
	requireEqual(t, seed, "a snapshot taken before", answers(before, questions), answered)
	if slots, bindings, subjects := s.Held(); slots != wantSlots || bindings != wantBindings || subjects != wantSubjects {
		t.Fatalf("seed %d: holds %d roles, %d bindings, %d subjects; want %d, %d, %d", seed, slots, bindings, subjects, wantSlots, wantBindings, wantSubjects)
	}

	// Events that change nothing publish nothing.
	now := s.Snapshot()
	for _, event := range w.Events() {
		event(s)
	}
	if s.Snapshot() != now {
		t.Fatalf("seed %d: equal objects made a new snapshot", seed)
	}

	(rbactest.World{}).Fill(s)
	if slots, bindings, subjects := s.Held(); slots+bindings+subjects != 0 {
		t.Fatalf("seed %d: emptied, the store holds %d roles, %d bindings, %d subjects", seed, slots, bindings, subjects)
	}
}

func shuffled[T any](rng *rand.Rand, list []T) []T {
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func most[T any](rng *rand.Rand, list []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(T) bool { return rng.IntN(4) == 0 })
}

func deleteSomething(rng *rand.Rand, s *rbac.Store, worlds ...rbactest.World) {
	w := worlds[rng.IntN(len(worlds))]
	switch rng.IntN(4) {
	case 0:
		r := w.Roles[rng.IntN(len(w.Roles))]
		s.DeleteRole(r.Namespace, r.Name)
	case 1:
		s.DeleteClusterRole(w.ClusterRoles[rng.IntN(len(w.ClusterRoles))].Name)
	case 2:
		b := w.RoleBindings[rng.IntN(len(w.RoleBindings))]
		s.DeleteRoleBinding(b.Namespace, b.Name)
	default:
		s.DeleteClusterRoleBinding(w.ClusterRoleBindings[rng.IntN(len(w.ClusterRoleBindings))].Name)
	}
}

// deletions removes what gone has and kept has not.
func deletions(gone, kept rbactest.World) []func(*rbac.Store) {
	keep := map[string]bool{}
	id := func(kind string, m metav1.ObjectMeta) string { return kind + "\x00" + m.Namespace + "\x00" + m.Name }
	for i := range kept.Roles {
		keep[id("r", kept.Roles[i].ObjectMeta)] = true
	}
	for i := range kept.ClusterRoles {
		keep[id("cr", kept.ClusterRoles[i].ObjectMeta)] = true
	}
	for i := range kept.RoleBindings {
		keep[id("b", kept.RoleBindings[i].ObjectMeta)] = true
	}
	for i := range kept.ClusterRoleBindings {
		keep[id("cb", kept.ClusterRoleBindings[i].ObjectMeta)] = true
	}
	var events []func(*rbac.Store)
	for _, r := range gone.Roles {
		if !keep[id("r", r.ObjectMeta)] {
			events = append(events, func(s *rbac.Store) { s.DeleteRole(r.Namespace, r.Name) })
		}
	}
	for _, r := range gone.ClusterRoles {
		if !keep[id("cr", r.ObjectMeta)] {
			events = append(events, func(s *rbac.Store) { s.DeleteClusterRole(r.Name) })
		}
	}
	for _, b := range gone.RoleBindings {
		if !keep[id("b", b.ObjectMeta)] {
			events = append(events, func(s *rbac.Store) { s.DeleteRoleBinding(b.Namespace, b.Name) })
		}
	}
	for _, b := range gone.ClusterRoleBindings {
		if !keep[id("cb", b.ObjectMeta)] {
			events = append(events, func(s *rbac.Store) { s.DeleteClusterRoleBinding(b.Name) })
		}
	}
	return events
}

func TestStoreCopiesWhatItKeeps(t *testing.T) {
	w := rbactest.MustParse(t, "clusterrole r use serviceaccounts web\nclusterbind b clusterrole:r user:alice")
	s := w.Store()
	w.ClusterRoles[0].Rules[0].Verbs[0] = "get"
	w.ClusterRoles[0].Rules[0].ResourceNames[0] = "db"
	w.ClusterRoleBindings[0].Subjects[0].Name = "bob"
	if _, ok := s.Snapshot().Authorize(user("alice"), rbac.UseAccount("prod", "web")); !ok {
		t.Error("a change of the caller's object reached the store")
	}
}

func TestDeletedRoleGrantsNothingUntilItIsBack(t *testing.T) {
	w := rbactest.MustParse(t, "clusterrole r use serviceaccounts\nrole prod/r use serviceaccounts\n"+
		"clusterbind a clusterrole:r user:alice\nbind prod/b role:r user:bob")
	s := w.Store()
	for _, step := range []struct {
		name  string
		do    func()
		alice bool
		bob   bool
	}{
		{"both there", func() {}, true, true},
		{"the ClusterRole deleted", func() { s.DeleteClusterRole("r") }, false, true},
		{"the Role deleted", func() { s.DeleteRole("prod", "r") }, false, false},
		{"another role takes a free place", func() {
			s.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Rules: w.Roles[0].Rules})
		}, false, false},
		{"the ClusterRole back", func() { s.SetClusterRole(&w.ClusterRoles[0]) }, true, false},
		{"the Role back", func() { s.SetRole(&w.Roles[0]) }, true, true},
	} {
		step.do()
		for name, want := range map[string]bool{"alice": step.alice, "bob": step.bob} {
			if g, ok := s.Snapshot().Authorize(user(name), rbac.UseAccount("prod", "web")); ok != want {
				t.Errorf("%s: %s allowed %v by %q, want %v", step.name, name, ok, g, want)
			}
		}
	}
}

// A binding deleted and made again with another roleRef is one update to a watcher that missed the deletion.
func TestBindingMayChangeItsRole(t *testing.T) {
	w := rbactest.MustParse(t, "clusterrole r use serviceaccounts\nclusterrole weak get pods\nclusterbind b clusterrole:r user:alice")
	s := w.Store()
	b := w.ClusterRoleBindings[0].DeepCopy()
	b.RoleRef.Name = "weak"
	s.SetClusterRoleBinding(b)
	if g, ok := s.Snapshot().Authorize(user("alice"), rbac.UseAccount("prod", "web")); ok {
		t.Errorf("still granted by %s", g)
	}
	s.SetRole(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "r"}})
	here := rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "b"}, Subjects: b.Subjects, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"},
	}
	s.SetRoleBinding(&here)
	here.RoleRef.Kind = "Role"
	s.SetRoleBinding(&here)
	if g, ok := s.Snapshot().Authorize(user("alice"), rbac.UseAccount("prod", "web")); ok {
		t.Errorf("the ClusterRole still grants by %s, not the Role of its name", g)
	}
	s.DeleteRoleBinding("prod", "b")
	b.RoleRef.Kind = "unknown"
	s.SetClusterRoleBinding(b)
	if _, bindings, subjects := s.Held(); bindings+subjects != 0 {
		t.Errorf("a binding that can grant nothing is held: %d bindings, %d subjects", bindings, subjects)
	}
}

// Readers see each update whole, while four watchers write.
func TestSnapshotsWhileWriting(t *testing.T) {
	s := rbactest.MustParse(t, "clusterrole r use serviceaccounts\nclusterbind fixed clusterrole:r user:alice").Store()
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for n := range 4 {
		writers.Go(func() {
			for i := range 500 {
				b := rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: fmt.Sprint("b", n, i%7)},
					RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: fmt.Sprint("r", i%3)},
					// Both or neither, in every snapshot.
					Subjects: []rbacv1.Subject{{Kind: "User", Name: fmt.Sprint("a", n)}, {Kind: "User", Name: fmt.Sprint("b", n)}},
				}
				s.SetRoleBinding(&b)
				s.SetClusterRole(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("r", i%3)}, Rules: []rbacv1.PolicyRule{{
					Verbs: []string{"use"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{fmt.Sprint(i % 5)},
				}}})
				s.DeleteRoleBinding("prod", fmt.Sprint("b", n, (i+3)%7))
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				x := s.Snapshot()
				if _, ok := x.Authorize(user("alice"), rbac.UseAccount("prod", "web")); !ok {
					t.Error("a grant that nobody touched is gone")
					return
				}
				for n := range 4 {
					q := rbac.UseAccount("prod", "1")
					ga, a := x.Authorize(user(fmt.Sprint("a", n)), q)
					gb, b := x.Authorize(user(fmt.Sprint("b", n)), q)
					if a != b || ga != gb {
						t.Errorf("half an update: %q %v, %q %v", ga, a, gb, b)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
}
