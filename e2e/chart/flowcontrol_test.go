package chart

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
)

// all returns the objects of a type.
func all[T any](t *testing.T, rendered *Rendered) []T {
	t.Helper()
	var found []T
	for _, object := range typed(t, rendered) {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// builtInLevels are the API server's own priority levels, with their shares.
func builtInLevels() map[string]int32 {
	levels := map[string]int32{}
	for _, level := range append(slices.Clone(bootstrap.SuggestedPriorityLevelConfigurations), bootstrap.MandatoryPriorityLevelConfigurations...) {
		levels[level.Name] = 0
		if level.Spec.Limited != nil {
			levels[level.Name] = *level.Spec.Limited.NominalConcurrencyShares
		}
	}
	return levels
}

func TestRequestsOfSaguardHaveAShareOfTheirOwn(t *testing.T) {
	tests := map[string]struct {
		values string
		levels map[string]string // priority level by account
		own    bool              // a level is made
	}{
		"default":                  {levels: map[string]string{"saguard": "saguard"}, own: true},
		"with the agent":           {values: `{agent: {enabled: true}}`, levels: map[string]string{"saguard": "saguard", "saguard-agent": "workload-high"}, own: true},
		"accounts of other names":  {values: `{serviceAccount: {name: w}, agent: {enabled: true, serviceAccount: {name: a}}}`, levels: map[string]string{"w": "saguard", "a": "workload-high"}, own: true},
		"a level of the cluster's": {values: `{flowControl: {priorityLevel: system}}`, levels: map[string]string{"saguard": "system"}},
		"off":                      {values: `{flowControl: {enabled: false}, agent: {enabled: true}}`, levels: map[string]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, test.values)
			levels := builtInLevels()
			made := all[*flowcontrolv1.PriorityLevelConfiguration](t, rendered)
			for _, level := range made {
				levels[level.Name] = *level.Spec.Limited.NominalConcurrencyShares
			}
			if (len(made) > 0) != test.own {
				t.Errorf("%d levels are made", len(made))
			}
			schemas := all[*flowcontrolv1.FlowSchema](t, rendered)
			if len(schemas) != len(test.levels) {
				t.Errorf("%d FlowSchemas, want %d", len(schemas), len(test.levels))
			}
			for _, schema := range schemas {
				subject := schema.Spec.Rules[0].Subjects[0].ServiceAccount
				level := schema.Spec.PriorityLevelConfiguration.Name
				if len(schema.Spec.Rules) != 1 || len(schema.Spec.Rules[0].Subjects) != 1 || subject.Namespace != "saguard-system" || test.levels[subject.Name] != level {
					t.Errorf("%s: %s/%s gets level %s, want %s", schema.Name, subject.Namespace, subject.Name, level, test.levels[subject.Name])
				}
				if _, ok := levels[level]; !ok {
					t.Errorf("%s: there is no level %s", schema.Name, level)
				}
			}
		})
	}
	if account := one[*appsv1.Deployment](t, render(t, "")).Spec.Template.Spec.ServiceAccountName; account != "saguard" {
		t.Errorf("the pods run as %s", account)
	}
}

// TestFlowSchemasComeBeforeThoseOfAllAccounts, and after those on which the API server itself rests.
func TestFlowSchemasComeBeforeThoseOfAllAccounts(t *testing.T) {
	precedence := map[string]int32{}
	for _, schema := range bootstrap.SuggestedFlowSchemas {
		precedence[schema.Name] = schema.Spec.MatchingPrecedence
	}
	if precedence["service-accounts"] == 0 || precedence["system-leader-election"] == 0 {
		t.Fatalf("the API server has no such FlowSchemas any more: %v", precedence)
	}
	for _, schema := range all[*flowcontrolv1.FlowSchema](t, render(t, `{agent: {enabled: true}}`)) {
		if got := schema.Spec.MatchingPrecedence; got >= precedence["service-accounts"] || got <= precedence["system-leader-election"] {
			t.Errorf("%s: matchingPrecedence %d", schema.Name, got)
		}
	}
	// What values.yaml says of the others' shares.
	sum := int32(0)
	for _, shares := range builtInLevels() {
		sum += shares
	}
	if sum != 245 {
		t.Errorf("the API server's own levels have %d shares; values.yaml says 245", sum)
	}
}
