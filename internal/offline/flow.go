package offline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/eval"
)

// Flow is one flow as it is written: {from, to, protocol, port, sourcePort, icmpType, icmpCode, ipVersion}. Other fields
// are kept and printed again.
type Flow struct {
	From, To   string
	Protocol   uint8
	IPVersion  uint8 // 0 if not given
	Port       decision.Fact[uint16]
	SourcePort decision.Fact[uint16]
	ICMP       decision.Fact[policy.ICMP]

	fields map[string]json.RawMessage
}

// flowFields is the order in which the known fields are printed.
func flowFields() []string {
	return []string{"from", "to", "ipVersion", "protocol", "port", "sourcePort", "icmpType", "icmpCode"}
}

// resultFields are those that a verdict adds, or replaces in a flow that has them.
func resultFields() []string {
	return []string{"egress", "ingress", "verdict", "egressBy", "ingressBy"}
}

// ParseFlow reads the JSON of one flow. All errors are returned, with paths under path.
func ParseFlow(path *field.Path, raw []byte) (Flow, field.ErrorList) {
	var f Flow
	if err := json.Unmarshal(raw, &f.fields); err != nil || f.fields == nil {
		return f, field.ErrorList{field.Invalid(path, shorten(raw), "want an object with from, to, protocol and port")}
	}
	p := fieldReader{path: path, fields: f.fields}
	f.From, f.To = p.end("from"), p.end("to")
	f.Protocol = p.protocol()
	f.IPVersion = uint8(p.number("ipVersion", 4, 6).or(0))
	if v := f.IPVersion; v == 5 {
		p.invalid("ipVersion", "want 4 or 6")
	}
	f.Port, f.SourcePort = decision.Absent[uint16](), decision.Absent[uint16]()
	switch f.Protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		if p.missing("port") {
			p.errs = append(p.errs, field.Required(path.Child("port"), "the destination port"))
		}
		f.Port = decision.Known(uint16(p.number("port", 0, 65535).or(0)))
		f.SourcePort = decision.Unknown[uint16]("the flow has no sourcePort")
		if n := p.number("sourcePort", 0, 65535); n.ok {
			f.SourcePort = decision.Known(uint16(n.n))
		}
	}
	f.ICMP = p.icmp()
	return f, p.errs
}

// fieldReader reads the fields of one flow and collects errors.
type fieldReader struct {
	path   *field.Path
	fields map[string]json.RawMessage
	errs   field.ErrorList
}

type optional struct {
	n  int64
	ok bool
}

func (o optional) or(n int64) int64 {
	if o.ok {
		return o.n
	}
	return n
}

func (p *fieldReader) invalid(name, why string) {
	p.errs = append(p.errs, field.Invalid(p.path.Child(name), shorten(p.fields[name]), why))
}

func (p *fieldReader) missing(name string) bool {
	raw, ok := p.fields[name]
	return !ok || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

func (p *fieldReader) number(name string, low, high int64) optional {
	if p.missing(name) {
		return optional{}
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(p.fields[name])), 10, 64)
	if err != nil || n < low || n > high {
		p.invalid(name, fmt.Sprintf("want a number from %d to %d", low, high))
		return optional{}
	}
	return optional{n: n, ok: true}
}

func (p *fieldReader) end(name string) string {
	var s string
	if p.missing(name) {
		p.errs = append(p.errs, field.Required(p.path.Child(name), `"namespace/pod" or an IP address`))
	} else if err := json.Unmarshal(p.fields[name], &s); err != nil || s == "" {
		p.invalid(name, `want "namespace/pod" or an IP address`)
	}
	return s
}

func (p *fieldReader) protocol() uint8 {
	if p.missing("protocol") {
		p.errs = append(p.errs, field.Required(p.path.Child("protocol"), "TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number"))
		return 0
	}
	var name string
	if json.Unmarshal(p.fields["protocol"], &name) == nil {
		if n, ok := policy.ProtocolNumber(name); ok {
			return n
		}
		p.invalid("protocol", "want TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number")
		return 0
	}
	return uint8(p.number("protocol", 1, 255).or(0))
}

func (p *fieldReader) icmp() decision.Fact[policy.ICMP] {
	kind, code := p.number("icmpType", 0, 255), p.number("icmpCode", 0, 255)
	if !kind.ok {
		return decision.Unknown[policy.ICMP]("the flow has no icmpType")
	}
	return decision.Known(policy.ICMP{Type: uint8(kind.n), Code: uint8(code.n), HasCode: code.ok})
}

