package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
)

// AnnotationLabelledBy says who put each guarded label on a service account: a JSON object from label key to user name.
// The mutation writes it; check label-use refuses a claim that did not come from there.
const AnnotationLabelledBy = "saguard.io/labelled-by"

// labelledBy returns the claims that the account must carry after the request: those it had, for labels that stay as they
// are, and the requester for guarded labels that change. What the requester wrote into the annotation does not count.
func labelledBy(f *Facts) map[string]string {
	out := maps.Clone(oldClaims(f))
	before, after := f.OldAccount.labels(), f.Account.labels()
	for key := range out {
		if v, ok := after[key]; !ok || v != before[key] {
			delete(out, key)
		}
	}
	for _, c := range labelChanges(f) {
		if c.after != nil {
			if out == nil {
				out = map[string]string{}
			}
			out[c.key] = f.Subject.User
		}
	}
	return out
}

// oldClaims reads the annotation of the old object; one that does not parse claims nothing.
func oldClaims(f *Facts) map[string]string {
	text, ok := f.OldAccount.labelledBy()
	if !ok {
		return nil
	}
	return parseClaims(text)
}

func parseClaims(text string) map[string]string {
	var claims map[string]string
	if json.Unmarshal([]byte(text), &claims) != nil {
		return nil
	}
	return claims
}

// forgedLabelledBy finds claims that the mutation cannot have written. A missing claim is no finding: the mutating webhook
// may have been down under failurePolicy Ignore, and a label without a claim accuses nobody.
func forgedLabelledBy(f *Facts) []Finding {
	if f.Operation == admissionv1.Delete || len(f.Guards.Guards()) == 0 {
		return nil
	}
	text, ok := f.Account.labelledBy()
	if !ok {
		return nil
	}
	claims := parseClaims(text)
	want := labelledBy(f)
	path := field.NewPath("metadata", "annotations").Key(AnnotationLabelledBy)
	for _, key := range slices.Sorted(maps.Keys(claims)) {
		if user, ok := want[key]; (!ok || user != claims[key]) && !claimsOwnChange(f, key, claims[key]) {
			return []Finding{forged(path, fmt.Sprintf("claim that %q put label %s", claims[key], key))}
		}
	}
	if old, had := f.OldAccount.labelledBy(); claims == nil && (!had || old != text) {
		return []Finding{forged(path, "write a claim that does not parse")}
	}
	return nil
}

// claimsOwnChange: a claim of the requester about a label that this very request changes is true, whatever is guarded. The
// replica that stamped it may already know a guard that this one does not.
func claimsOwnChange(f *Facts, key, user string) bool {
	after, ok := f.Account.labels()[key]
	before, had := f.OldAccount.labels()[key]
	return user == f.Subject.User && ok && (!had || before != after)
}

func forged(path *field.Path, attempt string) Finding {
	return Finding{
		Mode: v1alpha1.ModeEnforce, Field: path, Attempt: attempt,
		Rule: "annotation " + AnnotationLabelledBy + " is written by saguard alone; leave it out",
	}
}
