//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/saguard/saguard/internal/state"
	"github.com/saguard/saguard/policy"
)

// localNode is the node that is measured.
const localNode = "node-local"

// The shape of the world of events: 50 namespaces with 10 accounts each, a quarter of the policies global, every policy with
// one or two rules that name accounts by selectors or names; 110 pods on the node.
const (
	namespaces  = 50
	accountsPer = 10
	localPods   = 110
	// crowd is the account that many pods wear.
	crowd     = "crowd"
	crowdPods = 1000
)

// object is one API object as an API server sends it.
type object struct{ apiVersion, kind, text string }

const calico = "projectcalico.org/v3"

// parse is what a watch does with the bytes of an object.
func (o object) parse() (state.Parsed, error) {
	decoded, err := policy.DecodeAs(o.apiVersion, o.kind, []byte(o.text))
	if err != nil {
		return state.Parsed{}, err
	}
	if len(decoded.Unknown) > 0 {
		return state.Parsed{}, fmt.Errorf("decode %s: unknown fields %v", o.kind, decoded.Unknown)
	}
	out := state.Parsed{Namespace: decoded.Value.GetNamespace(), Name: decoded.Value.GetName()}
	out.Resource, out.Problems = policy.Parse(decoded, policy.Strict)
	if len(out.Problems) > 0 {
		return state.Parsed{}, fmt.Errorf("parse %s %s: %v", o.kind, out.Name, out.Problems)
	}
	return out, nil
}

func defaultTier() object {
	return object{calico, policy.KindTier, `{"metadata":{"name":"default"},"spec":{"order":1000000,"defaultAction":"Deny"}}`}
}

func namespace(n int) object {
	return object{"v1", policy.KindNamespace, fmt.Sprintf(`{"metadata":{"name":"ns-%d","labels":{"env":"env-%d","kubernetes.io/metadata.name":"ns-%d"}}}`, n, n%5, n)}
}

// account is sa-ACCOUNT of a namespace, with the labels of any account whose numbers are role and team.
func account(namespace int, name string, role, team int) object {
	return object{"v1", policy.KindServiceAccount, fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns-%d","labels":{"role":"role-%d","team":"team-%d"}}}`, name, namespace, role, team)}
}

func pod(name, namespace, account, node string, ip netip.Addr, labels string) object {
	return object{"v1", policy.KindPod, fmt.Sprintf(`{"metadata":{"name":%q,"namespace":%q,"labels":{%s}},"spec":{"serviceAccountName":%q,"nodeName":%q,"containers":[{"name":"c","ports":[{"name":"http","containerPort":8080}]}]},"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}]}}`,
		name, namespace, labels, account, node, ip, ip)}
}

// address returns the n-th address from base on.
func address(base string, n int) netip.Addr {
	a := netip.MustParseAddr(base).As4()
	v := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3]) + uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// eventWorld is the world of events; its objects are made when they are asked for.
type eventWorld struct{ pods, policies int }

func accountName(n int) string { return fmt.Sprintf("sa-%d", n) }

func (w eventWorld) account(namespace, n int) object {
	i := namespace*accountsPer + n
	return account(namespace, accountName(n), i%50, i%10)
}

// crowdAccount is in the first namespace.
func crowdAccount(role int) object { return account(0, crowd, role, 3) }

// pod of number n: the first are the node's own; the last, up to w.pods, are the crowd.
func (w eventWorld) pod(n int) object {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	node := localNode
	if n >= localPods {
		node = fmt.Sprintf("node-%d", n/localPods)
	}
	labels := fmt.Sprintf(`"app":"app-%d","tier":"t%d"`, n%100, n%5)
	ip := address("10.0.0.1", n)
	if n >= localPods && n >= w.pods-crowdPods {
		return pod(fmt.Sprintf("pod-%d", n), "ns-0", crowd, node, ip, `"app":"crowd"`)
	}
	return pod(fmt.Sprintf("pod-%d", n), fmt.Sprintf("ns-%d", r.IntN(namespaces)), accountName(r.IntN(accountsPer)), node, ip, labels)
}

