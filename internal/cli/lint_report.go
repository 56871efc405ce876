package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lintReport is the result of lint.
type lintReport struct {
	metav1.TypeMeta `json:",inline"`
	Findings        []lintFinding `json:"findings"`
	// ShadowedPolicies never match; absent if there are none.
	ShadowedPolicies []shadowedPolicy `json:"shadowedPolicies,omitempty"`
}

func newLintReport(result lintResult) *lintReport {
	r := &lintReport{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "Lint"}, Findings: result.Findings, ShadowedPolicies: result.shadowed}
	if r.Findings == nil {
		r.Findings = []lintFinding{}
	}
	return r
}

func (r *lintReport) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Finding"), column("Open"), column("Who"), column("Where"), column("May"), column("Binding"), column("Role"), wideColumn("Why"),
	}}
	for i := range r.Findings {
		f := &r.Findings[i]
		t.Rows = append(t.Rows, row(f.ID, openness(f), f.Subject.String(), cmp.Or(f.Namespace, "everywhere"), may(f), f.Binding.String(), f.Role.String(), f.Why))
	}
	for i := range r.ShadowedPolicies {
		s := &r.ShadowedPolicies[i]
		t.Rows = append(t.Rows, row(s.ID, "-", s.Policy.String(), cmp.Or(s.Policy.Namespace, "everywhere"), s.says(), "-", "-", "what it says decides nothing"))
	}
	return t
}

// openness says whether anything refuses the use of the power.
func openness(f *lintFinding) string {
	switch {
	case f.JudgedBy == "":
		return "yes"
	case f.Mode == "":
		return "unless " + f.JudgedBy
	default:
		return fmt.Sprintf("%s: %s is %s", map[bool]string{true: "yes", false: "no"}[f.Open], f.JudgedBy, f.Mode)
	}
}

// may says the permissions in short: verbs that go with the same resources are put together, as are resources with the same verbs. It
// is wider than the permissions nowhere.
func may(f *lintFinding) string {
	type target struct{ resource, names string }
	verbs := map[target][]string{}
	var targets []target
	for _, p := range f.Permissions {
		t := target{p.Resource, strings.Join(p.ResourceNames, ",")}
		if verbs[t] == nil {
			targets = append(targets, t)
		}
		if !slices.Contains(verbs[t], p.Verb) {
			verbs[t] = append(verbs[t], p.Verb)
		}
	}
	var parts []string
	for len(targets) > 0 {
		first := targets[0]
		text := strings.Join(verbs[first], ",") + " "
		var resources []string
		targets = slices.DeleteFunc(targets, func(t target) bool {
			same := t.names == first.names && slices.Equal(verbs[t], verbs[first])
			if same {
				resources = append(resources, t.resource)
			}
			return same
		})
		text += strings.Join(resources, ",")
		if first.names != "" {
			text += " named " + first.names
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (r *lintReport) names() []string {
	var out []string
	for i := range r.Findings {
		f := &r.Findings[i]
		name := f.Subject.Name
		if f.Subject.Namespace != "" {
			name = f.Subject.Namespace + ":" + name
		}
		out = append(out, strings.ToLower(f.Subject.Kind)+"/"+name)
	}
	for i := range r.ShadowedPolicies {
		p := &r.ShadowedPolicies[i].Policy
		out = append(out, strings.ToLower(p.Kind)+"/"+strings.TrimPrefix(p.Namespace+":"+p.Name, ":"))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// anyOpen reports a finding that nothing refuses.
func (r *lintReport) anyOpen() bool {
	return slices.ContainsFunc(r.Findings, func(f lintFinding) bool { return f.Open })
}
