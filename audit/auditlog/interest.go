package auditlog

import (
	"bytes"
	"maps"
)

// Interest says which events a reader gives, by resource and verb. It is immutable.
type Interest struct {
	// verbs by "resource" or "resource/subresource"; nil is every verb.
	verbs map[string]map[string]bool
	// resources has the plain resources of verbs.
	resources map[string]bool
}

// Guarded is the interest of a review: what saguard guards, what changes who may do what, and what gets around it. templates
// are further resources (plural names) that run pods, as guards configure them.
func Guarded(templates ...string) *Interest {
	set := func(verbs ...string) map[string]bool {
		out := make(map[string]bool, len(verbs))
		for _, v := range verbs {
			out[v] = true
		}
		return out
	}
	writes := set("create", "update", "patch", "delete", "deletecollection")
	in := &Interest{verbs: map[string]map[string]bool{}, resources: map[string]bool{}}
	for _, r := range append([]string{
		"serviceaccounts", "namespaces", "secrets",
		"deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs", "podtemplates",
		"networkpolicies", "globalnetworkpolicies", "stagednetworkpolicies", "stagedglobalnetworkpolicies",
		"stagedkubernetesnetworkpolicies", "networksets", "globalnetworksets", "hostendpoints", "tiers",
		"serviceaccountguards", "policybands",
		"validatingwebhookconfigurations", "mutatingwebhookconfigurations",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings",
		"roles", "rolebindings", "clusterroles", "clusterrolebindings",
	}, templates...) {
		in.verbs[r] = writes
	}
	in.verbs["pods"] = set("create")
	for _, r := range []string{"serviceaccounts/token", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"} {
		in.verbs[r] = nil
	}
	for r := range maps.Keys(in.verbs) {
		resource, _, _ := bytes.Cut([]byte(r), []byte("/"))
		in.resources[string(resource)] = true
	}
	return in
}

// Wants reports whether events of a verb on RESOURCE or RESOURCE/SUBRESOURCE are given.
func (in *Interest) Wants(resource, subresource, verb string) bool {
	if subresource != "" {
		resource += "/" + subresource
	}
	verbs, known := in.verbs[resource]
	return known && (verbs == nil || verbs[verb])
}

// mayWant decides for a line that was not. It may say yes to what turns out to be of no interest, never no to what is: every
// objectRef in the line is looked at, and one that is not spelled as API servers spell it is a yes. A body may hold an
// objectRef of its own, wherever a shipper has put it; so the first that is of interest counts, and none makes up for it.
func (in *Interest) mayWant(line []byte) bool {
	rest := line
	for {
		i := bytes.Index(rest, []byte(`"objectRef"`))
		if i < 0 {
			return false
		}
		before := line[:len(line)-len(rest)+i]
		rest = rest[i+len(`"objectRef"`):]
		if !bytes.HasPrefix(rest, []byte(`:{"`)) {
			return true
		}
		end := bytes.IndexByte(rest, '}')
		if end < 0 {
			return true
		}
		resource, ok := stringField(rest[:end], `"resource":"`)
		if !ok || bytes.IndexByte(resource, '\\') >= 0 {
			return true
		}
		if in.resources[string(resource)] && !in.onlyRead(string(resource), before, rest[:end]) {
			return true
		}
	}
}

// onlyRead reports that an event is certainly one of no interest by its verb: that is known only where the line is as API
// servers write it, verb before user, user before objectRef, so that what stands before the first objectRef holds nothing
// that a request could have brought in unescaped.
func (in *Interest) onlyRead(resource string, before, ref []byte) bool {
	if !bytes.HasPrefix(before, []byte(`{"kind":"Event","apiVersion":"audit.k8s.io/`)) || bytes.Contains(before, []byte(`Object":`)) {
		return false
	}
	verb, ok := stringField(before, `"verb":"`)
	if !ok || bytes.IndexByte(verb, '\\') >= 0 {
		return false
	}
	subresource, ok := stringField(ref, `"subresource":"`)
	if !ok && bytes.Contains(ref, []byte("subresource")) || bytes.IndexByte(subresource, '\\') >= 0 {
		return false
	}
	return !in.Wants(resource, string(subresource), string(verb))
}

// stringField returns the text between the first key and the next quote.
func stringField(in []byte, key string) ([]byte, bool) {
	i := bytes.Index(in, []byte(key))
	if i < 0 {
		return nil, false
	}
	in = in[i+len(key):]
	end := bytes.IndexByte(in, '"')
	if end < 0 {
		return nil, false
	}
	return in[:end], true
}
