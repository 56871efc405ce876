package appliertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	corev1 "k8s.io/api/core/v1"

	"github.com/saguard/saguard/enforce"
	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/ruleset"
	"github.com/saguard/saguard/policy"
	"github.com/saguard/saguard/policy/compile"
	"github.com/saguard/saguard/policy/eval"
)

// world is what the cluster holds, compiled for each node.
type world struct {
	t         testing.TB
	rig       *rig
	revision  uint64
	resources map[policy.Ref]policy.Resource
	podCIDRs  []netip.Prefix            // of all pods
	own       map[string][]netip.Prefix // of each node's own
	sides     []*side
}

// side is one node's agent, as far as it matters here.
type side struct {
	node     *node
	compiler *compile.Compiler
	rules    *ruleset.Ruleset
	applier  enforce.Applier
}

// newWorld opens an Applier on every node and syncs an empty ruleset.
func newWorld(t testing.TB, r *rig) *world {
	t.Helper()
	w := emptyWorld(t, r)
	for _, s := range w.sides {
		s.open(t)
		t.Cleanup(func() { s.close(t) })
	}
	w.sync()
	return w
}

// emptyWorld has no Appliers yet.
func emptyWorld(t testing.TB, r *rig) *world {
	w := &world{t: t, rig: r, resources: map[policy.Ref]policy.Resource{}}
	for _, n := range r.nodes {
		w.sides = append(w.sides, &side{node: n, compiler: compile.New(n.Name, policy.Strict), rules: ruleset.New()})
	}
	return w
}

func (s *side) open(t testing.TB) {
	t.Helper()
	var err error
	s.node.worker.run(func() { s.applier, err = s.node.rig.backend.Open(s.node.Node) })
	if err != nil {
		t.Fatalf("open Applier on %s: %v", s.node.Name, err)
	}
	if got := s.applier.Name(); got != s.node.rig.backend.Name {
		t.Errorf("Applier calls itself %q, want %q", got, s.node.rig.backend.Name)
	}
}

func (s *side) close(t testing.TB) {
	t.Helper()
	if s.applier == nil {
		return
	}
	if err := s.call(func() error { return s.applier.Close() }); err != nil {
		t.Errorf("close Applier on %s: %v", s.node.Name, err)
	}
	s.applier = nil
	if err := s.call(func() error { return s.node.rig.backend.Remove(s.node.Node) }); err != nil {
		t.Errorf("remove from %s: %v", s.node.Name, err)
	}
}

// restart replaces the Applier and the compiler, as a new process does: all IDs are made anew.
func (w *world) restart(s *side) {
	w.t.Helper()
	if err := s.call(func() error { return s.applier.Close() }); err != nil {
		w.t.Fatalf("close Applier on %s: %v", s.node.Name, err)
	}
	s.open(w.t)
	s.compiler, s.rules = compile.New(s.node.Name, policy.Strict), ruleset.New()
	s.compiler.SetPodCIDRs(w.podCIDRs, w.own[s.node.Name]...)
	for _, ref := range slices.SortedFunc(maps.Keys(w.resources), func(a, b policy.Ref) int { return b.Compare(a) }) {
		s.compiler.Set(w.resources[ref])
	}
	s.rules.Apply(s.compiler.Flush(w.revision))
	w.syncSide(s)
}

func (s *side) call(f func() error) error {
	var err error
	s.node.worker.run(func() { err = f() })
	return err
}

// set notes objects, of which pods get a place on their node.
func (w *world) set(objects ...policy.Object) {
	w.t.Helper()
	for _, o := range objects {
		ref := refOf(o.Value)
		resource, _ := policy.Parse(o, policy.Strict)
		if resource == nil {
			w.remove(ref)
			continue
		}
		w.setResource(resource)
	}
}

func (w *world) setResource(resource policy.Resource) {
	w.resources[resource.Ref()] = resource
	for _, s := range w.sides {
		s.compiler.Set(resource)
	}
}

// remove notes that objects are gone.
func (w *world) remove(refs ...policy.Ref) {
	for _, ref := range refs {
		delete(w.resources, ref)
		for _, s := range w.sides {
			s.compiler.Delete(ref)
		}
	}
}

