package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/internal/decision"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
	"github.com/saguard/saguard/internal/request"
	"github.com/saguard/saguard/rbac"
	"github.com/saguard/saguard/webhook"
)

// Options are the parts of a Scanner; all are required unless they say otherwise.
type Options struct {
	World webhook.World
	// Index is the RBAC that is asked whether anybody may.
	Index *rbac.Index
	// Authorizer is asked about those who are known.
	Authorizer webhook.Authorizer
	// Owner finds the controlling owner of an object, if the scanner has not seen it yet. It is Absent if there is none of that uid.
	Owner func(ctx context.Context, namespace string, owner Owner) decision.Fact[*unstructured.Unstructured]
	// Excluded namespaces are never guarded, as in webhook.Options.
	Excluded []string
	// Only are the IDs of the checks to report; empty means all.
	Only []string
}

// Owner is a controlling owner as its dependent names it.
type Owner struct {
	APIVersion, Kind, Name string
	// UID is "" in manifests that no cluster has seen.
	UID types.UID
}

// Scanner judges objects one by one. It remembers of each workload its UID and whom its pods run as, and nothing else of any object; it is
// for one scan, and not safe for concurrent use.
type Scanner struct {
	options  Options
	anybody  *webhook.Offline // asks whether a permission is granted to anybody
	known    *webhook.Offline // asks about the subject
	excluded map[string]bool
	// accounts of the pods of workloads that were seen, by uid.
	accounts map[types.UID]string
	guards   map[string]*guard.Set
}

// New returns a scanner.
func New(o Options) (*Scanner, error) {
	if o.World == nil || o.Index == nil || o.Authorizer == nil || o.Owner == nil {
		return nil, errors.New("make scanner: World, Index, Authorizer and Owner are required")
	}
	anybody, err := rbac.NewAuthorizer(rbac.Options{Reviewer: o.Index.Named(rbac.VerbUse, rbac.VerbBind)})
	if err != nil {
		return nil, err
	}
	s := &Scanner{options: o, excluded: map[string]bool{}, accounts: map[types.UID]string{}, guards: map[string]*guard.Set{}}
	for _, ns := range o.Excluded {
		s.excluded[ns] = true
	}
	if s.anybody, err = webhook.NewOffline(o.World, anybody, o.Excluded...); err != nil {
		return nil, err
	}
	if s.known, err = webhook.NewOffline(o.World, o.Authorizer, o.Excluded...); err != nil {
		return nil, err
	}
	set := o.World.Guards()
	for _, name := range set.Names() {
		s.guards[name] = set.Only(name)
	}
	return s, nil
}

// Object judges one object. source is the file it is from, "" for a cluster. Workloads have to come before what they own, or Options.Owner is
// asked for them.
func (s *Scanner) Object(ctx context.Context, resource schema.GroupVersionResource, o *unstructured.Unstructured, source string) Verdict {
	name := Object{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID()), Source: source}
	s.remember(resource, o)
	namespace := name.Namespace
	if resource.GroupResource() == (schema.GroupResource{Resource: "namespaces"}) {
		namespace = name.Name
	}
	if s.excluded[namespace] || len(s.guards) == 0 || hasEnded(resource, o) || isBootstrapBinding(resource, o) {
		return Verdict{}
	}
	subject, owner := s.maker(ctx, resource, o)
	if why := owner.WhyUnknown(); why != "" {
		return s.finish(ctx, Verdict{Unjudged: []Unjudged{{Object: name, Reason: "who made it could not be found out: " + why}}})
	}
	r, err := request.New(resource, subject, request.WithoutServerFields(o), nil)
	if err != nil {
		return s.finish(ctx, Verdict{Unjudged: []Unjudged{{Object: name, Reason: err.Error()}}})
	}
	judge := s.anybody
	if subject.User != "" {
		judge = s.known
	}
	d := judge.Review(ctx, r)
	v := s.verdict(&name, &d)
	if resource.GroupResource() == (schema.GroupResource{Resource: "serviceaccounts"}) && d.Reason != webhook.ReasonMalformed {
		v = s.authors(ctx, &name, r, o, v)
	}
	return s.finish(ctx, v)
}