// policy of number n, with the rules that seed gives.
func (w eventWorld) policy(n, seed int) object {
	r := rand.New(rand.NewPCG(uint64(seed), 2))
	rules := make([]string, 1+r.IntN(2))
	for i := range rules {
		var source string
		switch r.IntN(4) {
		case 0:
			source = fmt.Sprintf(`"serviceAccounts":{"names":["sa-%d","sa-%d"]}`, r.IntN(accountsPer), r.IntN(accountsPer))
		case 1:
			source = fmt.Sprintf(`"serviceAccounts":{"selector":"role in {'role-%d', 'role-%d'}"}`, r.IntN(50), r.IntN(50))
		case 2:
			source = fmt.Sprintf(`"namespaceSelector":"env == 'env-%d'","serviceAccounts":{"selector":"team == 'team-%d'"}`, r.IntN(5), r.IntN(10))
		default:
			source = fmt.Sprintf(`"serviceAccounts":{"selector":"team == 'team-%d' && role != 'role-%d'"}`, r.IntN(10), r.IntN(50))
		}
		rules[i] = fmt.Sprintf(`{"action":"Allow","protocol":"TCP","source":{%s},"destination":{"ports":[%d]}}`, source, 8080+r.IntN(4))
	}
	subject := fmt.Sprintf("team == 'team-%d'", n/namespaces%accountsPer)
	if n%4 == 3 {
		subject = fmt.Sprintf("role == 'role-%d'", n/4%50)
	}
	spec := fmt.Sprintf(`{"order":%d,"serviceAccountSelector":%q,"types":["Ingress"],"ingress":[%s]`, 100+n, subject, strings.Join(rules, ","))
	if n%4 == 3 {
		return object{calico, policy.KindGlobalNetworkPolicy, fmt.Sprintf(`{"metadata":{"name":"p-%d"},"spec":%s,"namespaceSelector":"env == 'env-%d'"}}`, n, spec, n/200%5)}
	}
	return object{calico, policy.KindNetworkPolicy, fmt.Sprintf(`{"metadata":{"name":"p-%d","namespace":"ns-%d"},"spec":%s}}`, n, n%namespaces, spec)}
}

// each calls f with every object.
func (w eventWorld) each(f func(object) error) error {
	if err := f(defaultTier()); err != nil {
		return err
	}
	for ns := range namespaces {
		if err := f(namespace(ns)); err != nil {
			return err
		}
		for n := range accountsPer {
			if err := f(w.account(ns, n)); err != nil {
				return err
			}
		}
	}
	if err := f(crowdAccount(0)); err != nil {
		return err
	}
	for n := range w.pods {
		if err := f(w.pod(n)); err != nil {
			return err
		}
	}
	for n := range w.policies {
		if err := f(w.policy(n, n)); err != nil {
			return err
		}
	}
	return nil
}

// write writes every object to a file, one a line.
func (w eventWorld) write(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write world: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	if err := w.each(func(o object) error {
		_, err := fmt.Fprintf(out, "{\"apiVersion\":%q,\"kind\":%q,%s\n", o.apiVersion, o.kind, strings.TrimPrefix(o.text, "{"))
		return err
	}); err != nil {
		return fmt.Errorf("write world: %w", err)
	}
	return out.Flush()
}

// parsed returns every object as the watches have it, by kind.
func (w eventWorld) parsed() (map[string][]state.Parsed, error) {
	out := map[string][]state.Parsed{}
	err := w.each(func(o object) error {
		p, err := o.parse()
		out[o.kind] = append(out[o.kind], p)
		return err
	})
	return out, err
}

// cluster is the memory that the watches keep.
type cluster struct {
	*state.Policies
	origins map[string]*state.Origin
}

func newCluster() *cluster {
	c := &cluster{Policies: state.NewPolicies(policy.Strict, time.Now), origins: map[string]*state.Origin{}}
	for _, kind := range []string{
		policy.KindPod, policy.KindNamespace, policy.KindServiceAccount, policy.KindKubernetesNetworkPolicy,
		policy.KindNetworkPolicy, policy.KindGlobalNetworkPolicy, policy.KindTier, policy.KindNetworkSet, policy.KindGlobalNetworkSet,
	} {
		c.origins[kind] = c.Origin(kind, strings.ToLower(kind), false)
	}
	return c
}

// fill tells everything there is.
func (c *cluster) fill(all map[string][]state.Parsed) {
	c.SetPodCIDRs([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	for kind, origin := range c.origins {
		origin.Replace(all[kind])
	}
}

// set tells of one object, from its bytes on.
func (c *cluster) set(o object) error {
	p, err := o.parse()
	if err != nil {
		return err
	}
	c.origins[o.kind].Set(p)
	return nil
}
