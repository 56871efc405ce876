package chart

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Options is what Helm knows beside the chart and its values.
type Options struct {
	// Release is the release's name; by default "saguard".
	Release string
	// Namespace of the release; by default "saguard-system".
	Namespace string
	// KubeVersion is the version the cluster has, such as "v1.36.3"; by default the lowest that the chart supports.
	KubeVersion string

	// cluster answers the templates' lookups; nil finds nothing, as a first installation does.
	cluster engine.ClientProvider
}

// LowestKubeVersion is the oldest Kubernetes that the chart supports (kubeVersion of Chart.yaml).
const LowestKubeVersion = "v1.30.0"

// Rendered is a chart with its values filled in.
type Rendered struct {
	// Objects in the order in which Helm installs them.
	Objects []*unstructured.Unstructured
	// Notes is what Helm prints after an installation.
	Notes string
}

// Render renders the chart in dir as an installation would, without a cluster: values are laid over the chart's defaults
// and checked against its schema, and a template that reads a value nobody gave is an error.
func Render(dir string, values map[string]any, o Options) (*Rendered, error) {
	loaded, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(or(o.KubeVersion, LowestKubeVersion))
	if err != nil {
		return nil, fmt.Errorf("parse Kubernetes version %q: %w", o.KubeVersion, err)
	}
	capabilities.KubeVersion = *version
	if want := loaded.Metadata.KubeVersion; !chartutil.IsCompatibleRange(want, version.String()) {
		return nil, fmt.Errorf("chart %s needs Kubernetes %s, not %s", loaded.Name(), want, version)
	}
	all, err := chartutil.ToRenderValues(loaded, values, chartutil.ReleaseOptions{
		Name: or(o.Release, "saguard"), Namespace: or(o.Namespace, "saguard-system"), Revision: 1, IsInstall: true,
	}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("check values: %w", err)
	}
	render := engine.Engine{Strict: true}.Render
	if o.cluster != nil {
		render = func(c *helmchart.Chart, v chartutil.Values) (map[string]string, error) {
			return engine.RenderWithClientProvider(c, v, o.cluster)
		}
	}
	files, err := render(loaded, all)
	if err != nil {
		return nil, fmt.Errorf("render templates: %w", err)
	}

	rendered := &Rendered{}
	for name, text := range files {
		if path.Base(name) == "NOTES.txt" {
			rendered.Notes = text
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("split manifests: %w", err)
	}
	if len(hooks) > 0 {
		return nil, errors.New("split manifests: the chart has hooks, which only a Helm client runs")
	}
	for _, manifest := range manifests {
		object, err := decode(manifest.Content)
		if err != nil {
			return nil, fmt.Errorf("decode manifest of %s: %w", manifest.Name, err)
		}
		rendered.Objects = append(rendered.Objects, object)
	}
	return rendered, nil
}

// YAML is every object as one stream that kubectl applies.
func (r *Rendered) YAML() ([]byte, error) { return marshal(r.Objects) }

func marshal(objects []*unstructured.Unstructured) ([]byte, error) {
	var out bytes.Buffer
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	return out.Bytes(), nil
}

// decode refuses a key that stands twice, of which YAML parsers keep one silently.
func decode(manifest string) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSONStrict([]byte(manifest))
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	return object, nil
}

func or(value, fallback string) string {
	if strings.TrimSpace(value) == "" {
		return fallback
	}
	return value
}
