package band_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/band"
)

func one(name string, everybodys bool, from, to, order *float64, tiers ...string) v1alpha1.PolicyBand {
	return v1alpha1.PolicyBand{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PolicyBandSpec{
		Tiers: tiers, Order: v1alpha1.OrderRange{Min: from, Max: to}, Default: everybodys, DefaultOrder: order,
	}}
}

func at(v float64) *float64 { return &v }

func TestOf(t *testing.T) {
	bands := []v1alpha1.PolicyBand{
		one("security", false, nil, at(100), nil, "default", "security"),
		one("platform", false, at(100), at(200), nil, "default"),
		one("developer", true, at(1000), at(2000), at(1500), "default"),
		one("last", false, at(5000), nil, nil, "default"),
	}
	none := math.Inf(1)
	cases := map[string]struct {
		tier   string
		order  float64
		placed bool
		bands  []string
	}{
		"inside":                                  {tier: "default", order: 150, placed: true, bands: []string{"platform"}},
		"the lower bound is inside":               {tier: "default", order: 100, placed: true, bands: []string{"platform"}},
		"the upper bound is not":                  {tier: "default", order: 200},
		"just below the upper bound":              {tier: "default", order: math.Nextafter(100, 0), placed: true, bands: []string{"security"}},
		"below every number":                      {tier: "default", order: -1e300, placed: true, bands: []string{"security"}},
		"a gap between bands":                     {tier: "default", order: 500},
		"everybody's band":                        {tier: "default", order: 1000, placed: true},
		"the end of everybody's band":             {tier: "default", order: 2000},
		"without order, in a band without max":    {tier: "default", order: none, placed: true, bands: []string{"last"}},
		"without order, where every band has max": {tier: "security", order: none},
		"another tier of the same band":           {tier: "security", order: 5, placed: true, bands: []string{"security"}},
		"a tier without bands":                    {tier: "fast", order: 5},
		"a tier in another case":                  {tier: "Default", order: 5},
		"not a number":                            {tier: "default", order: math.NaN()},
	}
	for name, tc := range cases {
		got := band.Of(bands, band.Position{Tier: tc.tier, Order: tc.order})
		if got.Placed != tc.placed || !slices.Equal(got.Bands, tc.bands) {
			t.Errorf("%s: got %+v, want %v %v", name, got, tc.placed, tc.bands)
		}
	}
}

func TestOverlappingBandsAllCount(t *testing.T) {
	bands := []v1alpha1.PolicyBand{one("b", false, nil, nil, nil, "default"), one("a", false, nil, at(10), nil, "default"), one("everybody", true, nil, at(10), nil, "default")}
	if got := band.Of(bands, band.Position{Tier: "default", Order: 5}); !got.Placed || !slices.Equal(got.Bands, []string{"a", "b"}) {
		t.Errorf("got %+v", got)
	}
	if got := band.Of(bands, band.Position{Tier: "default", Order: 10}); !slices.Equal(got.Bands, []string{"b"}) {
		t.Errorf("got %+v", got)
	}
}

// Bands that do not overlap cut a tier into pieces: a position lies in one band at most, and every position in a band comes
// before, or after, every position of another.
func TestBandsThatDoNotOverlapOrderPolicies(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2_000 {
		cuts := []float64{}
		for range 1 + r.IntN(4) {
			cuts = append(cuts, float64(r.IntN(20)-10))
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		var bands []v1alpha1.PolicyBand
		for i := range len(cuts) - 1 {
			bands = append(bands, one(string(rune('a'+i)), false, &cuts[i], &cuts[i+1], nil, "default"))
		}
		bands = append(bands, one("z", false, &cuts[len(cuts)-1], nil, nil, "default"))
		last := ""
		for o := -12.0; o <= 12; o += 0.25 {
			got := band.Of(bands, band.Position{Tier: "default", Order: o})
			if got.Placed != (o >= cuts[0]) || len(got.Bands) > 1 {
				t.Fatalf("order %v among %v: %+v", o, cuts, got)
			}
			if got.Placed {
				if got.Bands[0] < last {
					t.Fatalf("order %v lies in %s, after one in %s", o, got.Bands[0], last)
				}
				last = got.Bands[0]
			}
		}
	}
}

func TestDefaultOrder(t *testing.T) {
	cases := map[string]struct {
		bands []v1alpha1.PolicyBand
		order float64
		ok    bool
	}{
		"no band":                        {},
		"everybody's band with an order": {bands: []v1alpha1.PolicyBand{one("d", true, at(10), at(20), at(15), "default")}, order: 15, ok: true},
		"everybody's band without":       {bands: []v1alpha1.PolicyBand{one("d", true, at(10), at(20), nil, "default")}},
		"a band that is not everybody's": {bands: []v1alpha1.PolicyBand{one("d", false, at(10), at(20), at(15), "default")}},
		"a band of another tier":         {bands: []v1alpha1.PolicyBand{one("d", true, at(10), at(20), at(15), "security")}},
		"an order outside of its band":   {bands: []v1alpha1.PolicyBand{one("d", true, at(10), at(20), at(20), "default")}},
		"two of them": {bands: []v1alpha1.PolicyBand{
			one("d", true, at(10), at(20), at(15), "default"), one("e", true, at(20), at(30), at(25), "default"),
		}},
		"two, one of another tier": {bands: []v1alpha1.PolicyBand{
			one("d", true, at(10), at(20), at(15), "default"), one("e", true, at(20), at(30), at(25), "security"),
		}, order: 15, ok: true},
	}
	for name, tc := range cases {
		if order, ok := band.DefaultOrder(tc.bands, "default"); ok != tc.ok || order != tc.order {
			t.Errorf("%s: got %v %v, want %v %v", name, order, ok, tc.order, tc.ok)
		}
	}
}

func TestPositionInWords(t *testing.T) {
	for want, p := range map[string]band.Position{
		"tier default, order 5":         {Tier: "default", Order: 5},
		"tier default, order -0.5":      {Tier: "default", Order: -0.5},
		"tier security, without order":  {Tier: "security", Order: math.Inf(1)},
		"tier default, order 1000000.5": {Tier: "default", Order: 1000000.5},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
