package certificates

import (
	"testing"
	"time"

	"github.com/saguard/saguard/internal/rotation"
)

// seeds is how many worlds there are of each kind.
const seeds = 3

// TestWhatIsServedIsAlwaysTrusted plays rotations with crashes, outages, late replicas and races at every call.
func TestWhatIsServedIsAlwaysTrusted(t *testing.T) {
	for name, tc := range map[string]struct {
		secretFaults, bundleFaults, foreign bool
	}{
		"crashes, outages and races":              {},
		"a former source of certificates":         {foreign: true},
		"the Secret broken":                       {secretFaults: true},
		"the Secret and caBundles broken":         {secretFaults: true, bundleFaults: true},
		"everything, and a former source as well": {secretFaults: true, bundleFaults: true, foreign: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			generations, checked := 0, time.Duration(0)
			for seed := range uint64(seeds) {
				w := newWorld(t, seed, 2+int(seed%2))
				w.bundleFaults = tc.bundleFaults
				if tc.foreign {
					former, err := rotation.NewGeneration(w.now, 1000*time.Hour, simNames)
					if err != nil {
						t.Fatal(err)
					}
					store := rotation.Store{Current: former}
					for _, c := range []string{"validating", "mutating"} {
						w.putConfiguration(c, [][]byte{store.Encode()["ca.crt"], store.Encode()["ca.crt"]})
					}
					w.now = w.now.Add(simTerms.Settle)
				}
				for range 3 {
					w.play(600, tc.secretFaults)
					w.settle()
					w.healthy()
				}
				served := map[string]bool{}
				for _, b := range w.backups {
					if s := rotation.DecodeStore(b); s.Current != nil {
						served[s.Current.Serial()] = true
					}
				}
				generations += len(served)
				checked += w.now.Sub(simStart)
			}
			t.Logf("%d generations in %s", generations, checked)
			if generations < 4*seeds {
				t.Errorf("%d generations: nearly nothing was rotated, so nearly nothing was tested", generations)
			}
		})
	}
}
