package hygiene

import (
	"slices"
	"strings"
	"unicode/utf8"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type direction uint8

const (
	directionIngress direction = iota + 1
	directionEgress
)

// Bounds of Calico's CRDs.
const (
	maxHTTP     = 20   // methods, and paths, of a rule
	maxHTTPPath = 1024 // characters
)

// IANA protocol numbers that Calico treats like the names.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolICMPv6 = 58
)

func (c *checker) rules(path *field.Path, rules []v3.Rule, d direction) {
	if len(rules) > maxRules {
		c.fail(field.TooMany(path, len(rules), maxRules))
	}
	for i := range rules {
		c.rule(path.Index(i), &rules[i], d)
	}
}

func (c *checker) rule(path *field.Path, r *v3.Rule, d direction) {
	switch r.Action {
	case v3.Allow, v3.Deny, v3.Log, v3.Pass:
	case "":
		c.fail(field.Required(path.Child("action"), "one of Allow, Deny, Log, Pass"))
	default:
		c.fail(field.NotSupported(path.Child("action"), r.Action, []v3.Action{v3.Allow, v3.Deny, v3.Log, v3.Pass}))
	}
	c.protocol(path, "protocol", r.Protocol, r.IPVersion)
	c.protocol(path, "notProtocol", r.NotProtocol, r.IPVersion)
	if v := r.IPVersion; v != nil && *v != 4 && *v != 6 {
		c.fail(field.Invalid(path.Child("ipVersion"), *v, "must be 4 or 6"))
	}
	c.icmp(path, "icmp", r.ICMP)
	c.icmp(path, "notICMP", r.NotICMP)
	if r.ICMP != nil && !is(r.Protocol, numorstring.ProtocolICMP, protocolICMP) &&
		!is(r.Protocol, numorstring.ProtocolICMPv6, protocolICMPv6) {
		c.fail(field.Invalid(path.Child("icmp"), "", "needs protocol ICMP or ICMPv6"))
	}
	f := families{version: r.IPVersion}
	c.entity(path.Child("source"), &r.Source, r, &f)
	c.entity(path.Child("destination"), &r.Destination, r, &f)
	c.services(path, r, d)
	c.http(path, r, d)
	if r.Metadata != nil {
		c.annotations(path.Child("metadata", "annotations"), r.Metadata.Annotations)
	}
}

// is reports whether p is the protocol, by name or by number.
func is(p *numorstring.Protocol, name string, number uint8) bool {
	if p == nil {
		return false
	}
	if n, err := p.NumValue(); err == nil {
		return n == number
	}
	return p.StrVal == name
}

func protocolNames() []string {
	return []string{
		numorstring.ProtocolTCP, numorstring.ProtocolUDP, numorstring.ProtocolICMP, numorstring.ProtocolICMPv6,
		numorstring.ProtocolSCTP, numorstring.ProtocolUDPLite,
	}
}

func (c *checker) protocol(parent *field.Path, name string, p *numorstring.Protocol, version *int) {
	if p == nil {
		return
	}
	path := parent.Child(name)
	if n, err := p.NumValue(); err == nil {
		if n == 0 {
			c.fail(field.Invalid(path, n, "must be 1 to 255"))
		}
	} else if names := protocolNames(); !slices.Contains(names, p.StrVal) {
		c.fail(field.NotSupported(path, brief(p.StrVal), names))
	}
	switch {
	case version == nil:
	case *version != 4 && is(p, numorstring.ProtocolICMP, protocolICMP):
		c.fail(field.Invalid(path, p.String(), "is for ipVersion 4"))
	case *version != 6 && is(p, numorstring.ProtocolICMPv6, protocolICMPv6):
		c.fail(field.Invalid(path, p.String(), "is for ipVersion 6"))
	}
}

func (c *checker) icmp(parent *field.Path, name string, i *v3.ICMPFields) {
	if i == nil {
		return
	}
	path := parent.Child(name)
	if t := i.Type; t != nil && (*t < 0 || *t > 254) {
		c.fail(field.Invalid(path.Child("type"), *t, "must be 0 to 254"))
	}
	if n := i.Code; n != nil {
		if *n < 0 || *n > 255 {
			c.fail(field.Invalid(path.Child("code"), *n, "must be 0 to 255"))
		}
		if i.Type == nil {
			c.fail(field.Required(path.Child("type"), "a code needs a type"))
		}
	}
}

// services may stand at the far end of a rule only.
func (c *checker) services(path *field.Path, r *v3.Rule, d direction) {
	near, nearName, far, farName := &r.Destination, "destination", &r.Source, "source"
	if d == directionEgress {
		near, nearName, far, farName = far, farName, near, nearName
	}
	if near.Services != nil {
		c.fail(field.Forbidden(path.Child(nearName, "services"), "belongs to the "+farName+" of such a rule"))
	}
	if c.global && far.Services != nil && far.Services.Namespace == "" {
		c.fail(field.Required(path.Child(farName, "services", "namespace"), "a global policy has no namespace of its own"))
	}
	if r.Destination.Services != nil {
		const why = "the ports are those of the service"
		if len(r.Destination.Ports) > 0 {
			c.fail(field.Forbidden(path.Child("destination", "ports"), why))
		}
		if len(r.Destination.NotPorts) > 0 {
			c.fail(field.Forbidden(path.Child("destination", "notPorts"), why))
		}
	}
}

func (c *checker) http(path *field.Path, r *v3.Rule, d direction) {
	h := r.HTTP
	if h == nil {
		return
	}
	path = path.Child("http")
	if d == directionEgress {
		c.fail(field.Forbidden(path, "is for ingress rules"))
	}
	if r.Action != v3.Allow {
		c.fail(field.Forbidden(path, "is for Allow rules"))
	}
	if r.Protocol != nil && !is(r.Protocol, numorstring.ProtocolTCP, protocolTCP) {
		c.fail(field.Invalid(path, r.Protocol.String(), "needs protocol TCP or none"))
	}
	if len(h.Methods) > maxHTTP {
		c.fail(field.TooMany(path.Child("methods"), len(h.Methods), maxHTTP))
	}
	seen := sets.New[string]()
	for i, m := range h.Methods {
		if seen.Has(m) {
			c.fail(field.Duplicate(path.Child("methods").Index(i), brief(m)))
		}
		seen.Insert(m)
	}
	if len(h.Paths) > maxHTTP {
		c.fail(field.TooMany(path.Child("paths"), len(h.Paths), maxHTTP))
	}
	for i, p := range h.Paths {
		c.httpPath(path.Child("paths").Index(i), p)
	}
}

func (c *checker) httpPath(path *field.Path, p v3.HTTPPath) {
	value := p.Exact + p.Prefix
	switch {
	case p.Exact != "" && p.Prefix != "":
		c.fail(field.Forbidden(path, "has both exact and prefix"))
	case value == "":
		c.fail(field.Required(path, "exact or prefix"))
	case !strings.HasPrefix(value, "/") || strings.ContainsAny(value, "? #"):
		c.fail(field.Invalid(path, brief(value), "must start with '/' and contain no '?', '#' or blank"))
	}
	if utf8.RuneCountInString(p.Exact) > maxHTTPPath || utf8.RuneCountInString(p.Prefix) > maxHTTPPath {
		c.fail(field.TooLong(path, brief(value), maxHTTPPath))
	}
}
