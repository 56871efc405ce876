package chart

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
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

	// Live lets the templates' lookups find namespaces, as `helm install` does and `helm template` does not: the chart's hooks
	// are rendered only then.
	Live bool
	// APIs that the cluster serves beside Kubernetes' own, as group/version/Kind.
	APIs []string
	// Upgrade renders for a release that exists.
	Upgrade bool
	// Uninstall gives the objects in the order in which Helm deletes them, without those that it keeps.
	Uninstall bool

	// cluster answers the templates' lookups in the place of Live's; nil finds nothing else.
	cluster engine.ClientProvider
}

// LowestKubeVersion is the oldest Kubernetes that the chart supports (kubeVersion of Chart.yaml).
const LowestKubeVersion = "v1.30.0"

// Rendered is a chart with its values filled in.
type Rendered struct {
	// Objects in the order in which Helm installs them, or deletes them.
	Objects []*unstructured.Unstructured
	// Hooks are objects that only a Helm client makes, at the time that their annotation helm.sh/hook says, by weight.
	Hooks []*unstructured.Unstructured
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
	capabilities.APIVersions = append(capabilities.APIVersions[:len(capabilities.APIVersions):len(capabilities.APIVersions)], o.APIs...)
	if want := loaded.Metadata.KubeVersion; !chartutil.IsCompatibleRange(want, version.String()) {
		return nil, fmt.Errorf("chart %s needs Kubernetes %s, not %s", loaded.Name(), want, version)
	}
	all, err := chartutil.ToRenderValues(loaded, values, chartutil.ReleaseOptions{
		Name: or(o.Release, "saguard"), Namespace: or(o.Namespace, "saguard-system"), Revision: 1,
		IsInstall: !o.Upgrade, IsUpgrade: o.Upgrade,
	}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("check values: %w", err)
	}
	render := engine.Engine{Strict: true}.Render
	if o.cluster == nil && o.Live {
		o.cluster = emptyCluster()
	}
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
	order := releaseutil.InstallOrder
	if o.Uninstall {
		order = releaseutil.UninstallOrder
	}
	hooks, manifests, err := releaseutil.SortManifests(files, capabilities.APIVersions, order)
	if err != nil {
		return nil, fmt.Errorf("split manifests: %w", err)
	}
	slices.SortStableFunc(hooks, func(a, b *release.Hook) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), strings.Compare(a.Path, b.Path))
	})
	for _, hook := range hooks {
		object, err := decode(hook.Manifest)
		if err != nil {
			return nil, fmt.Errorf("decode hook of %s: %w", hook.Path, err)
		}
		rendered.Hooks = append(rendered.Hooks, object)
	}
	for _, manifest := range manifests {
		object, err := decode(manifest.Content)
		if err != nil {
			return nil, fmt.Errorf("decode manifest of %s: %w", manifest.Name, err)
		}
		if o.Uninstall && object.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
			continue
		}
		rendered.Objects = append(rendered.Objects, object)
	}
	return rendered, nil
}

// YAML is every object but the hooks as one stream that kubectl applies.
func (r *Rendered) YAML() ([]byte, error) { return marshal(r.Objects) }

// HooksYAML is every hook as one stream.
func (r *Rendered) HooksYAML() ([]byte, error) { return marshal(r.Hooks) }

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