// verdict turns what the checks found into violations of nobody in particular.
func (s *Scanner) verdict(name *Object, d *webhook.Decision) Verdict {
	var out Verdict
	violations := d.Violations()
	for i := range violations {
		f := &violations[i]
		v := Violation{Check: f.Check, Object: *name, Field: f.Field, Mode: f.Mode, CanI: f.CanI}
		for _, q := range f.Missing {
			if hint := grantHint(q); hint != "" {
				v.Grant = append(v.Grant, hint)
			}
		}
		switch {
		case f.Unanswered:
			out.Unjudged = append(out.Unjudged, Unjudged{Check: f.Check, Object: *name, Field: f.Field, Reason: "RBAC could not be asked"})
		case f.Unasked:
			out.Unjudged = append(out.Unjudged, Unjudged{Check: f.Check, Object: *name, Reason: "it takes further permissions, which were not asked for after so many that nobody is granted"})
		case f.Check == webhook.CheckGuardChange && f.Rule == "":
			// A warning for whoever writes a guard or a band about their own permissions.
		case len(f.Missing) == 0:
			v.Certainty, v.Reason = Certain, "nobody may "+f.Attempt
			if f.Rule != "" {
				v.Reason += ": " + f.Rule
			}
			out.Violations = append(out.Violations, v)
		default:
			v.Certainty = NobodyMay
			v.Reason = fmt.Sprintf("nobody is granted what it takes to %s: %s", f.Attempt, f.Unmet)
			out.Violations = append(out.Violations, v)
		}
	}
	switch {
	case d.Reason == webhook.ReasonMalformed:
		out.Violations = append(out.Violations, Violation{Check: CheckUnreadable, Object: *name, Certainty: Certain, Reason: d.Message})
	case d.Denied() && len(violations) == 0:
		out.Unjudged = append(out.Unjudged, Unjudged{Object: *name, Reason: reasonOf(d)})
	}
	return out
}

func reasonOf(d *webhook.Decision) string {
	if d.Reason == webhook.ReasonNamespaceUnknown {
		return "its namespace is not known, and guards choose by the labels of namespaces"
	}
	if d.Err != nil {
		return d.Reason + ": " + d.Err.Error()
	}
	return d.Reason
}

// authors puts right what is said of the labels of a service account: where it is known who put a label, they count and not anybody.
func (s *Scanner) authors(ctx context.Context, name *Object, r *webhook.Request, o *unstructured.Unstructured, v Verdict) Verdict {
	guards, ok := s.effective(ctx, name.Namespace)
	if !ok {
		return v
	}
	var claims map[string]string
	if text := o.GetAnnotations()[webhook.AnnotationLabelledBy]; text != "" && json.Unmarshal([]byte(text), &claims) != nil {
		claims = nil // one that does not parse claims nothing
	}
	judged := map[string][]webhook.Violation{}
	labels := o.GetLabels()
	for _, key := range sortedKeys(labels) {
		if guards.LabelMode(key) == "" || guards.LabelMode(key) == modeOff {
			continue
		}
		field := "metadata.labels[" + key + "]"
		at := slices.IndexFunc(v.Violations, func(x Violation) bool { return x.Check == webhook.CheckLabelUse && x.Field == field })
		author := claims[key]
		if author == "" {
			if at < 0 {
				v.Unjudged = append(v.Unjudged, Unjudged{Check: webhook.CheckLabelUse, Object: *name, Field: field,
					Reason: "nobody knows who put label " + key + "=" + labels[key] + ": it was there before the guard, or was put while the webhook was down; whoever may use it can take it off and put it on again"})
			}
			continue
		}
		if _, done := judged[author]; !done {
			asked := *r
			asked.Subject = request.Subject(author, nil)
			d := s.known.Review(ctx, &asked)
			judged[author] = d.Violations()
		}
		found := slices.IndexFunc(judged[author], func(x webhook.Violation) bool { return x.Check == webhook.CheckLabelUse && x.Field == field })
		if found < 0 {
			if at >= 0 {
				v.Violations = slices.Delete(v.Violations, at, at+1) // they may
			}
			continue
		}
		f := &judged[author][found]
		switch {
		case f.Unanswered:
			v = s.replace(v, at, nil, &Unjudged{Check: f.Check, Object: *name, Field: field, Reason: "RBAC could not be asked about who put it there"})
		case s.mayBeInGroup(author, f.Missing, guards):
			if at < 0 {
				v.Unjudged = append(v.Unjudged, Unjudged{Check: f.Check, Object: *name, Field: field,
					Reason: fmt.Sprintf("%q put label %s=%s there; that is allowed to some group, and of which groups they are is not known", author, key, labels[key])})
			}
		default:
			row := Violation{Check: f.Check, Object: *name, Field: field, Mode: f.Mode, CanI: f.CanI, Certainty: AuthorMayNot,
				Reason: fmt.Sprintf("%q put label %s=%s there, and may no longer%s: that takes %s", author, key, labels[key], unlessMaster(author), f.Unmet)}
			for _, q := range f.Missing {
				if hint := grantHint(q); hint != "" {
					row.Grant = append(row.Grant, hint)
				}
			}
			v = s.replace(v, at, &row, nil)
		}
	}
	return v
}

