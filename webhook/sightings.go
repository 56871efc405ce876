package webhook

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/saguard/saguard/api/v1alpha1"
)

// sightings remembers which paths of workload templates have led to a pod template. It grows with what guards have ever
// named and with nothing else. It is safe for concurrent use.
type sightings struct {
	mu    sync.Mutex
	found map[v1alpha1.WorkloadTemplate]bool
}

func (s *sightings) note(seen []Sighting) {
	if len(seen) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found = map[v1alpha1.WorkloadTemplate]bool{}
	}
	for _, one := range seen {
		s.found[one.Template] = s.found[one.Template] || one.Found
	}
}

// TemplatesNotFound returns the workload templates that guards name and whose path has led to nothing, in any object of
// their kind that came by since the start, sorted. The pods of such objects are judged all the same; what is lost is that
// the writer of the object is told.
func (h *Handler) TemplatesNotFound() []v1alpha1.WorkloadTemplate {
	h.sightings.mu.Lock()
	defer h.sightings.mu.Unlock()
	var out []v1alpha1.WorkloadTemplate
	for t, found := range h.sightings.found {
		if !found {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.WorkloadTemplate) int {
		return cmp.Or(strings.Compare(a.APIGroup, b.APIGroup), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Path, b.Path))
	})
	return out
}
