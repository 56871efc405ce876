package review

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// account is what the log's bodies prove of one service account: all its labels at one resourceVersion.
type account struct {
	version string
	labels  map[string]string
}

type accountBody struct {
	Kind     string `json:"kind"`
	Metadata *struct {
		Labels          map[string]*string `json:"labels"`
		ResourceVersion string             `json:"resourceVersion"`
	} `json:"metadata"`
}

// followLabels follows the labels of service accounts through the bodies, and returns what a request changed as far as its
// bodies tell: with the response's body all of it, with the request's what it names. An old value is given only where the log
// proves it: the account was created, or the write named the resourceVersion that was seen last.
func (b *Builder) followLabels(r *Request, e *auditv1.Event) []LabelChange {
	if r.Object.Resource != "serviceaccounts" || r.Object.Subresource != "" || !isWrite(r.Verb) || !r.Succeeded() {
		return nil
	}
	key := r.Object.Namespace + "/" + r.Object.Name
	before, known := b.accounts[key]
	if r.Verb == "delete" || r.Verb == "deletecollection" {
		delete(b.accounts, key)
		return nil
	}
	after, whole := wholeBody(e.ResponseObject)
	if !whole && (r.Verb == "create" || r.Verb == "update") {
		after, whole = wholeBody(e.RequestObject)
		after.version = "" // the one before the write
	}
	touched, readable := touchedLabels(r.Verb, e)
	if whole {
		b.accounts[key] = after
		if len(b.accounts) > DefaultLimit {
			clear(b.accounts) // what is forgotten is not known, never wrong
		}
	} else {
		delete(b.accounts, key)
	}
	proven := r.Verb == "create" || known && before.version != "" && before.version == namedVersion(e)
	if r.Verb == "create" {
		before = account{}
	}
	if !whole {
		if !readable {
			return nil
		}
		after = account{labels: map[string]string{}}
		for k, v := range touched {
			if v != nil {
				after.labels[k] = *v
			}
		}
	}
	var keys []string
	switch {
	case proven && whole:
		for k := range maps.Keys(merged(before.labels, after.labels)) {
			if before.labels[k] != after.labels[k] || has(before.labels, k) != has(after.labels, k) {
				keys = append(keys, k)
			}
		}
	case readable:
		keys = slices.Collect(maps.Keys(touched))
	}
	slices.Sort(keys)
	var out []LabelChange
	for _, k := range keys {
		c := LabelChange{Request: *r, Namespace: r.Object.Namespace, Account: r.Object.Name, Key: k, Applied: true, FromBody: true, OldUnknown: !proven}
		if v, ok := after.labels[k]; ok {
			c.New = &v
		}
		if v, ok := before.labels[k]; ok && proven {
			c.Old = &v
		}
		out = append(out, c)
	}
	return out
}

func has(m map[string]string, k string) bool { _, ok := m[k]; return ok }

func merged(x, y map[string]string) map[string]string {
	out := maps.Clone(x)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, y)
	return out
}

// wholeBody reads a service account.
func wholeBody(body *runtime.Unknown) (account, bool) {
	var in accountBody
	if body == nil || json.Unmarshal(body.Raw, &in) != nil || in.Kind != "ServiceAccount" || in.Metadata == nil {
		return account{}, false
	}
	out := account{version: in.Metadata.ResourceVersion, labels: map[string]string{}}
	for k, v := range in.Metadata.Labels {
		if v != nil {
			out.labels[k] = *v
		}
	}
	return out, true
}

// namedVersion is the resourceVersion that the request asks to write over; "" if it asks for none.
func namedVersion(e *auditv1.Event) string {
	var in accountBody
	if e.RequestObject == nil || json.Unmarshal(e.RequestObject.Raw, &in) != nil || in.Metadata == nil {
		return ""
	}
	return in.Metadata.ResourceVersion
}

// touchedLabels returns the labels that the request's body names, nil values being taken off. Merge patches, strategic merge
// patches and applied configurations are alike in metadata.labels; a JSON patch is a list. A patch whose effect depends on what
// was there (move, copy, a directive) is not readable.
func touchedLabels(verb string, e *auditv1.Event) (labels map[string]*string, readable bool) {
	if e.RequestObject == nil {
		return nil, false
	}
	raw := e.RequestObject.Raw
	if verb == "patch" && len(raw) > 0 && raw[0] == '[' {
		return touchedByJSONPatch(raw)
	}
	var in struct {
		Metadata struct {
			Labels map[string]*string `json:"labels"`
			Patch  string             `json:"$patch"`
		} `json:"metadata"`
		Patch string `json:"$patch"`
	}
	if json.Unmarshal(raw, &in) != nil || in.Patch != "" || in.Metadata.Patch != "" {
		return nil, false
	}
	for k := range in.Metadata.Labels {
		if strings.HasPrefix(k, "$") {
			return nil, false
		}
	}
	return in.Metadata.Labels, true
}

func touchedByJSONPatch(raw []byte) (map[string]*string, bool) {
	var ops []struct {
		Op, Path string
		Value    json.RawMessage
	}
	if json.Unmarshal(raw, &ops) != nil {
		return nil, false
	}
	out := map[string]*string{}
	for _, op := range ops {
		name, isLabel := strings.CutPrefix(op.Path, "/metadata/labels/")
		switch {
		case op.Op == "test":
		case isLabel && (op.Op == "add" || op.Op == "replace"):
			var v string
			if json.Unmarshal(op.Value, &v) != nil {
				return nil, false
			}
			out[unescapePointer(name)] = &v
		case isLabel && op.Op == "remove":
			out[unescapePointer(name)] = nil
		case op.Path == "" || op.Path == "/metadata" || strings.HasPrefix(op.Path, "/metadata/labels") || op.Op == "move" || op.Op == "copy":
			return nil, false
		}
	}
	return out, true
}

// unescapePointer reads one token of a JSON pointer (RFC 6901, section 4).
func unescapePointer(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
}
