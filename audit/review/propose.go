package review

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/saguard/saguard/audit"
)

// Write is a logged request as far as the log tells of it, to be judged under guards that are only proposed.
type Write struct {
	Request
	// APIVersion is the version of the object's group.
	APIVersion string
	// Body is the object that the request wrote, whole; nil where the log does not have it. Before is what was there, proven by the log; nil where
	// it is not.
	Body, Before json.RawMessage
	// Touched are the labels that the body of a patch names; nil values are taken off. It is nil where the body is not there or does not say.
	Touched map[string]*string
	// Decided says that saguard decided, and its annotations could be read whole: Checks, Tuples and Labels are what they say.
	Decided bool
	Checks  []audit.Check
	Tuples  []audit.Tuple
	Labels  map[string]audit.Change
}

// Verdict is what proposed guards make of a request. The zero Verdict says that it could not be judged.
type Verdict uint8

// The verdicts.
const (
	NotJudged Verdict = iota
	WouldAllow
	WouldDeny
)

// Proposed is the judgement of one request. Why says what is refused, or why it could not be judged.
type Proposed struct {
	Verdict Verdict
	Why     []string
}

// reasons of requests that are not handed to the judge.
const (
	whyFailed    = "saguard could not decide then"
	whyTruncated = "the annotations do not say everything"
)

// propose judges a request under the proposed guards, once, as the log is read.
func (b *Builder) propose(r *Request, d *decided, e *auditv1.Event) {
	if b.options.Propose == nil || !isWrite(r.Verb) && r.Object.Subresource == "" || !b.options.Filter.picks(r) && (d == nil || !b.options.Filter.picks(&d.Request)) {
		return
	}
	if d == nil && !r.Succeeded() {
		return // somebody else refused it
	}
	w := Write{Request: *r, APIVersion: e.ObjectRef.APIVersion}
	before := WouldAllow
	if d != nil {
		w.Request = d.Request
		switch {
		case d.Decision == audit.Denied:
			before = WouldDeny
		case d.Decision != audit.Allowed:
			b.notJudged(whyFailed)
			return
		}
		if len(d.unreadable) == 0 && d.truncated == 0 {
			w.Decided, w.Checks, w.Tuples, w.Labels = true, d.checks, d.tuples, d.diff
		}
	}
	b.bodies(&w, e)
	p := b.options.Propose(&w)
	if p.Verdict == NotJudged {
		why := whyTruncated
		if len(p.Why) > 0 {
			why = p.Why[0]
		}
		b.notJudged(why)
		return
	}
	row := Replayed{Request: w.Request, Reasons: p.Why, Enforced: true}
	switch p.Verdict {
	case before:
		b.proposed.Unchanged++
	case WouldDeny:
		b.row("newlyDenied", len(b.proposed.NewlyDenied), func() { b.proposed.NewlyDenied = append(b.proposed.NewlyDenied, row) })
	default:
		b.row("newlyAllowed", len(b.proposed.NewlyAllowed), func() { b.proposed.NewlyAllowed = append(b.proposed.NewlyAllowed, row) })
	}
}

func (b *Builder) notJudged(why string) {
	b.proposed.Unknown++
	if b.proposed.NotJudged == nil {
		b.proposed.NotJudged = map[string]int{}
	}
	b.proposed.NotJudged[why]++
}

// Proposed is what the proposed guards make of the log.
func (b *Builder) Proposed() Replay {
	out := b.proposed
	if out.NotJudged == nil {
		out.NotJudged = map[string]int{}
	}
	byTime(out.NewlyDenied, func(r *Replayed) *Request { return &r.Request })
	byTime(out.NewlyAllowed, func(r *Replayed) *Request { return &r.Request })
	return out
}

// maxHeld bounds the bodies that are remembered; what is forgotten is not known, never wrong.
const maxHeld = 32 << 20

type held struct {
	version string
	raw     json.RawMessage
}

// bodies finds the object before and after a request. What was there before is proven only where the write names the resourceVersion that the
// log had last, or where the object was deleted and the answer shows it.
func (b *Builder) bodies(w *Write, e *auditv1.Event) {
	o := &w.Object
	key := o.Group + "/" + o.Resource + "/" + o.Namespace + "/" + o.Name
	asked, answered := wholeObject(e.RequestObject), wholeObject(e.ResponseObject)
	switch w.Verb {
	case "create":
		if w.Body = asked; w.Body == nil {
			w.Body = answered
		}
	case "update":
		w.Body = asked
	case "patch":
		w.Body = answered
		if labels, ok := touchedLabels(w.Verb, e); ok && e.RequestObject != nil {
			w.Touched = labels
			if w.Touched == nil {
				w.Touched = map[string]*string{}
			}
		}
	case "delete":
		w.Before = answered
	}
	if o.Subresource != "" {
		return
	}
	if last, ok := b.held[key]; ok && w.Before == nil && last.version != "" && last.version == namedVersion(e) {
		w.Before = last.raw
	}
	if w.Succeeded() {
		b.hold(key, answered)
	}
}

// hold remembers the object as it is after a write; nil forgets it.
func (b *Builder) hold(key string, raw json.RawMessage) {
	if old, ok := b.held[key]; ok {
		b.heldBytes -= len(old.raw)
		delete(b.held, key)
	}
	var meta accountBody
	if raw == nil || json.Unmarshal(raw, &meta) != nil || meta.Metadata == nil || meta.Metadata.ResourceVersion == "" {
		return
	}
	if b.heldBytes += len(raw); b.heldBytes > maxHeld {
		clear(b.held)
		b.heldBytes = len(raw)
	}
	if b.held == nil {
		b.held = map[string]held{}
	}
	b.held[key] = held{version: meta.Metadata.ResourceVersion, raw: raw}
}

// wholeObject returns a body that is the object, and not a patch, options or a status.
func wholeObject(body *runtime.Unknown) json.RawMessage {
	var shape struct {
		Kind       string          `json:"kind"`
		APIVersion string          `json:"apiVersion"`
		Metadata   json.RawMessage `json:"metadata"`
	}
	if body == nil || len(body.Raw) == 0 || json.Unmarshal(body.Raw, &shape) != nil || shape.Kind == "" || shape.APIVersion == "" {
		return nil
	}
	if shape.Kind == "Status" || strings.HasSuffix(shape.Kind, "Options") {
		return nil
	}
	return json.RawMessage(body.Raw)
}
