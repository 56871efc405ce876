package report

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	openreports "github.com/openreports/reports-api/apis/openreports.io/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/scan"
)

// Name is that of every Report and of the ClusterReport.
const Name = "saguard-scan"

// The label by which saguard finds its own reports.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "saguard"
)

const (
	// MaxResults bounds a report's results: an object of etcd's must be less than 1.5 MiB.
	MaxResults = 500
	// maxBytes bounds them too, as JSON.
	maxBytes = 1 << 20
	// maxText bounds one text of a result.
	maxText = 1024
)

// Reports returns one Report for each namespace in which something was found, sorted, and the ClusterReport; nil if nothing was found of what
// has no namespace. The same result gives the same reports: they hold no time. A summary counts everything, also what is not among the
// results.
func Reports(r *scan.Result) ([]openreports.Report, *openreports.ClusterReport) {
	results, bytes := map[string][]openreports.ReportResult{}, map[string]int{}
	add := func(namespace string, one *openreports.ReportResult) {
		raw, err := json.Marshal(one)
		if err != nil {
			return // strings alone: it cannot be
		}
		size := len(raw) + 1
		if len(results[namespace]) < MaxResults && bytes[namespace]+size <= maxBytes {
			results[namespace] = append(results[namespace], *one)
			bytes[namespace] += size
		}
	}
	for i := range r.Violations {
		v := &r.Violations[i]
		add(v.Object.Namespace, resultOf(v))
	}
	for i := range r.Unjudged {
		u := &r.Unjudged[i]
		policy := u.Check
		if policy == "" {
			policy = ruleUnjudged
		}
		add(u.Object.Namespace, &openreports.ReportResult{
			Source: ManagedBy, Policy: policy, Category: category, Result: "error", Description: clip(u.Reason), Subjects: subjects(&u.Object), Properties: guards(u.Guards),
		})
	}
	var out []openreports.Report
	var cluster *openreports.ClusterReport
	for _, namespace := range slices.Sorted(maps.Keys(r.ByNamespace)) {
		c := r.ByNamespace[namespace]
		if c.Violations+c.Unjudged == 0 {
			continue
		}
		meta := metav1.ObjectMeta{Name: Name, Namespace: namespace, Labels: map[string]string{LabelManagedBy: ManagedBy}}
		summary := openreports.ReportSummary{Fail: int(c.Violations - c.Tolerated), Warn: int(c.Tolerated), Error: int(c.Unjudged)}
		configuration := &openreports.ReportConfiguration{Limits: openreports.Limits{MaxResults: MaxResults}}
		if namespace == "" {
			cluster = &openreports.ClusterReport{
				TypeMeta: typeMeta("ClusterReport"), ObjectMeta: meta, Source: ManagedBy, Configuration: configuration, Summary: summary, Results: results[namespace],
			}
			continue
		}
		out = append(out, openreports.Report{
			TypeMeta: typeMeta("Report"), ObjectMeta: meta, Source: ManagedBy, Configuration: configuration, Summary: summary, Results: results[namespace],
			Scope: &corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: namespace},
		})
	}
	return out, cluster
}

// category is of all results.
const category = "Identity"

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: openreports.SchemeGroupVersion.String(), Kind: kind}
}

func resultOf(v *scan.Violation) *openreports.ReportResult {
	one := &openreports.ReportResult{
		Source: ManagedBy, Policy: v.Check, Rule: v.Power, Category: category, Result: "warn", Severity: "medium", Description: clip(v.Reason), Subjects: subjects(&v.Object),
		Properties: guards(v.Guards),
	}
	if v.Mode == v1alpha1.ModeEnforce {
		one.Result, one.Scored = "fail", true
	}
	if v.Certainty == scan.Certain && v.Check != scan.CheckHollow {
		one.Severity = "high"
	}
	one.Properties["certainty"] = string(v.Certainty)
	if v.Field != "" {
		one.Properties["field"] = clip(v.Field)
	}
	if len(v.CanI) > 0 {
		one.Properties["canI"] = clip(v.CanI[0])
		if more := len(v.CanI) - 1; more > 0 {
			one.Properties["morePermissions"] = strconv.Itoa(more)
		}
	}
	if len(v.Grant) > 0 {
		one.Properties["grant"] = clip(v.Grant[0])
	}
	return one
}

func guards(names []string) map[string]string {
	out := map[string]string{}
	if len(names) > 0 {
		out["guards"] = clip(strings.Join(names, ","))
	}
	return out
}

func subjects(o *scan.Object) []corev1.ObjectReference {
	if o.Name == "" {
		return nil
	}
	return []corev1.ObjectReference{{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: types.UID(o.UID)}}
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-3], "") + "..."
}
