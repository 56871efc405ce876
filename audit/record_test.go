package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/saguard/saguard/audit"
)

func full() *audit.Record {
	v, port, icmp := "trusted", uint16(80), uint8(8)
	return &audit.Record{
		Schema: audit.Schema, Time: time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC), Component: "webhook",
		Decision: audit.Denied, Reason: "forbidden", Mode: "Enforce",
		Checks: []audit.Check{{ID: "label-use", Reason: "missing", Mode: "Enforce", Field: "metadata.labels[role]", Tuples: []audit.Tuple{
			{Verb: "use", Group: "g", Resource: "serviceaccounts/labels", Name: "role=trusted", Namespace: "prod", Allowed: true, GrantedBy: "RoleBinding prod/x"},
			{Verb: "use", Resource: "serviceaccounts/labels", Name: "role=intern", Namespace: "prod", Unanswered: true},
		}}},
		User: "alice", Groups: []string{"dev", "system:authenticated"}, Operation: "UPDATE",
		Object:    audit.Object{Group: "g", Resource: "serviceaccounts", Subresource: "s", Namespace: "prod", Name: "web"},
		LabelDiff: map[string]audit.Change{"role": {New: &v}}, ExemptFrom: []string{"other"},
		Flow: &audit.Flow{
			Direction: "ingress", Protocol: 6, ICMPType: &icmp, ICMPCode: &icmp, Tier: "default", Policy: "NetworkPolicy prod/db", Rule: -1, Lost: 3,
			Source:      audit.End{Address: "10.0.0.1", Port: &port, Namespace: "prod", Pod: "web-1", Account: "web"},
			Destination: audit.End{Address: "10.0.0.2", Port: &port, Namespace: "prod", Pod: "db-0", Account: "db"},
		},
		UID: "u", DryRun: true, Revision: 7, DurationMicros: 42, Error: "e", More: 9,
	}
}

// The zap encoding and the JSON tags are two descriptions of one schema: what is written must be read back whole.
func TestWrittenRecordReadsBackWhole(t *testing.T) {
	for name, r := range map[string]*audit.Record{
		"every field":           full(),
		"only what is required": {Schema: audit.Schema, Time: time.Unix(1, 0).UTC(), Component: "webhook", Decision: audit.Allowed, Reason: "granted"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := audit.NewWriter(zapcore.AddSync(&out)).Write(r); err != nil {
				t.Fatal(err)
			}
			var back audit.Record
			d := json.NewDecoder(&out)
			d.DisallowUnknownFields()
			if err := d.Decode(&back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(&back, r) {
				t.Errorf("wrote\n%+v\nread\n%+v", r, &back)
			}
		})
	}
}

// A field added to the schema and forgotten in full() would be a field nobody tests.
func TestFullRecordHasNoZeroField(t *testing.T) {
	v := reflect.ValueOf(full()).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("full() leaves %s empty", v.Type().Field(i).Name)
		}
	}
}

func TestRecordWithoutOutcomeIsNotWritten(t *testing.T) {
	for _, outcome := range []audit.Outcome{"", "allow", "Maybe"} {
		r := full()
		r.Decision = outcome
		var out bytes.Buffer
		if err := audit.NewWriter(zapcore.AddSync(&out)).Write(r); !errors.Is(err, audit.ErrNoOutcome) || out.Len() > 0 {
			t.Errorf("outcome %q: err %v, wrote %q", outcome, err, out.String())
		}
	}
}

func TestAnnotationsDependOnTheDecisionAlone(t *testing.T) {
	a, b := full(), full()
	b.Time, b.UID, b.Revision, b.DurationMicros, b.Error = time.Now(), "other", 99, 1, "other"
	if !maps.Equal(a.Annotations(), b.Annotations()) {
		t.Errorf("annotations differ:\n%v\n%v", a.Annotations(), b.Annotations())
	}
	got := a.Annotations()
	if got[audit.AnnotationDecision] != "Deny" || got[audit.AnnotationLabels] != `[{"key":"role","old":null,"new":"trusted"}]` {
		t.Errorf("annotations %v", got)
	}
	if !strings.HasPrefix(got[audit.AnnotationTuples], `[{"verb":"use","resource":"serviceaccounts/labels","name":"role=intern"`) {
		t.Errorf("the missing permission does not come first: %s", got[audit.AnnotationTuples])
	}
}

func TestAnnotationsStayUnderTheirBound(t *testing.T) {
	r := full()
	for i := range 100 {
		v := strings.Repeat("x", 63)
		r.LabelDiff[fmt.Sprintf("example.com/key-%02d", i)] = audit.Change{New: &v, Old: &v}
		r.Checks = append(r.Checks, audit.Check{ID: "label-use", Reason: "missing", Field: fmt.Sprint(i), Tuples: []audit.Tuple{{Verb: "use", Name: fmt.Sprint(i)}}})
	}
	got := r.Annotations()
	for k, v := range got {
		if len(v) > audit.MaxAnnotationBytes {
			t.Errorf("%s has %d bytes", k, len(v))
		}
	}
	for _, k := range []string{audit.AnnotationChecks, audit.AnnotationTuples, audit.AnnotationLabels} {
		var items []json.RawMessage
		if err := json.Unmarshal([]byte(got[k]), &items); err != nil || len(items) == 0 {
			t.Errorf("%s is no JSON list: %v %s", k, err, got[k])
		}
	}
	if got[audit.AnnotationTruncated] == "" {
		t.Error("what was left out is not counted")
	}
}
