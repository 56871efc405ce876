package selector

import (
	"sync"
	"testing"
)

// Text and program are made on first use; many goroutines may be first (run
// with -race).
func TestASelectorMayBeUsedByManyAtOnce(t *testing.T) {
	for range 50 {
		s := mustParse(t, "a == 'x' && b in {'1','2'} || !has(c)")
		set := NewSet(map[string]string{"a": "x", "b": "2", "c": ""})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if !s.Matches(set) || !s.Matches(Map{"a": "z"}) || s.Matches(Map{"c": ""}) {
					t.Error("decides wrongly")
				}
				if s.String() != `((a == "x" && b in {"1", "2"}) || !has(c))` || len(s.PrefixKeys("p.").Keys()) != 3 {
					t.Errorf("reads %s", s)
				}
			})
		}
		wg.Wait()
	}
}