// clear notes that everything is gone.
func (w *world) clear() {
	w.remove(slices.Collect(maps.Keys(w.resources))...)
}

func (w *world) setPodCIDRs(prefixes ...netip.Prefix) {
	w.podCIDRs = prefixes
	for _, s := range w.sides {
		s.compiler.SetPodCIDRs(prefixes, w.own[s.node.Name]...)
	}
}

// flush compiles what was noted.
func (w *world) flush() map[*side]*ruleset.Delta {
	w.revision++
	out := map[*side]*ruleset.Delta{}
	for _, s := range w.sides {
		d := s.compiler.Flush(w.revision)
		s.rules.Apply(d)
		out[s] = d
	}
	return out
}

// apply brings all nodes from what they have to what was noted.
func (w *world) apply() {
	w.t.Helper()
	deltas := w.flush()
	err := w.each(func(s *side) error { return s.applier.Apply(w.t.Context(), []*ruleset.Delta{deltas[s]}) })
	if err != nil {
		w.t.Fatalf("apply revision %d: %v", w.revision, err)
	}
}

// sync writes everything anew.
func (w *world) sync() {
	w.t.Helper()
	w.flush()
	if err := w.each(func(s *side) error { return s.applier.Sync(w.t.Context(), s.rules) }); err != nil {
		w.t.Fatalf("sync revision %d: %v", w.revision, err)
	}
}

