package hollow

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/saguard/saguard/api/v1alpha1"
	"github.com/saguard/saguard/internal/guard"
	"github.com/saguard/saguard/internal/identity"
)

// GuardModes tells how hard the checks are, by namespace.
type GuardModes struct {
	set *guard.Set
	// namespaces are all there are, by name, with their labels.
	namespaces map[string]map[string]string
	// selective says that some guard selects namespaces by label.
	selective bool
}

// NewGuardModes compiles guards; namespaces are all there are, by name, with their labels.
func NewGuardModes(guards []v1alpha1.ServiceAccountGuard, namespaces map[string]map[string]string) GuardModes {
	set, _ := guard.Compile(guards)
	return GuardModes{set: set, namespaces: namespaces, selective: set.NeedsNamespaceLabels()}
}

// Weakest returns the weakest mode of a check in namespace, or over all namespaces if that is "". kube-system is never guarded and not
// counted. Exemptions are not looked at: who is exempt is written in the guard for all to read. What is not known is Off (fails
// closed: it is reported as open).
func (m *GuardModes) Weakest(check, namespace string) v1alpha1.Mode {
	if namespace != "" {
		labels, ok := m.namespaces[namespace]
		if namespace == metav1.NamespaceSystem || !ok && m.selective {
			return v1alpha1.ModeOff
		}
		return m.mode(check, labels)
	}
	// Namespaces that are made tomorrow have no labels today.
	weakest := m.mode(check, nil)
	for name, labels := range m.namespaces {
		if mode := m.mode(check, labels); name != metav1.NamespaceSystem && v1alpha1.Strictest(mode, weakest) != mode {
			weakest = mode
		}
	}
	return weakest
}

func (m *GuardModes) mode(check string, labels map[string]string) v1alpha1.Mode {
	effective := m.set.ForNamespace("", labels, identity.Subject{})
	switch check {
	case JudgedByConnect:
		return effective.Connect()
	case JudgedByToken:
		return effective.Tokens()
	default:
		return v1alpha1.ModeOff
	}
}
