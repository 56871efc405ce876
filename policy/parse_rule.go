package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// rule parses one rule: into itself; into a deny-all if it is broken; into two for a Pass whose sets are not certain.
func (r *reader) rule(path *field.Path, in *v3.Rule, index int, d Direction) []Rule {
	outer := r.broken
	r.broken = false
	defer func() { r.broken = outer }()

	action := r.action(path.Child("action"), in.Action)
	base := Rule{Index: index}
	r.protocol(path, in, &base)
	r.http(path.Child("http"), in.HTTP, &base, action, d)
	source, destination := path.Child("source"), path.Child("destination")
	r.checkEntity(source, &in.Source)
	r.checkEntity(destination, &in.Destination)
	sourceNets, destinationNets := r.netsAndPorts(source, &in.Source), r.netsAndPorts(destination, &in.Destination)
	base.Never = in.Source.Services != nil || in.Destination.Services != nil

	read := func(action Action, reading Reading) Rule {
		rule := base
		rule.Action = action
		rule.Source = sourceNets.with(r.entity(source, &in.Source, reading))
		rule.Destination = destinationNets.with(r.entity(destination, &in.Destination, reading))
		return rule
	}
	var out []Rule
	switch {
	case r.sem == Calico:
		out = []Rule{read(action, ReadingCalico)}
	case action == ActionAllow:
		out = []Rule{read(action, ReadingCertain)}
	case action == ActionPass:
		out = []Rule{read(action, ReadingCertain)}
		if out[0].Source.uncertain() || out[0].Destination.uncertain() {
			// A Pass that is only possible must neither stay in the tier nor leave it: fails closed.
			out = append(out, read(ActionDeny, ReadingPossible))
		}
	default:
		out = []Rule{read(action, ReadingPossible)}
	}
	if r.broken {
		return []Rule{denyAll(index)}
	}
	return out
}

// denyAll stands for a rule that did not parse: it fails closed, whatever was meant.
func denyAll(index int) Rule { return Rule{Index: index, Action: ActionDeny, Unparsed: true} }

// uncertain reports whether the end matches more in a possible reading than in a certain one: if it asks who is there.
func (e Entity) uncertain() bool {
	named := func(p Port) bool { return p.Name != "" }
	return e.Set != nil || e.NotSet != nil || slices.ContainsFunc(e.Ports, named) || slices.ContainsFunc(e.NotPorts, named)
}

// with takes sets and what the object says from o, nets and ports from e.
func (e Entity) with(o Entity) Entity {
	o.Nets, o.NotNets, o.Ports, o.NotPorts = e.Nets, e.NotNets, e.Ports, e.NotPorts
	return o
}

// action is updateprocessors/rules.go (ruleActionAPIV2ToBackend): case does not matter, and nothing is Allow.
func (r *reader) action(path *field.Path, in v3.Action) Action {
	supported := []v3.Action{v3.Allow, v3.Deny, v3.Log, v3.Pass}
	switch in {
	case actionBroken:
		r.broken = true
		return ActionDeny
	case v3.Allow:
		return ActionAllow
	case v3.Deny:
		return ActionDeny
	case v3.Log:
		return ActionLog
	case v3.Pass:
		return ActionPass
	}
	switch strings.ToLower(string(in)) {
	case "", "allow":
		r.fail(rowRuleFields, field.NotSupported(path, in, supported))
		return ActionAllow
	case "deny":
		r.fail(rowRuleFields, field.NotSupported(path, in, supported))
	case "log":
		r.fail(rowRuleFields, field.NotSupported(path, in, supported))
		return ActionLog
	case "pass", "next-tier":
		r.fail(rowRuleFields, field.NotSupported(path, in, supported))
		return ActionPass
	default:
		r.drop(rowRuleFields, field.NotSupported(path, in, supported))
	}
	return ActionDeny
}

// protocol reads what concerns the packet as a whole.
func (r *reader) protocol(path *field.Path, in *v3.Rule, out *Rule) {
	out.Protocol = r.protocolNumber(path.Child("protocol"), in.Protocol)
	out.NotProtocol = r.protocolNumber(path.Child("notProtocol"), in.NotProtocol)
	if v := in.IPVersion; v != nil {
		out.IPVersion = uint8(*v)
		if *v != 4 && *v != 6 {
			r.drop(rowRuleFields, field.NotSupported(path.Child("ipVersion"), strconv.Itoa(*v), []string{"4", "6"}))
		}
	} else if in.Protocol != nil {
		// felix/calc/rule_convert.go: the names, not the numbers, are for one IP version.
		switch strings.ToLower(in.Protocol.String()) {
		case "icmp":
			out.IPVersion = 4
		case "icmpv6":
			out.IPVersion = 6
		}
	}
	out.ICMP = r.icmp(path.Child("icmp"), in.ICMP)
	out.NotICMP = r.icmp(path.Child("notICMP"), in.NotICMP)
	if (out.ICMP != nil || out.NotICMP != nil) && out.Protocol != ProtocolICMP && out.Protocol != ProtocolICMPv6 {
		r.fail(rowRuleFields, field.Invalid(path.Child("icmp"), "", "needs protocol ICMP or ICMPv6"))
	}
	for _, end := range []struct {
		path *field.Path
		in   *v3.EntityRule
	}{{path.Child("source"), &in.Source}, {path.Child("destination"), &in.Destination}} {
		r.portsFit(end.path.Child("ports"), in.Protocol, end.in.Ports)
		r.portsFit(end.path.Child("notPorts"), in.Protocol, end.in.NotPorts)
	}
}

