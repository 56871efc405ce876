package decision_test

import (
	"testing"

	"github.com/saguard/saguard/internal/decision"
)

func TestZeroVerdictDenies(t *testing.T) {
	var v decision.Verdict
	if v != decision.Deny || v.String() != "Deny" {
		t.Errorf("zero Verdict is %v, want Deny", v)
	}
	if got := decision.Allow.String(); got != "Allow" {
		t.Errorf("Allow reads %q", got)
	}
	if got := decision.Verdict(7).String(); got != "Deny" {
		t.Errorf("an invented verdict reads %q, want Deny", got)
	}
}

func TestFactStatesAreDistinct(t *testing.T) {
	var zero decision.Fact[string]
	cases := map[string]struct {
		fact         decision.Fact[string]
		value        string
		ok, absent   bool
		why, printed string
	}{
		"the zero fact is unknown":               {fact: zero, why: "not gathered", printed: "Unknown(not gathered)"},
		"a known fact has its value":             {fact: decision.Known("x"), value: "x", ok: true, printed: "Known(x)"},
		"a known empty value is still known":     {fact: decision.Known(""), ok: true, printed: "Known()"},
		"an absent fact is not unknown":          {fact: decision.Absent[string](), absent: true, printed: "Absent"},
		"an unknown fact says why, and no value": {fact: decision.Unknown[string]("timeout"), why: "timeout", printed: "Unknown(timeout)"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			value, ok := tc.fact.Get()
			if value != tc.value || ok != tc.ok || tc.fact.IsAbsent() != tc.absent || tc.fact.WhyUnknown() != tc.why || tc.fact.String() != tc.printed {
				t.Errorf("got (%q, %v) absent=%v why=%q %s", value, ok, tc.fact.IsAbsent(), tc.fact.WhyUnknown(), tc.fact)
			}
		})
	}
}
