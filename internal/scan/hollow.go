package scan

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/saguard/saguard/internal/hollow"
)

// Hollow judges RBAC: the bindings by which somebody can get around a guard. A binding where no guard holds is none, because there is nothing
// to get around.
func (s *Scanner) Hollow(ctx context.Context, in hollow.Input) Verdict {
	var out Verdict
	if !s.wants(CheckHollow) || len(s.guards) == 0 {
		return out
	}
	for _, f := range hollow.Find(in).Findings {
		if !f.Open || s.excluded[f.Namespace] {
			continue
		}
		v := Violation{
			Check: CheckHollow, Power: f.ID, Certainty: Certain,
			Object: Object{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: f.Binding.Kind, Namespace: f.Binding.Namespace, Name: f.Binding.Name},
			Reason: f.Subject.String() + ", by " + f.Role.String() + ", " + f.Why,
		}
		if v.Guards = s.concerned(ctx, f.Namespace, CheckHollow, ""); len(v.Guards) > 0 {
			out.Violations = append(out.Violations, v)
		}
	}
	return out
}

// Missing is what is to be said of objects that could not be read at all: those of one kind, or all of a kind in a file.
func (s *Scanner) Missing(ctx context.Context, object Object, reason string) Verdict {
	return s.finish(ctx, Verdict{Unjudged: []Unjudged{{Object: object, Reason: reason}}})
}
