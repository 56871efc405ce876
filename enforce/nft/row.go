package nft

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/saguard/saguard/internal/ruleset"
)

// maxPortRules is how many segments of one protocol become rules of their own; more become a verdict map, so that the cost
// of a packet does not grow with them.
const maxPortRules = 4

// outcome is what segments have in common whose packets need not be told apart: one chain with the counter, the report and
// the verdict, for all rows.
type outcome struct {
	direction ruleset.Direction
	allow     bool
	rule, log ruleset.RuleID
}

func (o outcome) String() string {
	word := "deny"
	if o.allow {
		word = "allow"
	}
	name := fmt.Sprintf("%s_%s_%d", o.direction, word, o.rule)
	if o.log != 0 {
		name += fmt.Sprintf("_log_%d", o.log)
	}
	return name
}

// outcomeOf reads the name of a chain back.
func outcomeOf(chain string) (o outcome, ok bool) {
	name, _, _ := strings.Cut(chain, serialMark)
	parts := strings.Split(name, "_")
	if len(parts) != 3 && (len(parts) != 5 || parts[3] != "log") {
		return outcome{}, false
	}
	for _, d := range []ruleset.Direction{ruleset.Ingress, ruleset.Egress} {
		if parts[0] == d.String() {
			o.direction, ok = d, true
		}
	}
	if !ok || parts[1] != "allow" && parts[1] != "deny" {
		return outcome{}, false
	}
	o.allow = parts[1] == "allow"
	ids := []*ruleset.RuleID{&o.rule, &o.log}
	for i, text := range []string{parts[2], parts[len(parts)-1]}[:len(parts)/2] {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return outcome{}, false
		}
		*ids[i] = ruleset.RuleID(n)
	}
	return o, true
}

// rules of the outcome's chain. Denied and logged packets are reported as far as the limit lets them; the others are
// counted as lost. Of an allowed connection only the first packets are logged: the others would use up the limit. The prefix
// of the report is the name of the chain.
func (o outcome) rules(chain string, group uint16) []rule {
	pass := rule{counted: true, verdict: accept}
	end := rule{verdict: drop}
	if o.allow {
		end = pass
	}
	report, heldBack := end, end
	report.counted, report.limited, report.prefix, report.group = true, true, chain, group
	heldBack.counted, heldBack.lost = false, true
	switch {
	case o.allow && o.log == 0:
		return []rule{pass}
	case o.allow:
		report.states, heldBack.states = stateNew, stateNew
		return []rule{report, heldBack, pass}
	default:
		return []rule{report, heldBack}
	}
}

// portMap is the verdict map of one protocol in a row.
type portMap struct {
	name     string
	elements map[string]element
}

// loweredRow is the chain of a row. It ends every packet: what matches no rule before meets the last, which has no condition.
type loweredRow struct {
	rules []rule
	maps  []portMap
}

// lowerRow makes the chain of a row. For each protocol that occurs come the segments that differ from the protocol's rest,
// and then the rest; what is left is for any other protocol. The rest is a denial if there is one: a packet too short to have
// ports matches none, and so it fails closed.
// chainOf returns the chain of an outcome; name is that of the row's own.
func lowerRow(name string, row ruleset.Row, chainOf func(outcome) string) loweredRow {
	out := loweredRow{}
	protocols := map[uint8][]ruleset.Segment{}
	for _, s := range row {
		protocols[s.Protocol] = append(protocols[s.Protocol], s)
	}
	others := withoutPorts(protocols[ruleset.AnyProtocol])
	delete(protocols, ruleset.AnyProtocol)
	for _, p := range slices.Sorted(maps.Keys(protocols)) {
		segments := protocols[p]
		if !hasPorts(p) {
			if only := withoutPorts(segments); only != others {
				out.rules = append(out.rules, rule{hasProtocol: true, protocol: p, verdict: goTo, chain: chainOf(only)})
			}
			continue
		}
		if isICMP(p) {
			segments = withoutSources(segments)
		}
		rest := restOf(segments)
		segments = slices.DeleteFunc(slices.Clone(segments), func(s ruleset.Segment) bool { return outcomeOfSegment(s) == rest })
		out.addPorts(p, segments, chainOf, fmt.Sprintf("%s_%d", name, p))
		if rest != others {
			out.rules = append(out.rules, rule{hasProtocol: true, protocol: p, verdict: goTo, chain: chainOf(rest)})
		}
	}
	out.rules = append(out.rules, rule{verdict: goTo, chain: chainOf(others)})
	return out
}

