package release

import (
	"strings"
	"testing"
)

func TestKrewManifestsAreHeldToKrewsRules(t *testing.T) {
	valid := func() Plugin {
		return Plugin{
			APIVersion: krewAPIVersion, Kind: krewKind, Metadata: PluginMetadata{Name: krewName},
			Spec: PluginSpec{Version: "v1.0.0", ShortDescription: "short", Platforms: []PluginPlatform{{
				Selector: PluginSelector{MatchLabels: map[string]string{"os": "linux", "arch": "amd64"}},
				URI:      "https://example.com/a.tar.gz", SHA256: strings.Repeat("a", 64), Bin: "kubectl-saguard",
				Files: []PluginFile{{From: "kubectl-saguard", To: "."}},
			}}},
		}
	}
	if err := valid().check(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Plugin){
		"another kind":             func(p *Plugin) { p.Kind = "Receipt" },
		"another version of krew":  func(p *Plugin) { p.APIVersion = "v1" },
		"another name":             func(p *Plugin) { p.Metadata.Name = "other" },
		"a version without v":      func(p *Plugin) { p.Spec.Version = "1.0.0" },
		"no description":           func(p *Plugin) { p.Spec.ShortDescription = "" },
		"two lines of description": func(p *Plugin) { p.Spec.ShortDescription = "a\nb" },
		"a long description":       func(p *Plugin) { p.Spec.ShortDescription = strings.Repeat("a", maxShortDescription+1) },
		"no platform":              func(p *Plugin) { p.Spec.Platforms = nil },
		"plain http":               func(p *Plugin) { p.Spec.Platforms[0].URI = "http://example.com/a.tar.gz" },
		"no sum":                   func(p *Plugin) { p.Spec.Platforms[0].SHA256 = "" },
		"a sum in capital letters": func(p *Plugin) { p.Spec.Platforms[0].SHA256 = strings.Repeat("A", 64) },
		"no program":               func(p *Plugin) { p.Spec.Platforms[0].Bin = "" },
		"no platform's name":       func(p *Plugin) { delete(p.Spec.Platforms[0].Selector.MatchLabels, "os") },
		"a label krew does not know": func(p *Plugin) {
			p.Spec.Platforms[0].Selector.MatchLabels["libc"] = "musl"
		},
		"a file without destination": func(p *Plugin) { p.Spec.Platforms[0].Files[0].To = "" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			p := valid()
			change(&p)
			if err := p.check(); err == nil {
				t.Errorf("accepted: %+v", p)
			}
		})
	}
}
