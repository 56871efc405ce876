package reach

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/saguard/saguard/policy"
)

// random makes objects out of a small stock of names, labels, ports and addresses, so that they collide.
type random struct{ *rand.Rand }

type object = map[string]any

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

func (r random) in(n int) bool { return r.IntN(n) == 0 }

// objects are those of one world, keyed so that a later one replaces an earlier one of its name.
type objects map[string]object

func (o objects) put(v object) {
	meta := part(v, "metadata")
	o[fmt.Sprint(v["apiVersion"], v["kind"], meta["namespace"], meta["name"])] = v
}

// part is an object in an object.
func part(v object, name string) object {
	out, ok := v[name].(object)
	if !ok {
		panic("no " + name)
	}
	return out
}

func (o objects) snapshot(t testing.TB, sem policy.Semantics) *policy.Snapshot {
	t.Helper()
	var out []policy.Resource
	for _, v := range o {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := policy.Decode(raw)
		if err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		parsed, _ := policy.Parse(decoded, sem)
		out = append(out, parsed)
	}
	return policy.NewSnapshot(1, sem, out)
}

func (r random) world(size int) objects {
	o := objects{}
	for _, ns := range []string{"a", "b"} {
		o.put(r.namespace(ns))
	}
	for range size {
		o.put(r.object())
	}
	return o
}

func (r random) labels() object {
	out := object{}
	for range r.IntN(3) {
		out[pick(r, "app", "role", "env")] = pick(r, "p", "q")
	}
	return out
}

func named(apiVersion, kind, namespace, name string, labels object) object {
	meta := object{"name": name, "labels": labels}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	return object{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
}

func (r random) namespace(name string) object {
	return named("v1", "Namespace", "", name, r.labels())
}

func (r random) namespaceName() string { return pick(r, "a", "b") }
func (r random) accountName() string   { return pick(r, "web", "api", "default") }

func (r random) object() object {
	switch r.IntN(16) {
	case 0:
		return r.namespace(pick(r, "a", "b", "c"))
	case 1, 2:
		return named("v1", "ServiceAccount", r.namespaceName(), r.accountName(), r.labels())
	case 3, 4, 5, 6, 7:
		return r.pod()
	case 8:
		tier := named("projectcalico.org/v3", "Tier", "", pick(r, "default", "t1"), nil)
		tier["spec"] = object{"order": r.IntN(3), "defaultAction": pick(r, "Pass", "Deny")}
		return tier
	case 9:
		set := named("projectcalico.org/v3", "GlobalNetworkSet", "", pick(r, "s1", "s2"), r.labels())
		set["spec"] = object{"nets": []string{r.net(), r.net()}}
		return set
	case 10, 11:
		return r.kubernetesPolicy()
	case 12, 13, 14:
		return r.calicoPolicy(named("projectcalico.org/v3", "NetworkPolicy", r.namespaceName(), "", nil))
	default:
		return r.calicoPolicy(named("projectcalico.org/v3", "GlobalNetworkPolicy", "", "", nil))
	}
}

func (r random) address() string {
	return pick(r, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.4", "10.0.1.5", "fd00::1", "fd00::2")
}

func (r random) net() string {
	return pick(r, "10.0.0.0/24", "10.0.0.0/16", "10.0.0.2/32", "0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "fd00::/64", "::/0")
}

func (r random) pod() object {
	p := named("v1", "Pod", r.namespaceName(), fmt.Sprintf("pod-%d", r.IntN(5)), r.labels())
	var ips []object
	for range 1 + r.IntN(2) {
		ips = append(ips, object{"ip": r.address()})
	}
	p["spec"] = object{
		"nodeName": pick(r, "n1", "n2"), "serviceAccountName": r.accountName(),
		"containers": []object{{"name": "c", "ports": []object{{"name": pick(r, "http", "dns"), "containerPort": pick(r, 80, 53), "protocol": pick(r, "TCP", "UDP")}}}},
	}
	if r.in(16) { // a mirror pod has no account
		part(p, "metadata")["annotations"] = object{"kubernetes.io/config.mirror": "x"}
		delete(part(p, "spec"), "serviceAccountName")
	}
	p["status"] = object{"phase": "Running", "podIPs": ips}
	return p
}

func (r random) selector() string {
	key := pick(r, "app", "role", "pcsa.role", "pcns.env", "projectcalico.org/serviceaccount", "projectcalico.org/namespace")
	switch r.IntN(6) {
	case 0:
		return "has(" + key + ")"
	case 1:
		return key + " != 'p'"
	case 2:
		return "all()"
	}
	return key + " == '" + pick(r, "p", "q", "web", "a") + "'"
}

func (r random) calicoPolicy(p object) object {
	part(p, "metadata")["name"] = pick(r, "p1", "p2", "p3")
	spec := object{"tier": pick(r, "default", "default", "t1"), "order": r.IntN(3), "selector": r.selector(), "types": pick(r, []string{"Ingress"}, []string{"Egress"}, []string{"Ingress", "Egress"})}
	for _, d := range []string{"ingress", "egress"} {
		var rules []object
		for range r.IntN(4) {
			rules = append(rules, r.rule())
		}
		spec[d] = rules
	}
	p["spec"] = spec
	return p
}

func (r random) rule() object {
	out := object{"action": pick(r, "Allow", "Allow", "Deny", "Pass", "Log")}
	ports := false
	switch r.IntN(8) {
	case 0, 1, 2:
		out["protocol"], ports = pick(r, "TCP", "TCP", "UDP"), true
	case 3:
		out["protocol"] = "ICMP"
		icmp := object{"type": r.IntN(3)}
		if r.in(2) {
			icmp["code"] = r.IntN(2)
		}
		out[pick(r, "icmp", "notICMP")] = icmp
	case 4:
		out["notProtocol"] = pick(r, "TCP", "UDP")
	case 5:
		out["protocol"] = 47
	}
	out["source"], out["destination"] = r.entity(ports, 6), r.entity(ports, 2)
	return out
}

func (r random) entity(ports bool, portsOneIn int) object {
	out := object{}
	if r.in(3) {
		out["selector"] = r.selector()
	}
	if r.in(6) {
		out["notSelector"] = r.selector()
	}
	if r.in(4) {
		out["serviceAccounts"] = object{"names": []string{r.accountName()}}
	}
	if r.in(5) {
		out["nets"] = []string{r.net()}
	}
	if r.in(8) {
		out["notNets"] = []string{r.net()}
	}
	if ports && r.in(portsOneIn) {
		out["ports"] = []any{pick[any](r, 80, "http", "50:60", 53), pick[any](r, 443, "dns", "400:500")}
	}
	if ports && r.in(8) {
		out["notPorts"] = []any{pick[any](r, 80, "http", "55:90")}
	}
	return out
}

func (r random) kubernetesPolicy() object {
	selector := func() object {
		if r.in(3) {
			return object{}
		}
		return object{"matchLabels": object{pick(r, "app", "role"): pick(r, "p", "q")}}
	}
	peers := []object{{"podSelector": selector()}, {"ipBlock": object{"cidr": "10.0.0.0/16", "except": []string{"10.0.1.0/24"}}}, {"namespaceSelector": selector()}}
	p := named("networking.k8s.io/v1", "NetworkPolicy", r.namespaceName(), pick(r, "k1", "k2"), nil)
	rule := object{"from": peers[r.IntN(3):], "ports": []object{{"port": pick[any](r, 80, "http")}}}
	p["spec"] = object{"podSelector": selector(), "policyTypes": []string{"Ingress"}, "ingress": []object{rule}}
	return p
}
