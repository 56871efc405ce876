package docs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	calico "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/saguard/saguard/api/v1alpha1"
)

// unknown are kinds whose types are not ours to import: they are only read.
func unknown() []string { return []string{"networking.istio.io/v1alpha3"} }

type manifest struct{ at, text string }

// manifests are the YAML documents of blocks, and those fed to commands.
func manifests(t *testing.T, p *page) []manifest {
	t.Helper()
	var out []manifest
	add := func(at, text string) {
		r := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
		for i := 0; ; i++ {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Errorf("%s: %v", at, err)
				return
			}
			out = append(out, manifest{fmt.Sprintf("%s document %d", at, i+1), string(doc)})
		}
	}
	for _, b := range p.blocks {
		if b.language == "yaml" {
			add(fmt.Sprintf("%s:%d", p.path, b.line), b.text)
		}
	}
	for _, b := range p.shells() {
		s, err := shellParse(p.path, b.text)
		if err != nil {
			continue // TestSaguardCommandsParse says so
		}
		for _, doc := range s.documents {
			add(fmt.Sprintf("%s:%d", p.path, b.line), doc)
		}
	}
	return out
}

// Every manifest has only the fields that its kind has.
func TestManifestsDecodeStrictly(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme, calico.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	decoded := 0
	for _, p := range pages(t) {
		for _, m := range manifests(t, p) {
			var whole any
			if err := yaml.Unmarshal([]byte(m.text), &whole); err != nil {
				t.Errorf("%s: %v", m.at, err)
				continue
			}
			if _, isObject := whole.(map[string]any); !isObject {
				continue // a part of something
			}
			var head metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(m.text), &head); err != nil {
				t.Errorf("%s: %v", m.at, err)
				continue
			}
			if head.Kind == "" || slices.Contains(unknown(), head.APIVersion) {
				continue
			}
			if _, _, err := decoder.Decode([]byte(m.text), nil, nil); err != nil {
				t.Errorf("%s: %v", m.at, err)
				continue
			}
			decoded++
		}
	}
	t.Logf("%d manifests", decoded)
	if decoded == 0 {
		t.Error("no manifest found")
	}
}
