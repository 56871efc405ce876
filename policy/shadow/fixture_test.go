package shadow_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/policy"
)

// decode reads one object of YAML.
func decode(t testing.TB, text string) policy.Object {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	o, err := policy.Decode(raw)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}
