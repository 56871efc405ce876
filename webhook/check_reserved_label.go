package webhook

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/saguard/saguard/api/v1alpha1"
)

// CheckReservedLabel is the ID of check reserved-label: nobody may write the labels that Calico itself derives from service
// accounts and namespaces, because a policy's selector cannot tell a written one from a derived one. A label that is there
// and stays as it is passes; taking one off does too.
const CheckReservedLabel = "reserved-label"

func reservedLabel() Check { return Check{ID: CheckReservedLabel, Run: runReservedLabel} }

const ruleReserved = "policies take labels of this name for what Calico derives from service accounts and namespaces, so nobody may write them"

func runReservedLabel(f *Facts) ([]Finding, error) {
	mode := f.Guards.Hygiene()
	if mode == v1alpha1.ModeOff {
		return nil, nil
	}
	out := reservedFindings(mode, nil, f.Account.labels(), f.OldAccount.labels())
	out = append(out, reservedFindings(mode, nil, f.NamespaceObject.labels(), f.OldNamespaceObject.labels())...)
	out = append(out, reservedFindings(mode, nil, f.Relabelled.labels(), f.OldRelabelled.labels())...)
	out = append(out, reservedOfEndpoints(f, mode)...)
	if f.FromTemplate {
		return out, nil
	}
	for i := range f.Templates {
		switch t := &f.Templates[i]; {
		case t.unreadable != nil:
			out = append(out, unreadable(f, mode, t))
		case t.was == nil:
			out = append(out, reservedFindings(mode, t.path, t.now.Metadata.Labels, nil)...)
		default:
			out = append(out, reservedFindings(mode, t.path, t.now.Metadata.Labels, t.was.Metadata.Labels)...)
		}
	}
	return out, nil
}

// reservedFindings returns the reserved labels that are new or have a new value, sorted by key.
func reservedFindings(mode v1alpha1.Mode, at *field.Path, now, was map[string]string) []Finding {
	var keys []string
	for key, v := range now {
		if !isReservedLabel(key) {
			continue
		}
		if old, had := was[key]; !had || old != v {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var out []Finding
	for _, key := range keys {
		out = append(out, Finding{Mode: mode, Field: labelsPath(at).Key(key), Attempt: "write label " + key + "=" + now[key], Rule: ruleReserved})
	}
	return out
}

// isReservedLabel: the prefixes and keys under which Calico puts the labels and names of accounts and namespaces on its
// endpoints (libcalico-go conversion; projectcalico/api constants). Label keys are case-sensitive.
func isReservedLabel(key string) bool {
	if strings.HasPrefix(key, "pcsa.") || strings.HasPrefix(key, "pcns.") {
		return true
	}
	switch key {
	case "projectcalico.org/serviceaccount", "projectcalico.org/namespace", "projectcalico.org/name", "projectcalico.org/orchestrator":
		return true
	default:
		return false
	}
}
