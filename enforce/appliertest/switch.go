package appliertest

import "testing"

// Switch holds two backends to a change from the first to the second under load, and back: the new one writes its rules, then
// the old one's are removed. What another backend left is not the business of either, so nothing may leak or be lost.
func Switch(t *testing.T, from, to Backend) {
	t.Helper()
	needNamespaces(t)
	r := newRig(t, from)
	objects := cast(t)
	r.place(objects)
	w := emptyWorld(t, r)
	w.set(objects...)
	w.set(mustDecode(t, called)...)
	w.flush()
	good, bad := w.goodAndBad()
	w.mustStand(good, bad)
	for _, s := range w.sides {
		s.open(t)
		t.Cleanup(func() { s.close(t) })
		w.syncSide(s)
	}
	f := r.flood(good, bad)
	for i := range 3 * volume(t) {
		old, now := from, to
		if i%2 == 1 {
			old, now = to, from
		}
		r.backend = now
		for _, s := range w.sides {
			if err := f.more(2); err != nil {
				t.Fatal(err)
			}
			if err := s.call(func() error { return s.applier.Close() }); err != nil {
				t.Fatalf("close %s: %v", old.Name, err)
			}
			s.open(t)
			w.syncSide(s)
			if err := s.call(func() error { return old.Remove(s.node.Node) }); err != nil {
				t.Fatalf("remove %s: %v", old.Name, err)
			}
			if err := w.verify(s); err != nil {
				t.Errorf("Verify after %s was removed: %v", old.Name, err)
			}
		}
		for _, flow := range append(good, bad...) {
			if _, err := w.lookup(flow); err != nil {
				t.Errorf("Lookup: %v", err)
			}
		}
	}
	if err := f.more(2); err != nil {
		t.Error(err)
	}
	w.clean(f)
}
