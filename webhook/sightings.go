package webhook

import (
	"maps"
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

// TemplateSightings says of the workload templates that guards name, and of whose kind an object came by since the start,
// whether the path has led to a pod template in any. The pods of objects in which it does not are judged all the same; what
// is lost is that the writer of the object is told.
func (h *Handler) TemplateSightings() map[v1alpha1.WorkloadTemplate]bool {
	h.sightings.mu.Lock()
	defer h.sightings.mu.Unlock()
	return maps.Clone(h.sightings.found)
}
