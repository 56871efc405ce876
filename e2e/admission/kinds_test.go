package admission_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/saguard/saguard/webhook"
)

// Every kind that this API server says has a pod spec in it must be one that check account-use knows: a new Kubernetes that
// brings another fails here.
func TestNoKindWithAPodTemplateIsUnknown(t *testing.T) {
	c := client(t, shared.CP.AdminConfig())
	raw, err := c.Discovery().RESTClient().Get().AbsPath("/openapi/v2").SetHeader("Accept", "application/json").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Definitions map[string]json.RawMessage `json:"definitions"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	const podSpec = "io.k8s.api.core.v1.PodSpec"
	reaches := map[string]bool{podSpec: true}
	for grown := true; grown; {
		grown = false
		for name, definition := range doc.Definitions {
			if reaches[name] {
				continue
			}
			for target := range reaches {
				if strings.Contains(string(definition), `"#/definitions/`+target+`"`) {
					reaches[name], grown = true, true
					break
				}
			}
		}
	}
	known := map[string]bool{}
	for _, b := range webhook.BuiltinTemplates() {
		known[b.Group+"/"+b.Kind] = true
	}
	found := 0
	for name := range reaches {
		var d struct {
			GVK []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
		}
		if err := json.Unmarshal(doc.Definitions[name], &d); err != nil {
			t.Fatal(err)
		}
		for _, gvk := range d.GVK {
			if strings.HasSuffix(gvk.Kind, "List") {
				continue
			}
			found++
			if !known[gvk.Group+"/"+gvk.Kind] {
				t.Errorf("kind %s has a pod spec in it, and is in no list of package webhook", fmt.Sprintf("%s/%s %s", gvk.Group, gvk.Version, gvk.Kind))
			}
		}
	}
	if found < 9 {
		t.Errorf("only %d kinds with a pod spec found: the search is broken", found)
	}
}
