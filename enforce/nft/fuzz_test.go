package nft

import (
	"bytes"
	"testing"
	"time"
)

// FuzzFlowOf: whatever a packet is, its headers are read or left alone.
func FuzzFlowOf(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 80, 0, 0, 0, 0})
	f.Add(append(append([]byte{0x60, 0, 0, 0, 0, 16, 0, 64}, bytes.Repeat([]byte{0xfd}, 32)...), 58, 0, 0, 0, 0, 0, 0, 0, 128, 0, 1, 2))
	f.Add([]byte{0x4f, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		got := flowOf(packet)
		if got.Source.IsValid() != got.Destination.IsValid() || got.Source.Is4() != got.Destination.Is4() {
			t.Errorf("addresses %v and %v", got.Source, got.Destination)
		}
		if isICMP(got.Protocol) && (got.Port != 0 || got.SourcePort != 0) {
			t.Errorf("ICMP with ports: %+v", got)
		}
	})
}

// FuzzNetlink: whatever the kernel or somebody else wrote, reading it ends, and what is read as a rule is written the same.
func FuzzNetlink(f *testing.F) {
	l := newLowering(5)
	if err := l.load(sample()); err != nil {
		f.Fatal(err)
	}
	for _, c := range l.chains {
		for _, r := range c.rules {
			a := &attributes{}
			r.encode(a)
			f.Add(a.data)
		}
	}
	report := &attributes{}
	report.text(attrPrefix, "ingress_deny_3_log_4")
	report.u32(attrSequence, 7)
	f.Add(report.data)
	f.Fuzz(func(t *testing.T, data []byte) {
		packets(data)
		decodeElement(data)
		for _, e := range first(eventsOf(data, time.Unix(0, 0))) {
			if e.Rule == 0 && e.Allowed {
				t.Errorf("an allowed packet that no rule logged: %+v", e)
			}
		}
		r, err := decodeRule(data)
		if err != nil {
			return
		}
		a := &attributes{}
		r.encode(a)
		if again, err := decodeRule(a.data); err != nil || again != r {
			t.Errorf("got %v, %v after %v", again, err, r)
		}
	})
}

func first[A, B any](a A, _ B) A { return a }

// FuzzOutcomeOf: the name of an outcome's chain says what it is, with a serial number or without.
func FuzzOutcomeOf(f *testing.F) {
	for _, name := range []string{"ingress_allow_3", "egress_deny_0", "ingress_deny_4_log_5.17", "ingress_row_4", "egress4_identity_3"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		o, ok := outcomeOf(name)
		if !ok {
			return
		}
		if again, ok := outcomeOf(o.String()); !ok || again != o {
			t.Errorf("%q is %+v, and that is %+v, %v", name, o, again, ok)
		}
	})
}
