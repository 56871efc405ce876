package release

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"
	"sigs.k8s.io/yaml"
)

// Plugin is a manifest of krew, as its index holds them (krew.googlecontainertools.github.com/v1alpha2, kind Plugin).
type Plugin struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   PluginMetadata `json:"metadata"`
	Spec       PluginSpec     `json:"spec"`
}

// PluginMetadata names the plugin: `kubectl krew install NAME`.
type PluginMetadata struct {
	Name string `json:"name"`
}

// PluginSpec is what krew shows and where it finds the plugin.
type PluginSpec struct {
	Version          string           `json:"version"`
	ShortDescription string           `json:"shortDescription"`
	Description      string           `json:"description,omitempty"`
	Homepage         string           `json:"homepage,omitempty"`
	Platforms        []PluginPlatform `json:"platforms"`
}

// PluginPlatform is one archive. Files and Bin are paths inside it.
type PluginPlatform struct {
	Selector PluginSelector `json:"selector"`
	URI      string         `json:"uri"`
	SHA256   string         `json:"sha256"`
	Bin      string         `json:"bin"`
	Files    []PluginFile   `json:"files,omitempty"`
}

// PluginSelector chooses the platform by the labels os and arch.
type PluginSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// PluginFile is one file that krew keeps.
type PluginFile struct {
	From string `json:"from"`
	To   string `json:"to"`
}

const (
	krewFile       = "saguard.yaml"
	krewAPIVersion = "krew.googlecontainertools.github.com/v1alpha2"
	krewKind       = "Plugin"
	krewName       = "saguard"
	krewProgram    = "kubectl-saguard"
	// maxShortDescription is what krew's reviewers ask for.
	maxShortDescription = 50
)

var sha256Pattern = regexp.MustCompile(`^[a-f0-9]{64}$`)

// krewManifest is the manifest of the plugin. Sums maps names of archives to their SHA-256, and base is the URL of the folder that
// holds them.
func krewManifest(s Source, p Program, c chartFacts, base string, sums map[string]string) ([]byte, error) {
	plugin := Plugin{
		APIVersion: krewAPIVersion, Kind: krewKind, Metadata: PluginMetadata{Name: krewName},
		Spec: PluginSpec{
			Version: s.Version, Homepage: c.home,
			ShortDescription: "Check, explain, review use of service accounts",
			Description: "Says who may use which service account and label by RBAC, checks manifests as the admission webhook of saguard\n" +
				"does, explains verdicts of network policy and reviews audit logs. The offline commands need no cluster.\n",
		},
	}
	for _, t := range p.Targets {
		name := p.archive(s, t)
		plugin.Spec.Platforms = append(plugin.Spec.Platforms, PluginPlatform{
			Selector: PluginSelector{MatchLabels: map[string]string{"os": t.OS, "arch": t.Arch}},
			URI:      strings.TrimSuffix(base, "/") + "/" + name, SHA256: sums[name], Bin: p.binary(t),
			Files: []PluginFile{{p.binary(t), "."}, {licenseFile, "."}, {noticesFile, "."}},
		})
	}
	if err := plugin.check(); err != nil {
		return nil, err
	}
	return yaml.Marshal(plugin)
}

// check holds the manifest to the rules by which krew refuses one (internal/index/validation of sigs.k8s.io/krew).
func (p Plugin) check() error {
	switch {
	case p.APIVersion != krewAPIVersion || p.Kind != krewKind || p.Metadata.Name != krewName:
		return fmt.Errorf("krew manifest: %s %s %s: want %s %s %s", p.APIVersion, p.Kind, p.Metadata.Name, krewAPIVersion, krewKind, krewName)
	case !semver.IsValid(p.Spec.Version):
		return fmt.Errorf("krew manifest: version %q: want a semantic version with a leading v", p.Spec.Version)
	case p.Spec.ShortDescription == "" || len(p.Spec.ShortDescription) > maxShortDescription || strings.ContainsAny(p.Spec.ShortDescription, "\r\n"):
		return fmt.Errorf("krew manifest: shortDescription: want one line of at most %d bytes", maxShortDescription)
	case len(p.Spec.Platforms) == 0:
		return errors.New("krew manifest: no platform")
	}
	for i, platform := range p.Spec.Platforms {
		if err := platform.check(); err != nil {
			return fmt.Errorf("krew manifest: platform %d: %w", i, err)
		}
	}
	return nil
}

func (p PluginPlatform) check() error {
	if !strings.HasPrefix(p.URI, "https://") {
		return fmt.Errorf("uri %q: want https", p.URI)
	}
	if !sha256Pattern.MatchString(p.SHA256) {
		return fmt.Errorf("sha256 %q: want 64 hexadecimal digits", p.SHA256)
	}
	if p.Bin == "" || p.Selector.MatchLabels["os"] == "" || p.Selector.MatchLabels["arch"] == "" || len(p.Selector.MatchLabels) != 2 {
		return errors.New("want bin, and the labels os and arch")
	}
	for _, file := range p.Files {
		if file.From == "" || file.To == "" {
			return errors.New("files: want from and to")
		}
	}
	return nil
}
