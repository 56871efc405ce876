package ruleset

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// String returns the canonical text: two rulesets that judge, name and group alike have the same, whatever their IDs
// and revisions. Identities are called i1, i2, ... and programs p1, p2, ... in the order of their own texts.
func (r *Ruleset) String() string {
	t := texts{r: r, identities: map[IdentityID]string{}, programs: map[ProgramID]string{}, rows: map[RowID]string{}, strangers: map[SubjectID]bool{}}
	for id, row := range r.Rows {
		t.rows[id] = t.row(row)
	}
	var b strings.Builder
	t.writeIdentities(&b)
	t.writePrograms(&b)
	for _, addr := range slices.SortedFunc(maps.Keys(r.Endpoints), netip.Addr.Compare) {
		e := r.Endpoints[addr]
		s := r.Subjects[e.Subject]
		fmt.Fprintf(&b, "endpoint %s %s ingress %s egress %s\n", addr, e.Pod, t.programs[s.Ingress], t.programs[s.Egress])
	}
	for _, id := range slices.Sorted(maps.Keys(t.strangers)) {
		s := r.Subjects[id]
		fmt.Fprintf(&b, "strangers ingress %s egress %s\n", t.programs[s.Ingress], t.programs[s.Egress])
	}
	return b.String()
}

// Equal compares canonical texts.
func (r *Ruleset) Equal(o *Ruleset) bool { return r.String() == o.String() }

// Hash is the SHA-256 of the canonical text.
func (r *Ruleset) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(r.String())) }

// texts are the canonical names of parts.
type texts struct {
	r          *Ruleset
	identities map[IdentityID]string
	programs   map[ProgramID]string
	rows       map[RowID]string
	strangers  map[SubjectID]bool
}

func (t *texts) writeIdentities(b *strings.Builder) {
	addresses := map[IdentityID][]netip.Prefix{}
	for prefix, a := range t.r.Addresses {
		addresses[a.Identity] = append(addresses[a.Identity], prefix)
	}
	number(t.r.Identities, func(_ IdentityID, i Identity) string { return i.String() }, func(n int, id IdentityID, text string) {
		t.identities[id] = "i" + strconv.Itoa(n)
		fmt.Fprintf(b, "identity %s %s\n", t.identities[id], text)
		slices.SortFunc(addresses[id], func(x, y netip.Prefix) int {
			return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
		})
		for _, prefix := range addresses[id] {
			text := prefix.String()
			if pod := t.r.Addresses[prefix].Pod; pod != (Pod{}) {
				text = prefix.Addr().String() + " " + pod.String()
			}
			if id := t.r.Addresses[prefix].Strangers; id != 0 {
				t.strangers[id] = true
				text += " strangers"
			}
			b.WriteString("  " + text + "\n")
		}
	})
}

func (t *texts) writePrograms(b *strings.Builder) {
	last := ""
	number(t.r.Programs, func(_ ProgramID, p *Program) string { return t.program(p) }, func(n int, id ProgramID, text string) {
		t.programs[id] = "p" + strconv.Itoa(n)
		if text != last {
			fmt.Fprintf(b, "program %s %s", t.programs[id], text)
		}
		last = text
	})
}

// program lists rows with the identities that have them.
func (t *texts) program(p *Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s\n", p.Direction, strings.Join(p.Policies, ", "))
	if p.Default4 == p.Default6 {
		b.WriteString("  others\n" + t.rows[p.Default4])
	} else {
		b.WriteString("  others of IPv4\n" + t.rows[p.Default4] + "  others of IPv6\n" + t.rows[p.Default6])
	}
	byRow := map[RowID][]IdentityID{}
	for identity, row := range p.Rows {
		byRow[row] = append(byRow[row], identity)
	}
	var lines []string
	for row, ids := range byRow {
		var names []string
		for _, id := range ids {
			names = append(names, t.identities[id])
		}
		slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)) })
		lines = append(lines, "  "+strings.Join(names, " ")+"\n"+t.rows[row])
	}
	slices.Sort(lines)
	return b.String() + strings.Join(lines, "")
}

// row lists segments by protocol, those for other protocols last.
func (t *texts) row(r Row) string {
	sorted := slices.Clone(r)
	slices.SortFunc(sorted, func(x, y Segment) int {
		return cmp.Or(cmp.Compare(x.Protocol-1, y.Protocol-1), cmp.Compare(x.First, y.First), cmp.Compare(x.SourceFirst, y.SourceFirst))
	})
	var b strings.Builder
	for _, s := range sorted {
		b.WriteString("    " + t.segment(s) + "\n")
	}
	return b.String()
}