// each runs f for every node at the same time, on the node's worker.
func (w *world) each(f func(*side) error) error {
	failed := make([]error, len(w.sides))
	var group sync.WaitGroup
	for i, s := range w.sides {
		group.Go(func() {
			if err := s.call(func() error { return f(s) }); err != nil {
				failed[i] = fmt.Errorf("%s: %w", s.node.Name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

func (w *world) syncSide(s *side) {
	w.t.Helper()
	if err := s.call(func() error { return s.applier.Sync(w.t.Context(), s.rules) }); err != nil {
		w.t.Fatalf("sync revision %d on %s: %v", w.revision, s.node.Name, err)
	}
}

func (w *world) verify(s *side) error {
	return s.call(func() error { return s.applier.Verify(w.t.Context()) })
}

func (w *world) side(node string) *side {
	for _, s := range w.sides {
		if s.node.Name == node {
			return s
		}
	}
	w.t.Helper()
	w.t.Fatalf("no node %q", node)
	return nil
}

func (w *world) snapshot() *policy.Snapshot {
	return policy.NewSnapshot(w.revision, policy.Strict, slices.Collect(maps.Values(w.resources)))
}

// allowed asks policy/eval about the first packet of a connection: at each end, all pods with that address that are on one of
// the world's nodes have to allow it.
func (w *world) allowed(s *policy.Snapshot, f ruleset.Flow) bool {
	for _, d := range []policy.Direction{policy.Egress, policy.Ingress} {
		own := f.Source
		if d == policy.Ingress {
			own = f.Destination
		}
		for _, at := range s.At(own) {
			if w.has(at.Node) && eval.Judge(s, evalFlow(f, d, at), d, nil).Verdict != decision.Allow {
				return false
			}
		}
	}
	return true
}

func (w *world) has(node string) bool {
	return slices.ContainsFunc(w.sides, func(s *side) bool { return s.node.Name == node })
}

// ported reports whether conntrack and policy know ports of the protocol.
func ported(protocol uint8) bool {
	switch protocol {
	case policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolSCTP, policy.ProtocolUDPLite:
		return true
	}
	return false
}

func evalFlow(f ruleset.Flow, d policy.Direction, w *policy.Workload) eval.Flow {
	out := eval.Flow{Protocol: f.Protocol}
	out.Source = eval.End{Addr: f.Source, Port: decision.Absent[uint16]()}
	out.Destination = eval.End{Addr: f.Destination, Port: decision.Absent[uint16]()}
	switch {
	case ported(f.Protocol):
		out.Source.Port, out.Destination.Port = decision.Known(f.SourcePort), decision.Known(f.Port)
	case f.Protocol == policy.ProtocolICMP, f.Protocol == policy.ProtocolICMPv6:
		out.ICMP = decision.Known(policy.ICMP{Type: f.ICMPType, Code: f.ICMPCode, HasCode: true})
	}
	if d == policy.Egress {
		out.Source.Workload = w
	} else {
		out.Destination.Workload = w
	}
	return out
}

// lookup asks every node's kernel about a flow and compares with the ruleset. It returns whether the flow passes all nodes.
func (w *world) lookup(f ruleset.Flow) (bool, error) {
	answers := make([]enforce.Answer, len(w.sides))
	err := w.each(func(s *side) (err error) {
		answers[slices.Index(w.sides, s)], err = s.applier.Lookup(w.t.Context(), f)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look up %+v: %w", f, err)
	}
	pass := true
	for i, s := range w.sides {
		got := answers[i]
		egress, ingress := s.rules.Eval(f)
		for _, end := range []struct {
			name string
			got  enforce.KernelDecision
			want ruleset.Decision
		}{{"egress", got.Egress, egress}, {"ingress", got.Ingress, ingress}} {
			switch {
			case end.got.Applies != end.want.Applies:
				return false, fmt.Errorf("%s of %+v on %s: applies %v, want %v", end.name, f, s.node.Name, end.got.Applies, end.want.Applies)
			case !end.got.Applies:
			case end.got.Allow != end.want.Allow || end.got.Rule != end.want.ID:
				return false, fmt.Errorf("%s of %+v on %s: allow %v by %q, want %v by %q", end.name, f, s.node.Name,
					end.got.Allow, s.rules.Rules[end.got.Rule], end.want.Allow, end.want.Rule)
			}
			pass = pass && (!end.got.Applies || end.got.Allow)
		}
		if !egress.Applies && !ingress.Applies {
			continue // then it is of no interest who they are
		}
		for name, end := range map[string][2]ruleset.IdentityID{
			"source":      {got.Source, s.rules.IdentityOf(f.Source)},
			"destination": {got.Destination, s.rules.IdentityOf(f.Destination)},
		} {
			if end[0] != end[1] {
				return false, fmt.Errorf("%s of %+v on %s: identity %d (%s), want %d (%s)", name, f, s.node.Name,
					end[0], s.rules.Identities[end[0]], end[1], s.rules.Identities[end[1]])
			}
		}
	}
	return pass, nil
}

// decode reads YAML documents.
func decode(text string) ([]policy.Object, error) {
	var out []policy.Object
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var raw rawObject
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", len(out)+1, err)
		}
		if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" {
			continue
		}
		o, err := policy.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("decode document %d: %w", len(out)+1, err)
		}
		if len(o.Unknown) > 0 {
			return nil, fmt.Errorf("decode document %d: unknown fields %v", len(out)+1, o.Unknown)
		}
		out = append(out, o)
	}
}

type rawObject []byte

// UnmarshalJSON keeps the text.
func (r *rawObject) UnmarshalJSON(b []byte) error {
	*r = bytes.Clone(b)
	return nil
}

func mustDecode(t testing.TB, text string) []policy.Object {
	t.Helper()
	out, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// place gives every pod of the objects a place on its node, in turn, and its addresses, for which the pod's kernel answers.
func (r *rig) place(objects []policy.Object) {
	turn := map[string]int{}
	for _, o := range objects {
		pod, ok := o.Value.(*corev1.Pod)
		if !ok || pod.Spec.HostNetwork {
			continue
		}
		n := r.node(pod.Spec.NodeName)
		p := n.places[turn[n.Name]%len(n.places)]
		turn[n.Name]++
		for _, ip := range pod.Status.PodIPs {
			a := netip.MustParseAddr(ip.IP)
			r.at(a).release(a)
			p.claim(a, true)
		}
	}
}

func refOf(o metav1.Object) policy.Ref {
	ref := policy.Ref{Namespace: o.GetNamespace(), Name: o.GetName()}
	ref.Kind = kindOf(o)
	return ref
}
