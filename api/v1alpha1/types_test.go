package v1alpha1_test

import (
	"math"
	"testing"

	"github.com/saguard/saguard/api/v1alpha1"
)

func TestStrictestMode(t *testing.T) {
	order := []v1alpha1.Mode{v1alpha1.ModeOff, v1alpha1.ModeAudit, v1alpha1.ModeWarn, v1alpha1.ModeEnforce}
	for i, a := range order {
		for j, b := range order {
			if got := v1alpha1.Strictest(a, b); got != order[max(i, j)] {
				t.Errorf("Strictest(%s, %s) = %s", a, b, got)
			}
		}
	}
	if got := v1alpha1.Strictest("", ""); got != v1alpha1.ModeOff {
		t.Errorf("two empty modes give %q, want Off", got)
	}
	if got := v1alpha1.Strictest("Enforced", v1alpha1.ModeWarn); got != v1alpha1.ModeEnforce {
		t.Errorf("a mode nobody knows gives %q, want Enforce", got)
	}
}

func TestOrderRange(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	type r = v1alpha1.OrderRange
	contains := []struct {
		name  string
		r     r
		order float64
		want  bool
	}{
		{name: "min is inside", r: r{Min: f(100), Max: f(200)}, order: 100, want: true},
		{name: "max is outside", r: r{Min: f(100), Max: f(200)}, order: 200},
		{name: "just below max is inside", r: r{Min: f(100), Max: f(200)}, order: math.Nextafter(200, 0), want: true},
		{name: "below min", r: r{Min: f(100), Max: f(200)}, order: 99.5},
		{name: "no order at all is outside of a range with max", r: r{Min: f(100), Max: f(200)}, order: math.Inf(1)},
		{name: "no order at all is inside a range without max", r: r{Min: f(100)}, order: math.Inf(1), want: true},
		{name: "negative order in a range without min", r: r{Max: f(0)}, order: -5, want: true},
		{name: "NaN is nowhere", r: r{}, order: math.NaN()},
	}
	for _, tc := range contains {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.r.Contains(tc.order); got != tc.want {
				t.Errorf("Contains(%v) = %v", tc.order, got)
			}
		})
	}
	overlaps := []struct {
		name string
		a, b r
		want bool
	}{
		{name: "neighbours share only the excluded end", a: r{Min: f(0), Max: f(100)}, b: r{Min: f(100), Max: f(200)}},
		{name: "one inside the other", a: r{Min: f(0), Max: f(100)}, b: r{Min: f(10), Max: f(20)}, want: true},
		{name: "crossing", a: r{Min: f(0), Max: f(100)}, b: r{Min: f(99), Max: f(200)}, want: true},
		{name: "everything overlaps anything", a: r{}, b: r{Min: f(1), Max: f(2)}, want: true},
		{name: "two open ends that meet nowhere", a: r{Max: f(5)}, b: r{Min: f(5)}},
	}
	for _, tc := range overlaps {
		t.Run(tc.name, func(t *testing.T) {
			if tc.a.Overlaps(tc.b) != tc.want || tc.b.Overlaps(tc.a) != tc.want {
				t.Errorf("Overlaps = %v, %v, want %v", tc.a.Overlaps(tc.b), tc.b.Overlaps(tc.a), tc.want)
			}
		})
	}
}