func (t *texts) segment(s Segment) string {
	text := protocolName(s.Protocol)
	switch icmp := s.Protocol == protocolICMP || s.Protocol == protocolICMPv6; {
	case s.First == 0 && s.Last == math.MaxUint16:
	case icmp && s.First == s.Last:
		text += fmt.Sprintf(" type %d code %d", s.First>>8, s.First&0xff)
	case icmp:
		text += fmt.Sprintf(" type %d code %d to type %d code %d", s.First>>8, s.First&0xff, s.Last>>8, s.Last&0xff)
	default:
		text += " " + span(s.First, s.Last)
	}
	if !s.AnySource() {
		text += " from " + span(s.SourceFirst, s.SourceLast)
	}
	verdict := "deny"
	if s.Allow {
		verdict = "allow"
	}
	text += ": " + verdict + " by " + t.r.Rules[s.Rule].String()
	if s.Log != 0 {
		text += ", log by " + t.r.Rules[s.Log].String()
	}
	return text
}

func span(first, last uint16) string {
	if first == last {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func protocolName(p uint8) string {
	switch p {
	case AnyProtocol:
		return "any"
	case protocolTCP:
		return "TCP"
	case protocolUDP:
		return "UDP"
	case protocolSCTP:
		return "SCTP"
	case protocolICMP:
		return "ICMP"
	case protocolICMPv6:
		return "ICMPv6"
	case protocolUDPLite:
		return "UDPLite"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// String returns "IPv4 prod/web {app=x} [http=TCP/80] in GlobalNetworkSet x".
func (i Identity) String() string {
	parts := []string{fmt.Sprintf("IPv%d", i.Family)}
	for _, p := range i.Pods {
		parts = append(parts, p.String())
	}
	if len(i.Nets) > 0 {
		parts = append(parts, "in "+strings.Join(i.Nets, " and "))
	}
	return strings.Join(parts, " ")
}

// String returns "namespace/account {labels} [ports]".
func (p PodClass) String() string {
	account := p.Account
	if account == "" {
		account = "-"
	}
	text := p.Namespace + "/" + account
	if len(p.Labels) > 0 {
		var labels []string
		for _, l := range p.Labels {
			labels = append(labels, l.Key+"="+l.Value)
		}
		text += " {" + strings.Join(labels, ", ") + "}"
	}
	if len(p.Ports) > 0 {
		var ports []string
		for _, n := range p.Ports {
			ports = append(ports, fmt.Sprintf("%s=%s/%d", n.Name, protocolName(n.Protocol), n.Port))
		}
		text += " [" + strings.Join(ports, ", ") + "]"
	}
	return text
}

// String returns "namespace/name".
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// String returns "tier: policy direction index", "tier: end after policy" or "profile".
func (r Rule) String() string {
	switch {
	case r.Vacant:
		return "no pod has the other address"
	case r.Stranger:
		return fmt.Sprintf("no pod has the address, %s", r.Direction)
	case r.Tier == "" && r.Index == EndOfTier:
		return "missing namespace"
	case r.Tier == "":
		return "profile"
	case r.Index == EndOfTier:
		return fmt.Sprintf("%s: %s end after %s", r.Tier, r.Direction, r.Policy)
	}
	text := fmt.Sprintf("%s: %s %s[%d]", r.Tier, r.Policy, r.Direction, r.Index)
	if r.Unparsed {
		text += " (unparsed)"
	}
	return text
}

// number calls f for the values of m in the order of their texts, with the same number for the same text.
func number[K cmp.Ordered, V any](m map[K]V, text func(K, V) string, f func(n int, key K, text string)) {
	type entry struct {
		key  K
		text string
	}
	var all []entry
	for k, v := range m {
		all = append(all, entry{k, text(k, v)})
	}
	slices.SortFunc(all, func(x, y entry) int { return cmp.Or(cmp.Compare(x.text, y.text), cmp.Compare(x.key, y.key)) })
	n := 0
	for i, e := range all {
		if i == 0 || e.text != all[i-1].text {
			n++
		}
		f(n, e.key, e.text)
	}
}
