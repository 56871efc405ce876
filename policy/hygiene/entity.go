package hygiene

import (
	"net"
	"strings"
	"unicode/utf8"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/policy/selector"
)

// Bounds of Calico's CRDs.
const (
	maxNets        = 256
	maxPorts       = 50
	maxServiceName = 253 // characters
)

func (c *checker) entity(path *field.Path, e *v3.EntityRule, r *v3.Rule, f *families) {
	c.nets(path, "nets", e.Nets, f, false)
	c.nets(path, "notNets", e.NotNets, f, true)
	c.ports(path, "ports", e.Ports, r.Protocol)
	c.ports(path, "notPorts", e.NotPorts, r.Protocol)

	c.withoutGlobal(path, "selector", e.Selector)
	plain := c.selector(path, "selector", e.Selector, bounded)
	c.selector(path, "notSelector", e.NotSelector, bounded)
	c.selector(path, "namespaceSelector", e.NamespaceSelector, bounded)
	if strings.Contains(e.NamespaceSelector, "global(") && !onlyGlobal(e.NamespaceSelector) {
		c.fail(field.Invalid(path.Child("namespaceSelector"), brief(e.NamespaceSelector), "global() stands alone"))
	}
	var accounts *selector.Selector
	if e.ServiceAccounts != nil {
		accounts = c.selector(path.Child("serviceAccounts"), "selector", e.ServiceAccounts.Selector, unbounded)
	}
	c.accounts(path, e, plain, accounts)
	c.service(path, e)
}

// onlyGlobal: blanks are allowed where the selector language has them.
func onlyGlobal(s string) bool {
	const blanks = " \t"
	rest, ok := strings.CutPrefix(strings.Trim(s, blanks), "global(")
	return ok && strings.Trim(rest, blanks) == ")"
}

// families keeps the IP versions a rule has spoken of so far.
type families struct {
	version *int // the rule's own
	v4, v6  bool
}

func (c *checker) nets(parent *field.Path, name string, nets []string, f *families, negated bool) {
	if len(nets) == 0 {
		return
	}
	path := parent.Child(name)
	if len(nets) > maxNets {
		c.fail(field.TooMany(path, len(nets), maxNets))
	}
	var v4, v6 bool
	seen := sets.New[string]()
	for i, s := range nets {
		if seen.Has(s) {
			c.fail(field.Duplicate(path.Index(i), brief(s)))
		}
		seen.Insert(s)
		// As Calico: package net, which lets a prefix length have leading zeros.
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			c.fail(field.Invalid(path.Index(i), brief(s), "not a CIDR"))
			continue
		}
		if !network.IP.Equal(ip) {
			c.fail(field.Invalid(path.Index(i), brief(s), "has bits behind its prefix; did you mean "+network.String()+"?"))
		}
		isV4 := network.IP.To4() != nil
		v4, v6 = v4 || isV4, v6 || !isV4
		ones, _ := network.Mask.Size()
		if negated && (s == "0.0.0.0/0" || !isV4 && ones == 0) {
			c.fail(field.Invalid(path.Index(i), brief(s), "excludes every address: the rule matches nothing"))
		}
	}
	if v := f.version; v != nil && (v4 && *v != 4 || v6 && *v != 6) {
		c.fail(field.Invalid(path, *v, "not of the rule's ipVersion"))
	}
	if v4 && (v6 || f.v6) || v6 && f.v4 {
		c.fail(field.Forbidden(path, "a rule's networks are all IPv4 or all IPv6"))
	}
	f.v4, f.v6 = f.v4 || v4, f.v6 || v6
}

func (c *checker) ports(parent *field.Path, name string, ports []numorstring.Port, protocol *numorstring.Protocol) {
	if len(ports) == 0 {
		return
	}
	path := parent.Child(name)
	if len(ports) > maxPorts {
		c.fail(field.TooMany(path, len(ports), maxPorts))
	}
	numeric := false
	for i, p := range ports {
		numeric = numeric || p.PortName == ""
		switch {
		case p.PortName != "" && (p.MinPort != 0 || p.MaxPort != 0):
			c.fail(field.Invalid(path.Index(i), p.String(), "has a name and a number"))
		case p.PortName != "":
			for _, why := range validation.IsValidPortName(p.PortName) {
				c.fail(field.Invalid(path.Index(i), brief(p.PortName), why))
			}
		case p.MinPort < 1 || p.MaxPort < p.MinPort:
			c.fail(field.Invalid(path.Index(i), p.String(), "must be a port, 1 to 65535, or a range of them, low:high"))
		}
	}
	switch {
	case protocol == nil && numeric:
		c.fail(field.Invalid(path, "", "port numbers need protocol TCP, UDP or SCTP"))
	case protocol != nil && !protocol.SupportsPorts():
		c.fail(field.Invalid(path, protocol.String(), "ports need protocol TCP, UDP or SCTP"))
	}
}

// service: a service match replaces all others that say who is meant.
func (c *checker) service(path *field.Path, e *v3.EntityRule) {
	s := e.Services
	if s == nil {
		return
	}
	at := path.Child("services")
	if s.Name == "" {
		c.fail(field.Required(at.Child("name"), "which service is meant"))
	}
	c.serviceName(at.Child("name"), s.Name)
	c.serviceName(at.Child("namespace"), s.Namespace)
	for _, other := range []struct {
		name string
		set  bool
	}{
		{name: "nets", set: len(e.Nets) > 0},
		{name: "notNets", set: len(e.NotNets) > 0},
		{name: "selector", set: e.Selector != ""},
		{name: "notSelector", set: e.NotSelector != ""},
		{name: "namespaceSelector", set: e.NamespaceSelector != ""},
		{name: "serviceAccounts", set: e.ServiceAccounts != nil},
	} {
		if other.set {
			c.fail(field.Forbidden(path.Child(other.name), "may not stand next to services"))
		}
	}
}

func (c *checker) serviceName(path *field.Path, name string) {
	if name == "" {
		return
	}
	if utf8.RuneCountInString(name) > maxServiceName {
		c.fail(field.TooLong(path, brief(name), maxServiceName))
		return
	}
	for _, why := range validation.IsDNS1123Subdomain(name) {
		c.fail(field.Invalid(path, brief(name), why))
	}
}
