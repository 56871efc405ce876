package hygiene

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// API versions that hold the policies: the one users write, and Calico's store.
const (
	apiVersionV3  = v3.GroupVersionCurrent
	apiVersionCRD = GroupCRD + "/v1"
)

// Validate decodes a policy object from JSON and checks it. Decoding is strict:
// unknown and repeated fields are errors, because what Calico does not read,
// the author believes in. A top-level status is not looked at.
func Validate(raw []byte, sem Semantics) field.ErrorList {
	obj, errs := Decode(raw)
	if obj == nil {
		return errs
	}
	return append(errs, Check(obj, sem)...)
}

// Decode returns the typed object, nil if there is none, and all fields that do
// not fit into it with their paths. An object with errors is not complete.
func Decode(raw []byte) (metav1.Object, field.ErrorList) {
	var t metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &t); err != nil {
		return nil, misfits(nil, raw, reflect.TypeFor[metav1.TypeMeta]())
	}
	if t.APIVersion != apiVersionV3 && t.APIVersion != apiVersionCRD {
		return nil, field.ErrorList{
			field.NotSupported(field.NewPath("apiVersion"), brief(t.APIVersion), []string{apiVersionV3, apiVersionCRD}),
		}
	}
	switch t.Kind {
	case v3.KindNetworkPolicy:
		into := &document[v3.NetworkPolicySpec]{}
		errs := into.decode(raw)
		return &v3.NetworkPolicy{TypeMeta: t, ObjectMeta: into.ObjectMeta, Spec: into.Spec}, errs
	case v3.KindGlobalNetworkPolicy:
		into := &document[v3.GlobalNetworkPolicySpec]{}
		errs := into.decode(raw)
		return &v3.GlobalNetworkPolicy{TypeMeta: t, ObjectMeta: into.ObjectMeta, Spec: into.Spec}, errs
	case v3.KindStagedNetworkPolicy:
		into := &document[v3.StagedNetworkPolicySpec]{}
		errs := into.decode(raw)
		return &v3.StagedNetworkPolicy{TypeMeta: t, ObjectMeta: into.ObjectMeta, Spec: into.Spec}, errs
	case v3.KindStagedGlobalNetworkPolicy:
		into := &document[v3.StagedGlobalNetworkPolicySpec]{}
		errs := into.decode(raw)
		return &v3.StagedGlobalNetworkPolicy{TypeMeta: t, ObjectMeta: into.ObjectMeta, Spec: into.Spec}, errs
	}
	return nil, field.ErrorList{field.NotSupported(field.NewPath("kind"), brief(t.Kind), policyKinds())}
}

// document has the status that newer versions of Calico write and the v3 types
// used here do not know.
type document[Spec any] struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              Spec            `json:"spec"`
	Status            json.RawMessage `json:"status"`
}

func (d *document[Spec]) decode(raw []byte) field.ErrorList {
	unknown, err := kjson.UnmarshalStrict(raw, d)
	var errs field.ErrorList
	if err != nil {
		// The decoder stops at the first value of a wrong type, without its index.
		errs = misfits(nil, raw, reflect.TypeFor[document[Spec]]())
		if len(errs) == 0 { // fails closed
			errs = field.ErrorList{invalid(nil, "", err.Error())}
		}
	}
	for _, u := range unknown {
		var at kjson.FieldError
		if !errors.As(u, &at) {
			errs = append(errs, invalid(nil, "", u.Error()))
			continue
		}
		what := "no such field"
		if strings.HasPrefix(u.Error(), "duplicate") {
			what = "given twice"
		}
		errs = append(errs, field.Forbidden(parsePath(at.FieldPath()), what))
	}
	return errs
}

// misfits returns an error for each smallest part of raw that does not decode
// into type t. It looks only into what does not, so its cost is linear in raw
// for each level of the type.
func misfits(path *field.Path, raw []byte, t reflect.Type) field.ErrorList {
	into := reflect.New(t)
	err := kjson.UnmarshalCaseSensitivePreserveInts(raw, into.Interface())
	if err == nil {
		return nil
	}
	var errs field.ErrorList
	if _, own := into.Interface().(json.Unmarshaler); !own {
		errs = misfitsInside(path, raw, t)
	}
	if len(errs) == 0 {
		errs = field.ErrorList{invalid(path, brief(string(raw)), why(err, t))}
	}
	return errs
}

func misfitsInside(path *field.Path, raw []byte, t reflect.Type) field.ErrorList {
	var errs field.ErrorList
	switch t.Kind() {
	case reflect.Pointer:
		return misfits(path, raw, t.Elem())
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) == nil {
			for i, e := range elements {
				errs = append(errs, misfits(path.Index(i), e, t.Elem())...)
			}
		}
	case reflect.Map:
		var values map[string]json.RawMessage
		if json.Unmarshal(raw, &values) == nil {
			for _, k := range sortedKeys(values) {
				errs = append(errs, misfits(path.Key(k), values[k], t.Elem())...)
			}
		}
	case reflect.Struct:
		var values map[string]json.RawMessage
		if json.Unmarshal(raw, &values) != nil {
			return nil
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && name == "" {
				errs = append(errs, misfits(path, raw, f.Type)...)
			} else if v, ok := values[name]; ok {
				errs = append(errs, misfits(path.Child(name), v, f.Type)...)
			}
		}
	default:
	}
	return errs
}

// invalid is field.Invalid that spells the path of the whole object "".
func invalid(path *field.Path, value, detail string) *field.Error {
	e := field.Invalid(path, value, detail)
	if path == nil {
		e.Field = ""
	}
	return e
}

// why words an error of the decoder without naming Go types.
func why(err error, t reflect.Type) string {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) && !strings.Contains(err.Error(), "cannot unmarshal") {
		return err.Error()
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		return "must be a list"
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return "must be a number in range or a string"
		}
		return "must be an object"
	case reflect.Map:
		return "must be an object"
	case reflect.String:
		return "must be a string"
	case reflect.Bool:
		return "must be true or false"
	default:
		return "must be a number in range"
	}
}

// parsePath turns the decoder's "spec.ingress[0].foo" into a field path.
func parsePath(s string) *field.Path {
	var path *field.Path
	for _, part := range strings.Split(s, ".") {
		name, rest, indexed := strings.Cut(part, "[")
		path = path.Child(name)
		for indexed {
			var index string
			index, rest, _ = strings.Cut(rest, "]")
			if i, err := strconv.Atoi(index); err == nil {
				path = path.Index(i)
			} else {
				path = path.Key(index)
			}
			_, rest, indexed = strings.Cut(rest, "[")
		}
	}
	return path
}