// resolve finds the ends of a flow in s. notEndpoint says why a pod that is not in s is none, "" if there is no such pod.
func (f *Flow) resolve(path *field.Path, s *policy.Snapshot, notEndpoint func(namespace, name string) string) (eval.Flow, field.ErrorList) {
	var errs field.ErrorList
	out := eval.Flow{Protocol: f.Protocol, ICMP: f.ICMP}
	out.Source.Port, out.Destination.Port = f.SourcePort, f.Port
	ends := []struct {
		name, text string
		end        *eval.End
	}{{"from", f.From, &out.Source}, {"to", f.To, &out.Destination}}
	for _, e := range ends {
		if addr, err := netip.ParseAddr(e.text); err == nil {
			e.end.Addr = addr.Unmap()
			continue
		}
		namespace, name, ok := strings.Cut(e.text, "/")
		if !ok || strings.Contains(name, "/") {
			errs = append(errs, field.Invalid(path.Child(e.name), e.text, `want "namespace/pod" or an IP address`))
			continue
		}
		if e.end.Workload = s.Workload(namespace, name); e.end.Workload == nil {
			if why := notEndpoint(namespace, name); why != "" {
				errs = append(errs, field.Invalid(path.Child(e.name), e.text, "the pod "+why+" and has no policy"))
			} else {
				errs = append(errs, field.NotFound(path.Child(e.name), e.text))
			}
		}
	}
	if len(errs) > 0 {
		return out, errs
	}
	version := f.version(out)
	for _, e := range ends {
		switch w := e.end.Workload; {
		case w != nil:
			addr, ok := w.Address(version)
			if !ok {
				errs = append(errs, field.Invalid(path.Child(e.name), e.text, fmt.Sprintf("the pod has no IPv%d address", version)))
			}
			e.end.Addr = addr
		case e.end.Addr.Is4() != (version == 4):
			errs = append(errs, field.Invalid(path.Child(e.name), e.text, fmt.Sprintf("not an IPv%d address", version)))
		}
	}
	return out, errs
}

// version is 4, or 6 where an end is an IPv6 literal or a pod without an IPv4 address.
func (f *Flow) version(in eval.Flow) uint8 {
	if f.IPVersion != 0 {
		return f.IPVersion
	}
	for _, end := range []eval.End{in.Source, in.Destination} {
		if end.Workload == nil && end.Addr.Is6() {
			return 6
		}
		if end.Workload != nil {
			if _, ok := end.Workload.Address(4); !ok {
				return 6
			}
		}
	}
	return 4
}

// By says what decided in one direction. Policy is "namespace/name", "name" of a global one, or "" for the profile; Rule
// is -1 at the end of a tier.
type By struct {
	Tier   string `json:"tier"`
	Policy string `json:"policy"`
	Rule   int    `json:"rule"`
}

// Answer is a flow with its verdicts. Its JSON is the flow's fields as they were given, plus the five of the result.
type Answer struct {
	Flow   Flow
	Result eval.Result
}

// Verdict returns what d says, "" if that end is not a pod.
func verdict(d eval.Decision) string {
	if !d.Applies {
		return ""
	}
	return d.Verdict.String()
}

func by(d eval.Decision) *By {
	if !d.Applies {
		return nil
	}
	out := &By{Tier: d.Tier, Rule: d.Rule}
	if d.Policy != (policy.Ref{}) {
		out.Policy = d.Policy.Path()
	}
	return out
}

// MarshalJSON prints the known fields in a fixed order, then others by name, then the result.
func (a Answer) MarshalJSON() ([]byte, error) {
	names := slices.DeleteFunc(flowFields(), func(name string) bool { return a.Flow.fields[name] == nil })
	for _, name := range slices.Sorted(maps.Keys(a.Flow.fields)) {
		if !slices.Contains(names, name) && !slices.Contains(resultFields(), name) {
			names = append(names, name)
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range names {
		if err := member(&b, name, a.Flow.fields[name]); err != nil {
			return nil, err
		}
	}
	values := []any{
		verdict(a.Result.Egress), verdict(a.Result.Ingress), a.Result.Verdict().String(), by(a.Result.Egress), by(a.Result.Ingress),
	}
	for i, name := range resultFields() {
		if err := member(&b, name, values[i]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func member(b *bytes.Buffer, name string, value any) error {
	if b.Len() > 1 {
		b.WriteByte(',')
	}
	key, err := json.Marshal(name)
	if err != nil {
		return fmt.Errorf("encode field name: %w", err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	b.Write(key)
	b.WriteByte(':')
	b.Write(text)
	return nil
}

// shorten is how much of a user's text an error repeats.
func shorten(raw []byte) string {
	const most = 120
	if len(raw) > most {
		return string(raw[:most]) + "..."
	}
	return string(raw)
}
