package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	syaml "sigs.k8s.io/yaml"
)

// InstallCRDs applies every CustomResourceDefinition in the *.yaml and *.yml
// files of the tree and waits until each is established and in discovery, so
// that clients and kubectl can use it. A document of another kind, or a tree
// without a definition, is an error and nothing is applied.
func (cp *ControlPlane) InstallCRDs(ctx context.Context, tree fs.FS) error {
	crds, err := readCRDs(tree)
	if err != nil {
		return err
	}
	client, err := clientset.NewForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	for _, crd := range crds {
		options := metav1.PatchOptions{FieldManager: "controlplane", Force: new(true), FieldValidation: metav1.FieldValidationStrict}
		_, err := client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.name, types.ApplyPatchType, crd.json, options)
		if err != nil {
			return fmt.Errorf("apply CustomResourceDefinition %s of %s: %w", crd.name, crd.file, err)
		}
	}
	for _, crd := range crds {
		var last error
		err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
			last = whyNotServed(ctx, client, crd.name)
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait for CustomResourceDefinition %s of %s: %w (last answer: %w)", crd.name, crd.file, context.Cause(ctx), last)
		}
	}
	return nil
}

// crdDocument is one definition as it stands in a file.
type crdDocument struct {
	file string // for messages
	name string
	json []byte
}

func readCRDs(tree fs.FS) ([]crdDocument, error) {
	var crds []crdDocument
	err := fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := path.Ext(file); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		raw, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		found, err := splitCRDs(file, raw)
		crds = append(crds, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read CustomResourceDefinitions: %w", err)
	}
	if len(crds) == 0 {
		return nil, errors.New("read CustomResourceDefinitions: no *.yaml or *.yml file holds one")
	}
	return crds, nil
}

// splitCRDs reads the documents of one file; empty ones are skipped.
func splitCRDs(file string, raw []byte) ([]crdDocument, error) {
	var crds []crdDocument
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return crds, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", file, n, err)
		}
		asJSON, err := syaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", file, n, err)
		}
		if string(asJSON) == "null" {
			continue
		}
		var head metav1.PartialObjectMetadata
		if err := syaml.Unmarshal(asJSON, &head); err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", file, n, err)
		}
		if want := apiextensionsv1.SchemeGroupVersion.String(); head.APIVersion != want || head.Kind != "CustomResourceDefinition" {
			return nil, fmt.Errorf("%s, document %d: is %q %q, not a CustomResourceDefinition of %s", file, n, head.APIVersion, head.Kind, want)
		}
		crds = append(crds, crdDocument{file: file, name: head.Name, json: asJSON})
	}
}

// whyNotServed is nil once the definition is established and each version it
// serves is in discovery. Established comes first, by about a second.
func whyNotServed(ctx context.Context, client *clientset.Clientset, name string) error {
	crd, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	established := false
	for _, condition := range crd.Status.Conditions {
		switch {
		case condition.Type == apiextensionsv1.Established:
			established = condition.Status == apiextensionsv1.ConditionTrue
		case condition.Type == apiextensionsv1.NamesAccepted && condition.Status == apiextensionsv1.ConditionFalse:
			return fmt.Errorf("its names are not accepted: %s", condition.Message)
		}
	}
	if !established {
		return errors.New("not established")
	}
	for _, version := range crd.Spec.Versions {
		if version.Served && !isDiscovered(client, crd, version.Name) {
			return fmt.Errorf("version %s is not in discovery", version.Name)
		}
	}
	return nil
}

func isDiscovered(client *clientset.Clientset, crd *apiextensionsv1.CustomResourceDefinition, version string) bool {
	list, err := client.ServerResourcesForGroupVersion(crd.Spec.Group + "/" + version)
	if err != nil {
		return false // not found while the group is new; await says what is missing
	}
	for _, resource := range list.APIResources {
		if resource.Name == crd.Spec.Names.Plural {
			return true
		}
	}
	return false
}
