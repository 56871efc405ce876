package audit

import (
	"encoding/json"
	"slices"
	"strconv"
)

// The keys of the audit annotations; the API server puts the webhook's name and "/" before each.
const (
	AnnotationSchema   = "schema"
	AnnotationDecision = "decision"
	AnnotationReason   = "reason"
	AnnotationMode     = "mode"
	AnnotationChecks   = "checks"
	AnnotationTuples   = "tuples"
	AnnotationLabels   = "label-diff"
	AnnotationExempt   = "exempt-from"
	// AnnotationTruncated counts what was left out of the other values to keep them under MaxAnnotationBytes.
	AnnotationTruncated = "truncated"
)

// MaxAnnotationBytes bounds each annotation's value (SPEC: under 1 KiB each).
const MaxAnnotationBytes = 1023

// Annotations returns the record as audit annotations. They depend on nothing but what was decided: no time, duration, UID or
// revision, because the API server refuses to set an annotation again to another value when it retries a request.
func (r *Record) Annotations() map[string]string {
	out := map[string]string{
		AnnotationSchema:   Schema,
		AnnotationDecision: string(r.Decision),
		AnnotationReason:   r.Reason,
	}
	if r.Mode != "" {
		out[AnnotationMode] = r.Mode
	}
	left := 0
	type brief struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
		Mode   string `json:"mode,omitempty"`
		Field  string `json:"field,omitempty"`
	}
	var checks []brief
	var tuples []Tuple
	seenChecks, seenTuples := map[brief]bool{}, map[Tuple]bool{} // a large policy gives thousands of both
	for _, c := range r.Checks {
		b := brief{ID: c.ID, Reason: c.Reason, Mode: c.Mode, Field: c.Field}
		if !seenChecks[b] {
			seenChecks[b] = true
			checks = append(checks, b)
		}
		for _, t := range c.Tuples {
			if !seenTuples[t] {
				seenTuples[t] = true
				tuples = append(tuples, t)
			}
		}
	}
	// Refusals first, so that what is left out is the least needed.
	slices.SortStableFunc(tuples, func(a, b Tuple) int { return boolOrder(a.Allowed) - boolOrder(b.Allowed) })
	put(out, AnnotationChecks, checks, &left)
	put(out, AnnotationTuples, tuples, &left)
	put(out, AnnotationExempt, r.ExemptFrom, &left)
	keys := make([]string, 0, len(r.LabelDiff))
	for k := range r.LabelDiff {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	diff := make([]labelChange, len(keys))
	for i, k := range keys {
		diff[i] = labelChange{Key: k, Change: r.LabelDiff[k]}
	}
	put(out, AnnotationLabels, diff, &left)
	if left > 0 {
		out[AnnotationTruncated] = strconv.Itoa(left)
	}
	return out
}

type labelChange struct {
	Key string `json:"key"`
	Change
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

// put stores the items whose JSON fits, in order, and counts the rest. Nothing is stored for no items.
func put[T any](out map[string]string, key string, items []T, left *int) {
	if len(items) == 0 {
		return
	}
	buf := []byte{'['}
	for i := range items {
		item, err := json.Marshal(items[i])
		if err != nil || len(buf)+len(item)+1 > MaxAnnotationBytes {
			// One that is too long must not hide those that would fit.
			*left++
			continue
		}
		if len(buf) > 1 {
			buf = append(buf, ',')
		}
		buf = append(buf, item...)
	}
	if len(buf) == 1 {
		return
	}
	out[key] = string(append(buf, ']'))
}
