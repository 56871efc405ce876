package release

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

const valuesFile = "values.yaml"

// chartFacts are what the chart says of the project, for the artefacts that have to say it, too.
type chartFacts struct{ home, description string }

func loadChart(s Source) (*helmchart.Chart, chartFacts, error) {
	c, err := loader.LoadDir(filepath.Join(s.Dir, "charts", "saguard"))
	if err != nil {
		return nil, chartFacts{}, fmt.Errorf("load chart: %w", err)
	}
	facts := chartFacts{home: c.Metadata.Home, description: c.Metadata.Description}
	if facts.home == "" || facts.description == "" {
		return nil, facts, errors.New("load chart: Chart.yaml has no home or no description")
	}
	return c, facts, nil
}

// chartName is the file name that Helm gives the package.
func chartName(s Source) string { return "saguard-" + s.Number() + ".tgz" }

// packageChart is the chart as `helm package --version --app-version` makes it, at the commit's time, with each image by its digest.
// Digests maps the key of values.yaml to the image's.
func packageChart(s Source, c *helmchart.Chart, digests map[string]string) (data []byte, err error) {
	c.Metadata.Version, c.Metadata.AppVersion = s.Number(), s.Number()
	for _, file := range c.Raw {
		if file.Name != valuesFile {
			continue
		}
		for value, digest := range digests {
			if file.Data, err = setEmpty(file.Data, digest, value, "image", "digest"); err != nil {
				return nil, fmt.Errorf("write digest into chart: %w", err)
			}
		}
	}
	dir, err := os.MkdirTemp("", "saguard-chart-")
	if err != nil {
		return nil, fmt.Errorf("package chart: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	saved, err := chartutil.Save(c, dir)
	if err != nil {
		return nil, fmt.Errorf("package chart: %w", err)
	}
	if data, err = os.ReadFile(saved); err != nil {
		return nil, fmt.Errorf("package chart: %w", err)
	}
	// Helm writes the time of packaging into every entry.
	files, err := unpackAll(saved, data)
	if err != nil {
		return nil, fmt.Errorf("package chart: %w", err)
	}
	return tarGz(files, s.time())
}

// setEmpty replaces the empty string at a path of a YAML text and leaves everything else, comments included, as it is.
func setEmpty(text []byte, value string, path ...string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("%s: the document is empty", strings.Join(path, "."))
	}
	node := document.Content[0]
	for _, key := range path {
		if node = child(node, key); node == nil {
			return nil, fmt.Errorf("%s: there is no such value", strings.Join(path, "."))
		}
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	line, column := lines[node.Line-1], node.Column-1
	if node.Kind != yaml.ScalarNode || node.Value != "" || !bytes.HasPrefix(line[column:], []byte(`""`)) {
		return nil, fmt.Errorf("%s: line %d: want \"\"", strings.Join(path, "."), node.Line)
	}
	lines[node.Line-1] = bytes.Join([][]byte{line[:column], []byte(value), line[column+2:]}, nil)
	return bytes.Join(lines, nil), nil
}

func child(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Kind == yaml.MappingNode && node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}