// portsFit is typha/pkg/validator/v1 (validateBackendRule): numbers need a protocol that has ports, names none at all.
func (r *reader) portsFit(path *field.Path, protocol *numorstring.Protocol, ports []numorstring.Port) {
	if len(ports) == 0 || protocol != nil && protocol.SupportsPorts() {
		return
	}
	if protocol == nil {
		named := true
		for _, p := range ports {
			named = named && p.PortName != ""
		}
		if named {
			return
		}
	}
	r.drop(rowRuleFields, field.Invalid(path, fmt.Sprint(ports), "needs protocol TCP, UDP or SCTP"))
}

// protocolNumber returns 0 for none. The number 0 itself and unknown names make Calico drop the policy.
func (r *reader) protocolNumber(path *field.Path, in *numorstring.Protocol) uint8 {
	if in == nil {
		return 0
	}
	if n, err := in.NumValue(); err == nil && n != 0 {
		return n
	}
	if in.Type == numorstring.NumOrStringString {
		if n, ok := ProtocolNumber(in.StrVal); ok {
			return n
		}
	}
	r.drop(rowRuleFields, field.Invalid(path, in.String(), "want 1 to 255, TCP, UDP, SCTP, ICMP, ICMPv6 or UDPLite"))
	return 0
}

func (r *reader) icmp(path *field.Path, in *v3.ICMPFields) *ICMP {
	if in == nil || in.Type == nil && in.Code == nil {
		return nil
	}
	if in.Type == nil {
		// Calico leaves the code out (felix/calc/rule_convert.go).
		r.fail(rowRuleFields, field.Required(path.Child("type"), "a code needs a type"))
		return nil
	}
	out := &ICMP{Type: uint8(*in.Type)}
	if *in.Type < 0 || *in.Type > 254 {
		r.drop(rowRuleFields, field.Invalid(path.Child("type"), *in.Type, "want 0 to 254"))
	}
	if in.Code != nil {
		out.Code, out.HasCode = uint8(*in.Code), true
		if *in.Code < 0 || *in.Code > 255 {
			r.drop(rowRuleFields, field.Invalid(path.Child("code"), *in.Code, "want 0 to 255"))
		}
	}
	return out
}

// http reads an http match; packets are not asked about it (felix renders the rest of the rule).
func (r *reader) http(path *field.Path, in *v3.HTTPMatch, out *Rule, action Action, d Direction) {
	if in == nil {
		return
	}
	if action != ActionAllow || d != Ingress {
		r.fail(rowRuleFields, field.Forbidden(path, "is for ingress rules with action Allow"))
	}
	out.HTTP = &HTTP{Methods: append([]string(nil), in.Methods...)}
	for i, p := range in.Paths {
		at := path.Child("paths").Index(i)
		switch {
		case (p.Exact == "") == (p.Prefix == ""):
			r.fail(rowRuleFields, field.Invalid(at, "", "want exactly one of exact and prefix"))
		case !strings.HasPrefix(p.Exact+p.Prefix, "/"):
			r.fail(rowRuleFields, field.Invalid(at, p.Exact+p.Prefix, "want a path from /"))
		}
		out.HTTP.Paths = append(out.HTTP.Paths, HTTPPath{Exact: p.Exact, Prefix: p.Prefix})
	}
}

// netsAndPorts reads what means the same in every reading.
func (r *reader) netsAndPorts(path *field.Path, in *v3.EntityRule) Entity {
	return Entity{
		Nets:     r.nets(path.Child("nets"), in.Nets),
		NotNets:  r.nets(path.Child("notNets"), in.NotNets),
		Ports:    r.ports(path.Child("ports"), in.Ports),
		NotPorts: r.ports(path.Child("notPorts"), in.NotPorts),
	}
}

// nets leaves out what does not parse; if nothing is left, the condition is gone (updateprocessors/rules.go).
func (r *reader) nets(path *field.Path, in []string) []netip.Prefix {
	var out []netip.Prefix
	for i, s := range in {
		prefix, err := parseNet(s)
		if err != nil {
			r.fail(rowRuleFields, field.Invalid(path.Index(i), s, err.Error()))
			continue
		}
		out = append(out, prefix)
	}
	return out
}

func (r *reader) ports(path *field.Path, in []numorstring.Port) []Port {
	var out []Port
	for i, p := range in {
		if p.PortName == "" && (p.MinPort < 1 || p.MaxPort < p.MinPort) {
			r.drop(rowRuleFields, field.Invalid(path.Index(i), p.String(), "want 1 to 65535, or a range from lower to higher"))
			continue
		}
		out = append(out, Port{First: p.MinPort, Last: p.MaxPort, Name: p.PortName})
	}
	return out
}