// unlessMaster is what a claim does not tell of a user: whether they are in the one group that needs no permission.
func unlessMaster(author string) string {
	if _, err := identity.ParseUsername(author); err == nil {
		return ""
	}
	return " (unless as a member of " + identity.SystemMasters + ")"
}

func (s *Scanner) replace(v Verdict, at int, by *Violation, unjudged *Unjudged) Verdict {
	if at >= 0 {
		v.Violations = slices.Delete(v.Violations, at, at+1)
	}
	if by != nil {
		v.Violations = append(v.Violations, *by)
	}
	if unjudged != nil {
		v.Unjudged = append(v.Unjudged, *unjudged)
	}
	return v
}

// mayBeInGroup reports that a group, in which the author may be, is granted all that is missing, or exempt. Of service accounts all groups are
// known. system:masters does not count: its members may do anything anyway.
func (s *Scanner) mayBeInGroup(author string, missing []rbac.Question, guards guard.Effective) bool {
	if _, err := identity.ParseUsername(author); err == nil {
		return false
	}
	known := request.Subject(author, nil).Groups
	if guards.ExemptsGroups() {
		return true
	}
	for _, q := range missing {
		if !s.options.Index.MayBeGrantedToGroups(q, known) {
			return false
		}
	}
	return true
}

// effective is what holds for nobody in particular in a namespace; false where that is not known.
func (s *Scanner) effective(ctx context.Context, namespace string) (guard.Effective, bool) {
	set := s.options.World.Guards()
	if namespace == "" {
		return set.ForCluster(identity.Subject{}), true
	}
	if !set.NeedsNamespaceLabels() {
		return set.ForNamespace(namespace, nil, identity.Subject{}), true
	}
	ns, ok := s.options.World.Namespace(ctx, namespace, false).Get()
	if !ok {
		return guard.Effective{}, false
	}
	return set.ForNamespace(namespace, ns.Labels, identity.Subject{}), true
}

// finish leaves out what is not asked for, and says whose guards are concerned.
func (s *Scanner) finish(ctx context.Context, v Verdict) Verdict {
	v.Violations = slices.DeleteFunc(v.Violations, func(x Violation) bool { return !s.wants(x.Check) })
	v.Unjudged = slices.DeleteFunc(v.Unjudged, func(x Unjudged) bool { return x.Check != "" && !s.wants(x.Check) })
	for i := range v.Violations {
		x := &v.Violations[i]
		x.Guards = s.concerned(ctx, x.Object.Namespace, x.Check, x.Field)
	}
	for i := range v.Unjudged {
		x := &v.Unjudged[i]
		x.Guards = s.concerned(ctx, x.Object.Namespace, x.Check, x.Field)
	}
	return v
}

func (s *Scanner) wants(check string) bool {
	return len(s.options.Only) == 0 || slices.Contains(s.options.Only, check)
}

// concerned returns the guards by which a check looks at an object of the namespace; all of them where that is not known.
func (s *Scanner) concerned(ctx context.Context, namespace, check, field string) []string {
	var out []string
	for _, name := range sortedKeys(s.guards) {
		set := s.guards[name]
		effective := set.ForCluster(identity.Subject{})
		if namespace != "" {
			var labels map[string]string
			if set.NeedsNamespaceLabels() {
				ns, ok := s.options.World.Namespace(ctx, namespace, false).Get()
				if !ok {
					out = append(out, name)
					continue
				}
				labels = ns.Labels
			}
			effective = set.ForNamespace(namespace, labels, identity.Subject{})
		}
		if len(effective.Guards()) > 0 && looksAt(effective, check, field) {
			out = append(out, name)
		}
	}
	return out
}

// looksAt reports whether a check is on. One that no guard turns off is.
func looksAt(e guard.Effective, check, field string) bool {
	switch check {
	case webhook.CheckLabelUse:
		key := strings.TrimSuffix(strings.TrimPrefix(field, "metadata.labels["), "]")
		return e.LabelMode(key) != modeOff
	case webhook.CheckAccountUse:
		return e.Workloads() != modeOff
	case webhook.CheckAccountToken:
		return e.Tokens() != modeOff
	case webhook.CheckPolicyReference:
		return e.References() != modeOff
	case webhook.CheckPolicyPrecedence:
		return e.Precedence() != modeOff
	case webhook.CheckPolicyHygiene, webhook.CheckReservedLabel:
		return e.Hygiene() != modeOff
	case webhook.CheckDefaultBinding:
		return e.DefaultBindings() != modeOff
	default:
		return true
	}
}
