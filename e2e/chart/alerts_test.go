package chart

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

// alerts are the rules that the chart makes with everything enabled, by name.
func alerts(t *testing.T) map[string]monitoringv1.Rule {
	t.Helper()
	rules := map[string]monitoringv1.Rule{}
	for _, group := range one[*monitoringv1.PrometheusRule](t, render(t, `{agent: {enabled: true}, prometheusRule: {enabled: true}}`)).Spec.Groups {
		for _, rule := range group.Rules {
			if _, twice := rules[rule.Alert]; twice {
				t.Errorf("%s stands twice", rule.Alert)
			}
			rules[rule.Alert] = rule
		}
	}
	return rules
}

// TestAlerts evaluates each rule over series that must make it fire and over series that must not, in Prometheus' notation of its
// rule tests, one value a minute. A rule fires where its expression has held at every minute of its `for`.
func TestAlerts(t *testing.T) {
	const ns = `namespace="saguard-system"`
	tests := []struct {
		alert, name string
		series      []string
		at          int      // minute of the evaluation; by default 30
		fires       []string // label=value, as PromQL prints them; nil: it does not
	}{
		{alert: "SaguardWebhookUnavailable", name: "nothing is scraped", fires: []string{`{}`}},
		{alert: "SaguardWebhookUnavailable", name: "one of two is ready", series: []string{
			`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 0x40`, `saguard_ready{component="webhook",` + ns + `,pod="b",probe="caches"} 1x40`}},
		{alert: "SaguardWebhookUnavailable", name: "each has a probe that fails", series: []string{
			`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 0x40`, `saguard_ready{component="webhook",` + ns + `,pod="a",probe="listener"} 1x40`,
			`saguard_ready{component="webhook",` + ns + `,pod="b",probe="caches"} 1x40`, `saguard_ready{component="webhook",` + ns + `,pod="b",probe="listener"} 0x40`}, fires: []string{`{}`}},
		{alert: "SaguardWebhookUnavailable", name: "only agents are ready", series: []string{`saguard_ready{component="agent",` + ns + `,pod="a",probe="enforcement"} 1x40`}, fires: []string{`{}`}},
		{alert: "SaguardWebhookUnavailable", name: "another installation is ready", series: []string{`saguard_ready{component="webhook",namespace="other",pod="a",probe="caches"} 1x40`}, fires: []string{`{}`}},
		{alert: "SaguardWebhookUnavailable", name: "for half a minute", at: 30, series: []string{`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 1x29 0x10`}},

		{alert: "SaguardWebhookNotReady", name: "stale caches", series: []string{`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 0x40`}, fires: []string{`{` + ns + `, pod="a", probe="caches"}`}},
		{alert: "SaguardWebhookNotReady", name: "a start of four minutes", at: 4, series: []string{`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 0x4 1x40`}},
		{alert: "SaguardWebhookNotReady", name: "ready", series: []string{`saguard_ready{component="webhook",` + ns + `,pod="a",probe="caches"} 1x40`}},

		{alert: "SaguardFailedOpen", name: "requests unanswered", series: []string{`apiserver_admission_webhook_fail_open_count{name="pods.validate.saguard.io"} 0x25 3x20`}, fires: []string{`{name="pods.validate.saguard.io"}`}},
		{alert: "SaguardFailedOpen", name: "another webhook's", series: []string{`apiserver_admission_webhook_fail_open_count{name="pods.validate.example.com"} 0x25 3x20`}},
		{alert: "SaguardFailedOpen", name: "long ago", series: []string{`apiserver_admission_webhook_fail_open_count{name="pods.validate.saguard.io"} 0x5 3x40`}},

		// The epoch is minute 0.
		{alert: "SaguardCertificateExpiring", name: "in 13 days", series: []string{fmt.Sprintf(`saguard_certificate_expiry_timestamp_seconds{%s,pod="a"} %dx40`, ns, 13*86400)}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardCertificateExpiring", name: "in 15 days", series: []string{fmt.Sprintf(`saguard_certificate_expiry_timestamp_seconds{%s,pod="a"} %dx40`, ns, 15*86400)}},
		{alert: "SaguardCertificateExpiring", name: "none loaded", series: []string{`saguard_certificate_expiry_timestamp_seconds{` + ns + `,pod="a"} 0x40`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardCertificateExpiring", name: "rotated in time", series: []string{fmt.Sprintf(`saguard_certificate_expiry_timestamp_seconds{%s,pod="a"} %dx20 %dx20`, ns, 13*86400, 90*86400)}},

		{alert: "SaguardDecisionsUnrecorded", name: "one", series: []string{`saguard_decision_records_lost_total{` + ns + `,pod="a"} 0x25 1x20`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardDecisionsUnrecorded", name: "none since", series: []string{`saguard_decision_records_lost_total{` + ns + `,pod="a"} 1x40`}},

		{alert: "SaguardPanics", name: "one", series: []string{`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Error",reason="panic"} 0x25 1x20`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardPanics", name: "another error", series: []string{`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Error",reason="not-synced"} 0x25 1x20`}},

		{alert: "SaguardAuthorizerErrors", name: "for long", series: []string{`saguard_authorization_questions_total{` + ns + `,pod="a",source="SubjectAccessReview",answer="error"} 0+1x40`}, fires: []string{`{` + ns + `, source="SubjectAccessReview"}`}},
		{alert: "SaguardAuthorizerErrors", name: "denials are answers", series: []string{`saguard_authorization_questions_total{` + ns + `,pod="a",source="SubjectAccessReview",answer="denied"} 0+1x40`}},
		{alert: "SaguardAuthorizerErrors", name: "for a moment", series: []string{`saguard_authorization_questions_total{` + ns + `,pod="a",source="SubjectAccessReview",answer="error"} 0x28 1x20`}},

		{alert: "SaguardAdmissionErrors", name: "one in fifty", series: []string{
			`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Allow",reason="x"} 0+49x40`, `saguard_admission_decisions_total{` + ns + `,pod="a",decision="Error",reason="not-synced"} 0+1x40`}, fires: []string{`{` + ns + `}`}},
		{alert: "SaguardAdmissionErrors", name: "one in two hundred", series: []string{
			`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Allow",reason="x"} 0+199x40`, `saguard_admission_decisions_total{` + ns + `,pod="a",decision="Error",reason="not-synced"} 0+1x40`}},
		{alert: "SaguardAdmissionErrors", name: "denials are decisions", series: []string{`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Deny",reason="missing-permission"} 0+1x40`}},
		{alert: "SaguardAdmissionErrors", name: "no requests", series: []string{`saguard_admission_decisions_total{` + ns + `,pod="a",decision="Error",reason="not-synced"} 5x40`}},

		{alert: "SaguardOverloaded", name: "for long", series: []string{`saguard_admission_overload_total{` + ns + `,pod="a"} 0+1x40`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardOverloaded", name: "never", series: []string{`saguard_admission_overload_total{` + ns + `,pod="a"} 0x40`}},

		{alert: "SaguardAdmissionSlow", name: "two in a hundred take seconds", series: []string{
			`saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="1"} 0+98x60`, `saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="5"} 0+100x60`, `saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="+Inf"} 0+100x60`}, fires: []string{`{` + ns + `}`}},
		{alert: "SaguardAdmissionSlow", name: "quick", series: []string{
			`saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="0.01"} 0+100x60`, `saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="1"} 0+100x60`, `saguard_admission_duration_seconds_bucket{` + ns + `,pod="a",le="+Inf"} 0+100x60`}},

		{alert: "SaguardCertificateRotationFailing", name: "for long", at: 60, series: []string{`saguard_certificate_rotation_errors_total{` + ns + `,pod="a"} 0+1x60`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardCertificateRotationFailing", name: "while the API server restarts", at: 60, series: []string{`saguard_certificate_rotation_errors_total{` + ns + `,pod="a"} 0x40 0+1x3 3x20`}},

		{alert: "SaguardRegistrationRepaired", name: "once", series: []string{`saguard_certificate_repairs_total{` + ns + `,pod="a",what="ca-bundle"} 0x25 1x20`}, fires: []string{`{` + ns + `, what="ca-bundle"}`}},
		{alert: "SaguardRegistrationRepaired", name: "never", series: []string{`saguard_certificate_repairs_total{` + ns + `,pod="a",what="ca-bundle"} 0x40`}},

		{alert: "SaguardViolationsAppeared", name: "one more", at: 90, series: []string{`saguard_scan_violations{` + ns + `,pod="a",check="account-use",certainty="certain"} 2x60 3x40`}, fires: []string{`{check="account-use", ` + ns + `}`}},
		{alert: "SaguardViolationsAppeared", name: "as many as ever", at: 90, series: []string{`saguard_scan_violations{` + ns + `,pod="a",check="account-use",certainty="certain"} 2x100`}},
		{alert: "SaguardViolationsAppeared", name: "fewer", at: 90, series: []string{`saguard_scan_violations{` + ns + `,pod="a",check="account-use",certainty="certain"} 2x60 1x40`}},
		{alert: "SaguardViolationsAppeared", name: "another replica scans", at: 90, series: []string{
			`saguard_scan_violations{` + ns + `,pod="a",check="account-use",certainty="certain"} 2x60 _x40`, `saguard_scan_violations{` + ns + `,pod="b",check="account-use",certainty="certain"} _x60 2x40`}},

		{alert: "SaguardScanFailing", name: "each of them", at: 150, series: []string{`saguard_scan_failures_total{` + ns + `,pod="a"} 0+1x160`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardScanFailing", name: "one", at: 150, series: []string{`saguard_scan_failures_total{` + ns + `,pod="a"} 0x80 1x80`}},

		{alert: "SaguardCacheStale", name: "unheard of", series: []string{`saguard_cache_age_seconds{` + ns + `,container="webhook",pod="a",source="pods"} 0+60x40`}, fires: []string{`{` + ns + `, pod="a", source="pods"}`}},
		{alert: "SaguardCacheStale", name: "as old as it gets", series: []string{`saguard_cache_age_seconds{` + ns + `,container="webhook",pod="a",source="pods"} 20x40`}},
		{alert: "SaguardCacheStale", name: "an agent, which renews less often", series: []string{`saguard_cache_age_seconds{` + ns + `,container="agent",pod="a",source="pods"} 60x40`}},

		{alert: "SaguardCacheNotSynced", name: "never read", series: []string{`saguard_cache_synced{` + ns + `,pod="a",source="pods"} 0x40`}, fires: []string{`{` + ns + `, pod="a", source="pods"}`}},
		{alert: "SaguardCacheNotSynced", name: "read", series: []string{`saguard_cache_synced{` + ns + `,pod="a",source="pods"} 0x2 1x40`}},

		{alert: "SaguardAgentDown", name: "does not answer", series: []string{`up{` + ns + `,container="agent",pod="a"} 0x40`}, fires: []string{`{container="agent", ` + ns + `, pod="a"}`}},
		{alert: "SaguardAgentDown", name: "restarts", at: 31, series: []string{`up{` + ns + `,container="agent",pod="a"} 1x28 0x3 1x40`}},
		{alert: "SaguardAgentDown", name: "the webhook", series: []string{`up{` + ns + `,container="webhook",pod="a"} 0x40`}},

		{alert: "SaguardAgentNotReady", name: "refused", series: []string{`saguard_ready{component="agent",` + ns + `,pod="a",probe="enforcement"} 0x40`}, fires: []string{`{` + ns + `, pod="a", probe="enforcement"}`}},
		{alert: "SaguardAgentNotReady", name: "ready", series: []string{`saguard_ready{component="agent",` + ns + `,pod="a",probe="enforcement"} 1x40`}},

		{alert: "SaguardAgentApplyErrors", name: "for long", series: []string{`saguard_agent_kernel_errors_total{` + ns + `,pod="a",operation="sync"} 0+1x40`}, fires: []string{`{` + ns + `, operation="sync", pod="a"}`}},
		{alert: "SaguardAgentApplyErrors", name: "once, repaired by a sync", at: 31, series: []string{`saguard_agent_kernel_errors_total{` + ns + `,pod="a",operation="apply"} 0x28 1x40`}},

		{alert: "SaguardAgentLagging", name: "does not catch up", series: []string{`saguard_agent_revision_lag{` + ns + `,pod="a"} 0x10 3x40`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardAgentLagging", name: "catches up each minute", series: []string{`saguard_agent_revision_lag{` + ns + `,pod="a"} 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0 9 0`}},

		{alert: "SaguardAgentSlow", name: "two in a hundred take seconds", series: []string{
			`saguard_agent_event_to_kernel_seconds_bucket{` + ns + `,pod="a",le="0.8192"} 0+98x60`, `saguard_agent_event_to_kernel_seconds_bucket{` + ns + `,pod="a",le="3.2768"} 0+100x60`, `saguard_agent_event_to_kernel_seconds_bucket{` + ns + `,pod="a",le="+Inf"} 0+100x60`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardAgentSlow", name: "nothing changes", series: []string{
			`saguard_agent_event_to_kernel_seconds_bucket{` + ns + `,pod="a",le="3.2768"} 9x60`, `saguard_agent_event_to_kernel_seconds_bucket{` + ns + `,pod="a",le="+Inf"} 100x60`}},

		{alert: "SaguardAgentDriftRepaired", name: "once", series: []string{`saguard_agent_repairs_total{` + ns + `,pod="a"} 0x25 1x20`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardAgentDriftRepaired", name: "never", series: []string{`saguard_agent_repairs_total{` + ns + `,pod="a"} 0x40`}},

		{alert: "SaguardIdentityCheckErrors", name: "not synced", series: []string{`saguard_authz_checks_total{` + ns + `,pod="a",decision="Error",reason="not-synced"} 0+1x40`}, fires: []string{`{` + ns + `, pod="a", reason="not-synced"}`}},
		{alert: "SaguardIdentityCheckErrors", name: "denials", series: []string{`saguard_authz_checks_total{` + ns + `,pod="a",decision="Deny",reason="policy"} 0+1x40`}},

		{alert: "SaguardIdentityRecordsLost", name: "one", series: []string{`saguard_authz_records_lost_total{` + ns + `,pod="a"} 0x25 1x20`}, fires: []string{`{` + ns + `, pod="a"}`}},
		{alert: "SaguardIdentityRecordsLost", name: "none", series: []string{`saguard_authz_records_lost_total{` + ns + `,pod="a"} 0x40`}},
	}
	rules := alerts(t)
	fire, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests {
		t.Run(test.alert+"/"+test.name, func(t *testing.T) {
			rule, ok := rules[test.alert]
			if !ok {
				t.Fatal("there is no such alert")
			}
			if test.at == 0 {
				test.at = 30
			}
			fire[test.alert] = fire[test.alert] || len(test.fires) > 0
			quiet[test.alert] = quiet[test.alert] || len(test.fires) == 0
			got := firing(t, rule, load(t, test.series), test.at)
			if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, test.fires) {
				t.Errorf("fires for %q, want %q", names, test.fires)
			}
			for _, series := range got {
				words(t, rule, series)
			}
		})
	}
	for name := range rules {
		if !fire[name] || !quiet[name] {
			t.Errorf("%s: no case in which it fires, or none in which it does not", name)
		}
	}
}

// words fills in the annotations as Prometheus does, with the functions of its templates that alerts use, and fails at a label
// that the series does not have.
func words(t *testing.T, rule monitoringv1.Rule, series labels.Labels) {
	t.Helper()
	format := func(v float64) string { return fmt.Sprint(v) }
	functions := template.FuncMap{"humanize": format, "humanizeDuration": format, "humanizePercentage": format}
	for name, text := range rule.Annotations {
		parsed, err := template.New(name).Funcs(functions).Option("missingkey=error").Parse("{{$labels := .labels}}{{$value := .value}}" + text)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := parsed.Execute(&out, map[string]any{"labels": series.Map(), "value": 1.0}); err != nil {
			t.Error(err)
		}
	}
}

// firing returns the series, by their text, for which the rule fires at a minute: by its expression at every minute of its `for`.
func firing(t *testing.T, rule monitoringv1.Rule, series storage.Queryable, at int) map[string]labels.Labels {
	t.Helper()
	held := 0
	if rule.For != nil {
		d, err := time.ParseDuration(string(*rule.For))
		if err != nil {
			t.Fatal(err)
		}
		held = int(d.Minutes())
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 100000, Timeout: time.Minute})
	var fires map[string]labels.Labels
	for minute := at - held; minute <= at; minute++ {
		query, err := engine.NewInstantQuery(t.Context(), series, nil, rule.Expr.String(), time.Unix(int64(minute)*60, 0))
		if err != nil {
			t.Fatal(err)
		}
		vector, err := query.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		now := map[string]labels.Labels{}
		for _, sample := range vector {
			series := sample.Metric.MatchLabels(false, "__name__")
			now[series.String()] = series
		}
		query.Close()
		if minute == at-held {
			fires = now
		}
		maps.DeleteFunc(fires, func(name string, _ labels.Labels) bool { _, still := now[name]; return !still })
	}
	return fires
}

// memory is a storage of a few series, one value a minute from the epoch on.
type memory []*promql.StorageSeries

func load(t *testing.T, descriptions []string) storage.Queryable {
	t.Helper()
	var out memory
	for _, description := range descriptions {
		metric, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(description)
		if err != nil {
			t.Fatal(err)
		}
		series := promql.Series{Metric: metric}
		for minute, value := range values {
			if !value.Omitted {
				series.Floats = append(series.Floats, promql.FPoint{T: int64(minute) * 60_000, F: value.Value})
			}
		}
		out = append(out, promql.NewStorageSeries(series))
	}
	return out
}

func (m memory) Querier(int64, int64) (storage.Querier, error) { return m, nil }

func (m memory) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &selected{at: -1}
	for _, series := range m {
		if !slices.ContainsFunc(matchers, func(matcher *labels.Matcher) bool { return !matcher.Matches(series.Labels().Get(matcher.Name)) }) {
			set.series = append(set.series, series)
		}
	}
	return set
}

func (m memory) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (m memory) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (m memory) Close() error { return nil }

type selected struct {
	series memory
	at     int
}

func (s *selected) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *selected) At() storage.Series                { return s.series[s.at] }
func (s *selected) Err() error                        { return nil }
func (s *selected) Warnings() annotations.Annotations { return nil }

// TestAlertsTellWhatToDo: each has a severity that receivers route by, and a page that exists.
func TestAlertsTellWhatToDo(t *testing.T) {
	rules := alerts(t)
	page := readFile(t, "../../docs/operations.md")
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		headings[strings.ToLower(m[1])] = true
	}
	for name, rule := range rules {
		if !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) || len(rule.Labels) != 1 {
			t.Errorf("%s: labels %v", name, rule.Labels)
		}
		if keys := slices.Sorted(maps.Keys(rule.Annotations)); !slices.Equal(keys, []string{"description", "runbook_url", "summary"}) {
			t.Errorf("%s: annotations %v", name, keys)
		}
		if got, want := rule.Annotations["runbook_url"], "https://github.com/saguard/saguard/blob/main/docs/operations.md#"+strings.ToLower(name); got != want {
			t.Errorf("%s: runbook_url %s, want %s", name, got, want)
		}
		if !headings[strings.ToLower(name)] {
			t.Errorf("docs/operations.md has no heading %s", name)
		}
	}
}

func TestValuesOfThePrometheusRule(t *testing.T) {
	rule := one[*monitoringv1.PrometheusRule](t, render(t, `{prometheusRule: {enabled: true, labels: {release: prometheus}, alertLabels: {team: platform}, disabled: [SaguardPanics], certificateDays: 3, runbookURL: "https://wiki.example.com/saguard"}}`))
	if rule.Labels["release"] != "prometheus" {
		t.Errorf("labels %v", rule.Labels)
	}
	seen := map[string]monitoringv1.Rule{}
	for _, group := range rule.Spec.Groups {
		for _, r := range group.Rules {
			seen[r.Alert] = r
			if r.Labels["team"] != "platform" || r.Labels["severity"] == "" {
				t.Errorf("%s: labels %v", r.Alert, r.Labels)
			}
			if strings.Contains(r.Expr.String(), "NAMESPACE") || strings.Contains(r.Expr.String(), "_SECONDS") {
				t.Errorf("%s: %s", r.Alert, r.Expr.String())
			}
		}
	}
	if _, ok := seen["SaguardPanics"]; ok {
		t.Error("an alert that was left out is there")
	}
	if _, ok := seen["SaguardAgentDown"]; ok {
		t.Error("there are alerts of the agent without the agent")
	}
	certificate := seen["SaguardCertificateExpiring"]
	if !strings.HasSuffix(certificate.Expr.String(), "< 259200") || certificate.Annotations["runbook_url"] != "https://wiki.example.com/saguard#saguardcertificateexpiring" {
		t.Errorf("%s %s", certificate.Expr.String(), certificate.Annotations["runbook_url"])
	}
}

// TestAlertsFileIsRulesByItself: whoever has no operator takes it as it is.
func TestAlertsFileIsRulesByItself(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(readFile(t, dir, "files/alerts.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			count++
			if rule.Alert == "" || rule.Expr == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s: %+v", group.Name, rule)
			}
		}
	}
	if count != len(alerts(t)) {
		t.Errorf("%d rules, %d rendered", count, len(alerts(t)))
	}
}
