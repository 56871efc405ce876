package guard

import (
	"github.com/saguard/saguard/api/v1alpha1"
)

// Effective is what holds for one subject in one place: the strictest of all guards that match. The zero value guards nothing.
type Effective struct {
	guards []*compiled
	// policyKeys are the Set's; nil if there is no guard. namespace and everywhere say where they count.
	policyKeys *policyKeys
	namespace  string
	everywhere bool
	// ExemptFrom names the guards that would hold but exempt the subject, sorted.
	ExemptFrom []string
}

// Guards returns the names of the guards that hold, sorted.
func (e Effective) Guards() []string {
	names := make([]string, len(e.guards))
	for i, c := range e.guards {
		names[i] = c.name
	}
	return names
}

// ExemptsGroups reports whether a guard that holds exempts the members of some group.
func (e Effective) ExemptsGroups() bool {
	for _, c := range e.guards {
		if len(c.spec.Exempt.Groups) > 0 {
			return true
		}
	}
	return false
}

// LabelMode returns the mode of check label-use for a service-account label key; Off where no guard guards the key.
func (e Effective) LabelMode(key string) v1alpha1.Mode {
	mode := v1alpha1.ModeOff
	for _, c := range e.guards {
		if c.keys.has(key) || c.fromPolicies && e.policyKeys.has(e.namespace, e.everywhere, key) {
			mode = v1alpha1.Strictest(mode, c.spec.Labels.Mode)
		}
	}
	return mode
}

// FromPolicies reports whether what is guarded depends on the policies there are.
func (e Effective) FromPolicies() bool {
	for _, c := range e.guards {
		if c.spec.Labels != nil && c.spec.Labels.FromPolicies {
			return true
		}
	}
	return false
}

// Workloads returns the mode of check account-use.
func (e Effective) Workloads() v1alpha1.Mode {
	return e.strictest(func(s *v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode {
		if s.Workloads == nil {
			return v1alpha1.ModeOff
		}
		return s.Workloads.Mode
	})
}

// Connect returns the mode of check account-connect.
func (e Effective) Connect() v1alpha1.Mode {
	return e.strictest(func(s *v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode {
		if s.Workloads == nil {
			return v1alpha1.ModeOff
		}
		return s.Workloads.Connect
	})
}

// Tokens returns the mode of check account-token.
func (e Effective) Tokens() v1alpha1.Mode {
	return e.strictest(func(s *v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode {
		if s.Workloads == nil {
			return v1alpha1.ModeOff
		}
		return s.Workloads.Tokens
	})
}

// Templates returns the pod templates of custom kinds that the guards name, in the guards' order.
func (e Effective) Templates() []v1alpha1.WorkloadTemplate {
	var out []v1alpha1.WorkloadTemplate
	for _, c := range e.guards {
		if c.spec.Workloads != nil {
			out = append(out, c.spec.Workloads.Templates...)
		}
	}
	return out
}

// References returns the mode of check policy-reference.
func (e Effective) References() v1alpha1.Mode {
	return e.policies(func(p *v1alpha1.PolicyGuard) v1alpha1.Mode { return p.References })
}

// Precedence returns the mode of check policy-precedence.
func (e Effective) Precedence() v1alpha1.Mode {
	return e.policies(func(p *v1alpha1.PolicyGuard) v1alpha1.Mode { return p.Precedence })
}

// Hygiene returns the mode of checks policy-hygiene and reserved-label.
func (e Effective) Hygiene() v1alpha1.Mode {
	return e.policies(func(p *v1alpha1.PolicyGuard) v1alpha1.Mode { return p.Hygiene })
}

func (e Effective) policies(get func(*v1alpha1.PolicyGuard) v1alpha1.Mode) v1alpha1.Mode {
	return e.strictest(func(s *v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode {
		if s.Policies == nil {
			return v1alpha1.ModeOff
		}
		return get(s.Policies)
	})
}

// DefaultBindings returns the mode of check default-binding.
func (e Effective) DefaultBindings() v1alpha1.Mode {
	return e.strictest(func(s *v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode {
		if s.DefaultAccount == nil {
			return v1alpha1.ModeOff
		}
		return s.DefaultAccount.Bindings
	})
}

// DisableTokenMount reports whether accounts named "default" are not to mount their token.
func (e Effective) DisableTokenMount() bool {
	for _, c := range e.guards {
		if c.spec.DefaultAccount != nil && c.spec.DefaultAccount.DisableTokenMount {
			return true
		}
	}
	return false
}

func (e Effective) strictest(get func(*v1alpha1.ServiceAccountGuardSpec) v1alpha1.Mode) v1alpha1.Mode {
	mode := v1alpha1.ModeOff
	for _, c := range e.guards {
		mode = v1alpha1.Strictest(mode, get(c.spec))
	}
	return mode
}
