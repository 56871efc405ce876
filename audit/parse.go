package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// webhookSuffix is how the names of the chart's validating webhooks end; the API server puts the name before each annotation.
// Annotations of other webhooks, whatever they are called after the slash, are not saguard's.
const webhookSuffix = ".validate.saguard.io"

// Decided reports whether audit annotations hold a decision of saguard's, of this schema or another.
func Decided(annotations map[string]string) bool {
	for key := range annotations {
		if webhook, name, ok := strings.Cut(key, "/"); ok && name == AnnotationDecision && strings.HasSuffix(webhook, webhookSuffix) {
			return true
		}
	}
	return false
}

// Annotated is a decision as the audit annotations of one request tell it: [Record.Annotations] read back. What it lacks
// (time, user, object) is in the event around it.
type Annotated struct {
	// Webhook is the name of the webhook that decided.
	Webhook string
	Record
	// Truncated is the number of items that did not fit.
	Truncated int
	// Tuples are the permissions asked, refusals first; annotations do not say which check asked which.
	Tuples []Tuple
	// Unreadable names the annotations that could not be read, sorted; what is there of them is not used.
	Unreadable []string
}

// ParseAnnotations returns the decisions in an event's annotations, by the name of the webhook. One of another schema has its
// Schema and nothing else.
func ParseAnnotations(annotations map[string]string) []Annotated {
	byWebhook := map[string]map[string]string{}
	for key, value := range annotations {
		webhook, name, ok := strings.Cut(key, "/")
		if !ok || !strings.HasSuffix(webhook, webhookSuffix) {
			continue
		}
		if byWebhook[webhook] == nil {
			byWebhook[webhook] = map[string]string{}
		}
		byWebhook[webhook][name] = value
	}
	var out []Annotated
	for _, webhook := range slices.Sorted(maps.Keys(byWebhook)) {
		if _, decided := byWebhook[webhook][AnnotationDecision]; decided {
			out = append(out, parseAnnotations(webhook, byWebhook[webhook]))
		}
	}
	return out
}

func parseAnnotations(webhook string, in map[string]string) Annotated {
	a := Annotated{Webhook: webhook, Record: Record{Schema: in[AnnotationSchema]}}
	if a.Schema != Schema {
		return a
	}
	a.Decision, a.Reason, a.Mode = Outcome(in[AnnotationDecision]), in[AnnotationReason], in[AnnotationMode]
	get := func(key string, into any) {
		if text, ok := in[key]; ok && json.Unmarshal([]byte(text), into) != nil {
			a.Unreadable = append(a.Unreadable, key)
		}
	}
	var diff []labelChange
	get(AnnotationChecks, &a.Checks)
	get(AnnotationExempt, &a.ExemptFrom)
	get(AnnotationLabels, &diff)
	get(AnnotationTuples, &a.Tuples)
	for _, d := range diff {
		if a.LabelDiff == nil {
			a.LabelDiff = map[string]Change{}
		}
		a.LabelDiff[d.Key] = d.Change
	}
	if text, ok := in[AnnotationTruncated]; ok {
		n, err := strconv.Atoi(text)
		if err != nil {
			a.Unreadable = append(a.Unreadable, AnnotationTruncated)
		}
		a.Truncated = n
	}
	switch a.Decision {
	case Allowed, Denied, Failed:
	default:
		a.Unreadable = append(a.Unreadable, AnnotationDecision)
		a.Decision = ""
	}
	slices.Sort(a.Unreadable)
	return a
}
