// Command calicocrds turns the CRDs that controller-gen makes of Calico's Go types into those the end-to-end tests install:
// the kinds that saguard reads, in group projectcalico.org/v3 and, with the same schema, in crd.projectcalico.org/v1, where
// Calico's API server stores them.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: calicocrds IN OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "calicocrds:", err)
		os.Exit(1)
	}
}

const (
	groupV3 = "projectcalico.org"
	groupV1 = "crd.projectcalico.org"
)

func run(in, out string) error {
	for _, plural := range []string{
		"networkpolicies", "globalnetworkpolicies", "stagednetworkpolicies", "stagedglobalnetworkpolicies",
		"networksets", "globalnetworksets", "hostendpoints", "tiers",
	} {
		text, err := os.ReadFile(filepath.Join(in, groupV3+"_"+plural+".yaml"))
		if err != nil {
			return fmt.Errorf("read generated CRD: %w", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			return fmt.Errorf("parse CRD of %s: %w", plural, err)
		}
		// Calico's types say this in a marker that controller-gen does not read (genclient:nonNamespaced).
		switch plural {
		case "globalnetworkpolicies", "stagedglobalnetworkpolicies", "globalnetworksets", "hostendpoints", "tiers":
			crd.Spec.Scope = apiextensionsv1.ClusterScoped
		}
		for i := range crd.Spec.Versions {
			intOrStrings(crd.Spec.Versions[i].Schema.OpenAPIV3Schema)
		}
		if err := write(out, crd); err != nil {
			return err
		}
		stored := crd.DeepCopy()
		stored.Name = plural + "." + groupV1
		stored.Spec.Group = groupV1
		for i := range stored.Spec.Versions {
			stored.Spec.Versions[i].Name = "v1"
		}
		if err := write(out, stored); err != nil {
			return err
		}
	}
	return nil
}

// intOrStrings makes ports and protocols what users write, a number or a text. Their Go types are structs with JSON methods of
// their own (github.com/projectcalico/api/pkg/lib/numorstring), which controller-gen cannot know.
func intOrStrings(schema *apiextensionsv1.JSONSchemaProps) {
	_, port := schema.Properties["portName"]
	_, numOrString := schema.Properties["numVal"]
	if port || numOrString {
		*schema = apiextensionsv1.JSONSchemaProps{
			Description:  schema.Description,
			AnyOf:        []apiextensionsv1.JSONSchemaProps{{Type: "integer"}, {Type: "string"}},
			XIntOrString: true,
		}
		return
	}
	for name, property := range schema.Properties {
		intOrStrings(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		intOrStrings(schema.Items.Schema)
	}
}

func write(dir string, crd *apiextensionsv1.CustomResourceDefinition) error {
	text, err := yaml.Marshal(crd)
	if err != nil {
		return fmt.Errorf("encode CRD %s: %w", crd.Name, err)
	}
	name := filepath.Join(dir, crd.Spec.Group+"_"+crd.Spec.Names.Plural+".yaml")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return fmt.Errorf("write CRD: %w", err)
	}
	return nil
}
