package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/authz"
	"github.com/saguard/saguard/policy"
)

// authzScenario is a line of `authz --jsonl`.
type authzScenario struct {
	Name    string            `json:"name"`
	Objects []json.RawMessage `json:"objects"`
	Checks  []json.RawMessage `json:"checks"`
}

// authzCheck is one check of a scenario. Server is "namespace/name" of the pod whose proxy asks.
type authzCheck struct {
	Server  string         `json:"server"`
	Request *authz.Request `json:"request"`
}

type authzScenarioAnswer struct {
	Name   string        `json:"name"`
	Checks []authzAnswer `json:"checks"`
}

// authzAnswer is the outcome of one check.
type authzAnswer struct {
	Decision string       `json:"decision"` // OK, PERMISSION_DENIED or INVALID_ARGUMENT
	Reason   authz.Reason `json:"reason"`
}

// AuthzLines answers `authz --jsonl`: one scenario a line, {"name","objects","checks":[{"server","request"}]}, one answer a
// line, {"name","checks":[{"decision","reason"}]} in the order of checks. A scenario that cannot be read, or of which any
// object or check cannot, gives {"name","error"} and the stream goes on. The error is of reading or writing.
func AuthzLines(in io.Reader, out, notes io.Writer, sem policy.Semantics, config *authz.Config) error {
	return lines(in, out, func(n int, line []byte, err error) any {
		var s authzScenario
		if err == nil {
			err = json.Unmarshal(line, &s)
		}
		if err != nil {
			return scenarioError{Name: nameOf(line), Error: fmt.Sprintf("read line %d: %v", n, err)}
		}
		answers, err := s.answer(notes, sem, config)
		if err != nil {
			return scenarioError{Name: s.Name, Error: err.Error()}
		}
		return authzScenarioAnswer{Name: s.Name, Checks: answers}
	})
}

func (s *authzScenario) answer(notes io.Writer, sem policy.Semantics, config *authz.Config) ([]authzAnswer, error) {
	objects := &Objects{}
	var errs []error
	for i, raw := range s.Objects {
		errs = append(errs, objects.Add(fmt.Sprintf("objects[%d]", i), raw, sem))
	}
	checks := make([]authzCheck, len(s.Checks))
	for i, raw := range s.Checks {
		if err := json.Unmarshal(raw, &checks[i]); err != nil {
			errs = append(errs, fmt.Errorf("checks[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	snapshot := objects.Snapshot(sem)
	answers := make([]authzAnswer, 0, len(checks))
	for i := range checks {
		path := field.NewPath("checks").Index(i)
		name, err := checks[i].resolve(path, snapshot, objects)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d := authz.Decide(snapshot, config, name, checks[i].Request)
		answers = append(answers, authzAnswer{Decision: d.Code(), Reason: d.Reason})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return answers, objects.Note(notesFor{out: notes, name: s.Name})
}

// resolve finds the server: a pod that is named and does not exist is a mistake in the input, not a denial.
func (c *authzCheck) resolve(path *field.Path, s *policy.Snapshot, objects *Objects) (authz.ServerName, error) {
	if c.Request == nil {
		return authz.ServerName{}, field.Required(path.Child("request"), "the request to check")
	}
	at := path.Child("server")
	if c.Server == "" {
		return authz.ServerName{}, field.Required(at, "namespace/name of the pod whose proxy asks")
	}
	name, err := authz.ParseServerName(c.Server)
	if err != nil {
		return authz.ServerName{}, field.Invalid(at, c.Server, err.Error())
	}
	if s.Workload(name.Namespace, name.Name) != nil {
		return name, nil
	}
	if why := objects.whyNot(name.Namespace, name.Name); why != "" {
		return authz.ServerName{}, field.Invalid(at, c.Server, "the pod "+why)
	}
	return authz.ServerName{}, field.NotFound(at, c.Server)
}