// addPorts adds the rules for the segments of one protocol, which are disjoint: their order does not matter.
func (out *loweredRow) addPorts(protocol uint8, segments []ruleset.Segment, chainOf func(outcome) string, mapName string) {
	field := destPort
	if isICMP(protocol) {
		field = icmpTypeCode
	}
	inMap := func(s ruleset.Segment) bool { return s.AnySource() && !s.Whole() }
	mapped := 0
	for _, s := range segments {
		if inMap(s) {
			mapped++
		}
	}
	if mapped > maxPortRules {
		elements := map[string]element{}
		for _, s := range segments {
			if inMap(s) {
				elements[portKeyOf(s.First)] = element{end: portEnd(s.Last), chain: chainOf(outcomeOfSegment(s))}
			}
		}
		out.maps = append(out.maps, portMap{name: mapName, elements: elements})
		out.rules = append(out.rules, rule{hasProtocol: true, protocol: protocol, setField: field, set: mapName, isMap: true})
		segments = slices.DeleteFunc(segments, inMap)
	}
	for _, s := range segments {
		r := rule{hasProtocol: true, protocol: protocol, verdict: goTo, chain: chainOf(outcomeOfSegment(s))}
		if s.First != 0 || s.Last != math.MaxUint16 {
			r.hasPorts, r.portField, r.ports = true, field, span{s.First, s.Last}
		}
		if !s.AnySource() {
			r.hasSources, r.sources = true, span{s.SourceFirst, s.SourceLast}
		}
		out.rules = append(out.rules, r)
	}
}

func outcomeOfSegment(s ruleset.Segment) outcome {
	return outcome{allow: s.Allow, rule: s.Rule, log: s.Log}
}

// withoutPorts is the outcome for a packet that has no ports: that of the segment of port 0. None is a denial by no rule.
func withoutPorts(segments []ruleset.Segment) outcome {
	for _, s := range segments {
		if s.First == 0 && s.SourceFirst == 0 {
			return outcomeOfSegment(s)
		}
	}
	return outcome{}
}

// withoutSources returns the segments for source port 0, as if they were for all.
func withoutSources(segments []ruleset.Segment) []ruleset.Segment {
	var out []ruleset.Segment
	for _, s := range segments {
		if s.SourceFirst == 0 {
			s.SourceLast = math.MaxUint16
			out = append(out, s)
		}
	}
	return out
}

// restOf returns the outcome of the most segments, of those that deny if there are any. Segments that leave something out
// have a denial by no rule for it: fails closed.
func restOf(segments []ruleset.Segment) outcome {
	count := map[outcome]int{}
	covered := uint64(0)
	for _, s := range segments {
		count[outcomeOfSegment(s)]++
		covered += (uint64(s.Last-s.First) + 1) * (uint64(s.SourceLast-s.SourceFirst) + 1)
	}
	if covered != 1<<32 {
		return outcome{}
	}
	return slices.MaxFunc(slices.Collect(maps.Keys(count)), func(a, b outcome) int {
		if a.allow != b.allow {
			if a.allow {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a.rule, b.rule), cmp.Compare(a.log, b.log))
	})
}

// hasPorts reports whether segments of the protocol compare ports, or ICMP's type and code.
func hasPorts(protocol uint8) bool {
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE:
		return true
	}
	return isICMP(protocol)
}

func isICMP(protocol uint8) bool {
	return protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6
}

func portKeyOf(port uint16) string { return string(binary.BigEndian.AppendUint16(nil, port)) }

// portEnd is the end of an interval whose last port is given: "" beyond the last of all.
func portEnd(last uint16) string {
	if last == math.MaxUint16 {
		return ""
	}
	return portKeyOf(last + 1)
}
