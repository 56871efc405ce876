package cli

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/identity"
)

// The decisions of a checkedObject.
const (
	decisionAllowed = "Allow"
	decisionDenied  = "Deny"
	// decisionError says that the object could not be judged; the API server would be told to refuse it.
	decisionError = "Error"
)

// checkReport is the result of check.
type checkReport struct {
	metav1.TypeMeta `json:",inline"`
	User            string          `json:"user"`
	Groups          []string        `json:"groups"`
	Objects         []checkedObject `json:"objects"`
}

type checkedObject struct {
	Source       string `json:"source"`
	APIVersion   string `json:"apiVersion"`
	Kind         string `json:"kind"`
	Namespace    string `json:"namespace,omitempty"`
	Name         string `json:"name,omitempty"`
	GenerateName string `json:"generateName,omitempty"`
	// Operation is CREATE, or UPDATE of an object that the cluster holds.
	Operation string `json:"operation,omitempty"`
	Decision  string `json:"decision"`
	// Reason is the webhook's stable code.
	Reason string `json:"reason,omitempty"`
	// Findings are what does not hold, of every mode.
	Findings []checkFinding `json:"findings,omitempty"`
	// Warnings are what the user would be shown.
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
}

type checkFinding struct {
	Check   string        `json:"check"`
	Mode    v1alpha1.Mode `json:"mode"`
	Field   string        `json:"field,omitempty"`
	Message string        `json:"message"`
	// CanI are the `kubectl auth can-i` lines of the permissions that are missing.
	CanI []string `json:"canI,omitempty"`
}

func newCheckReport(subject identity.Subject) *checkReport {
	return &checkReport{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "Check"}, User: subject.User, Groups: subject.Groups,
		Objects: []checkedObject{},
	}
}

// describe is "Pod prod/web", or "Pod prod/web-*" of one whose name is generated.
func (o *checkedObject) describe() string {
	name := o.Name
	if name == "" {
		name = o.GenerateName + "*"
	}
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.Kind + " " + name
}

// table has a row for each finding and for each object that could not be judged. What is in order is not shown.
func (r *checkReport) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		column("Object"), column("Decision"), column("Check"), column("Mode"), column("Message"), wideColumn("Field"), wideColumn("Source"),
	}}
	for i := range r.Objects {
		o := &r.Objects[i]
		for _, f := range o.Findings {
			t.Rows = append(t.Rows, row(o.describe(), o.Decision, f.Check, string(f.Mode), f.Message, f.Field, o.Source))
		}
		if o.Error != "" {
			t.Rows = append(t.Rows, row(o.describe(), o.Decision, "-", "-", o.Error, "-", o.Source))
		}
	}
	return t
}

// names are the objects with findings.
func (r *checkReport) names() []string {
	var out []string
	for i := range r.Objects {
		if o := &r.Objects[i]; len(o.Findings) > 0 || o.Error != "" {
			kind, name, _ := strings.Cut(o.describe(), " ")
			out = append(out, strings.ToLower(kind)+"/"+name)
		}
	}
	return out
}

// advice are the warnings that are about no finding: those say the same in fewer words.
func (r *checkReport) advice() []string {
	var out []string
	for i := range r.Objects {
		o := &r.Objects[i]
		for _, w := range o.Warnings {
			told := strings.HasPrefix(w, "check: ") || slices.ContainsFunc(o.Findings, func(f checkFinding) bool { return strings.HasPrefix(w, f.Check+": ") })
			if !told {
				out = append(out, o.describe()+": "+w)
			}
		}
	}
	return out
}

func (r *checkReport) anyFinding() bool {
	return slices.ContainsFunc(r.Objects, func(o checkedObject) bool { return len(o.Findings) > 0 })
}

// summary counts the objects.
func (r *checkReport) summary() string {
	var denied, found, failed int
	for i := range r.Objects {
		switch o := &r.Objects[i]; {
		case o.Decision == decisionError:
			failed++
		case o.Decision == decisionDenied:
			denied++
		case len(o.Findings) > 0:
			found++
		}
	}
	return fmt.Sprintf("checked as %s: objects %d, denied %d, let pass with findings %d, not judged %d, in order %d",
		r.User, len(r.Objects), denied, found, failed, len(r.Objects)-denied-found-failed)
}
