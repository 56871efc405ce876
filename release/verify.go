package release

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// Verify reads a folder that Make filled and compares each artefact with the others: the sums list every file and nothing
// else, binaries are static and built as they say, bills of materials name what is linked, images hold the archives' binaries, the chart names
// the images' digests, the manifest of krew the archives' sums. All problems are joined.
func Verify(dir string, programs []Program) error {
	files, err := verifySums(dir)
	if err != nil {
		return err
	}
	var summary Summary
	if err := json.Unmarshal(files[summaryFile], &summary); err != nil {
		return fmt.Errorf("%s: %w", summaryFile, err)
	}
	s := Source{Dir: dir, Version: summary.Version, Commit: summary.Commit, Time: summary.Created}
	if err := s.check(); err != nil {
		return fmt.Errorf("%s: %w", summaryFile, err)
	}
	v := &verifier{source: s, files: files, summary: summary, binaries: map[string][]byte{}}
	v.names(programs)
	for _, p := range programs {
		for _, t := range p.Targets {
			v.note(p.archive(s, t), v.archive(p, t))
			v.note(p.sbom(s, t), v.sbom(p, t))
		}
		if p.Image != nil {
			v.note(p.layout(s), v.image(p))
		}
		if p.Name == krewProgram {
			v.note(krewFile, v.krew(p))
		}
	}
	v.note(chartName(s), v.chart(programs))
	return errors.Join(v.problems...)
}

type verifier struct {
	source   Source
	files    map[string][]byte
	summary  Summary
	binaries map[string][]byte // by the archive's name
	problems []error
}

func (v *verifier) note(name string, err error) {
	if err != nil {
		v.problems = append(v.problems, fmt.Errorf("%s: %w", name, err))
	}
}

// names compares the files that are there with those that there should be.
func (v *verifier) names(programs []Program) {
	want := map[string]bool{summaryFile: true, chartName(v.source): true}
	for _, p := range programs {
		for _, t := range p.Targets {
			want[p.archive(v.source, t)], want[p.sbom(v.source, t)] = true, true
		}
		if p.Image != nil {
			want[p.layout(v.source)] = true
		}
		if p.Name == krewProgram {
			want[krewFile] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := v.files[name]; !ok {
			v.note(name, errors.New("missing"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		if !want[name] {
			v.note(name, errors.New("unknown"))
		}
	}
}

func (v *verifier) archive(p Program, t Target) error {
	name := p.archive(v.source, t)
	files, err := unpackAll(name, v.files[name])
	if err != nil {
		return err
	}
	var names []string
	for _, file := range files {
		names = append(names, file.name)
	}
	if want := []string{p.binary(t), licenseFile, noticesFile}; !slices.Equal(names, want) {
		return fmt.Errorf("it holds %q, want %q", names, want)
	}
	if files[0].mode.Perm() != 0o755 {
		return fmt.Errorf("%s has mode %o", files[0].name, files[0].mode.Perm())
	}
	v.binaries[name] = files[0].data
	info, err := buildinfo.Read(bytes.NewReader(files[0].data))
	if err != nil {
		return err
	}
	for _, m := range modules(info) {
		if !bytes.Contains(files[2].data, []byte("==== "+m.Path+" "+m.Version+": ")) {
			return fmt.Errorf("%s says nothing of %s %s", noticesFile, m.Path, m.Version)
		}
	}
	return v.binary(p, t, info, files[0].data)
}

// binary checks how a binary was built, by what the Go command wrote into it.
func (v *verifier) binary(p Program, t Target, info *debug.BuildInfo, data []byte) error {
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	want := map[string]string{"CGO_ENABLED": "0", "GOOS": t.OS, "GOARCH": t.Arch, "-trimpath": "true"}
	for key, value := range want {
		if settings[key] != value {
			return fmt.Errorf("built with %s=%q, want %q", key, settings[key], value)
		}
	}
	if !strings.HasSuffix(info.Path, "/cmd/"+p.Name) || info.GoVersion != v.summary.Go {
		return fmt.Errorf("built from %s by %s, want cmd/%s by %s", info.Path, info.GoVersion, p.Name, v.summary.Go)
	}
	if !bytes.Contains(data, []byte(v.source.Version)) {
		return fmt.Errorf("it does not know its version %s", v.source.Version)
	}
	if t.OS != "linux" {
		return nil
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			return errors.New("it is linked dynamically")
		}
	}
	return nil
}

func (v *verifier) sbom(p Program, t Target) error {
	binary := v.binaries[p.archive(v.source, t)]
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	bom := new(cyclonedx.BOM)
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(v.files[p.sbom(v.source, t)]), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
		return err
	}
	if bom.Metadata == nil || bom.Metadata.Component == nil || bom.Metadata.Component.Hashes == nil || bom.Components == nil {
		return errors.New("it describes no binary")
	}
	if hashes := *bom.Metadata.Component.Hashes; len(hashes) != 1 || hashes[0].Value != sumOf(binary) {
		return errors.New("it describes another binary")
	}
	var has, want []string
	for _, c := range *bom.Components {
		has = append(has, c.Name+" "+c.Version)
	}
	for _, m := range modules(info) {
		want = append(want, m.Path+" "+m.Version)
	}
	if !slices.Equal(has, want) {
		return fmt.Errorf("it names %q, but linked are %q", has, want)
	}
	return nil
}

func (v *verifier) krew(p Program) error {
	var plugin Plugin
	if err := yaml.UnmarshalStrict(v.files[krewFile], &plugin); err != nil {
		return err
	}
	if err := plugin.check(); err != nil {
		return err
	}
	if plugin.Spec.Version != v.source.Version || len(plugin.Spec.Platforms) != len(p.Targets) {
		return fmt.Errorf("version %s for %d platforms, want %s for %d", plugin.Spec.Version, len(plugin.Spec.Platforms), v.source.Version, len(p.Targets))
	}
	for i, t := range p.Targets {
		platform, name := plugin.Spec.Platforms[i], p.archive(v.source, t)
		if labels := platform.Selector.MatchLabels; labels["os"] != t.OS || labels["arch"] != t.Arch || platform.Bin != p.binary(t) {
			return fmt.Errorf("platform %d: %v %s, want %s", i, labels, platform.Bin, t)
		}
		if !strings.HasSuffix(platform.URI, "/"+name) || platform.SHA256 != sumOf(v.files[name]) {
			return fmt.Errorf("platform %d: %s with sum %s, want %s with sum %s", i, platform.URI, platform.SHA256, name, sumOf(v.files[name]))
		}
		files, err := unpackAll(name, v.files[name])
		if err != nil {
			return err
		}
		for _, wanted := range platform.Files {
			if !slices.ContainsFunc(files, func(f packed) bool { return f.name == wanted.From }) {
				return fmt.Errorf("platform %d: %s holds no %s", i, name, wanted.From)
			}
		}
	}
	return nil
}

func (v *verifier) chart(programs []Program) error {
	chart, err := loader.LoadArchive(bytes.NewReader(v.files[chartName(v.source)]))
	if err != nil {
		return err
	}
	if chart.Metadata.Version != v.source.Number() || chart.Metadata.AppVersion != v.source.Number() {
		return fmt.Errorf("version %s, appVersion %s, want %s", chart.Metadata.Version, chart.Metadata.AppVersion, v.source.Number())
	}
	if err := chartutil.ValidateAgainstSchema(chart, chart.Values); err != nil {
		return err
	}
	for _, p := range programs {
		if p.Image == nil {
			continue
		}
		digest, err := chartutil.Values(chart.Values).PathValue(p.Image.Value + ".image.digest")
		if err != nil {
			return err
		}
		if want := v.summary.Images[p.Name].Digest; want == "" || digest != want {
			return fmt.Errorf("%s.image.digest is %v, want %s", p.Image.Value, digest, want)
		}
	}
	return nil
}

// Same compares the sums of two releases and names the files that differ.
func Same(a, b string) error {
	first, err := os.ReadFile(a + "/" + sumsFile)
	if err != nil {
		return fmt.Errorf("compare releases: %w", err)
	}
	second, err := os.ReadFile(b + "/" + sumsFile)
	if err != nil {
		return fmt.Errorf("compare releases: %w", err)
	}
	has := map[string]bool{}
	for line := range strings.Lines(string(second)) {
		has[line] = true
	}
	var differing []error
	for line := range strings.Lines(string(first)) {
		if !has[line] {
			differing = append(differing, fmt.Errorf("%s differs", strings.Fields(line)[1]))
		}
	}
	if len(differing) == 0 && !bytes.Equal(first, second) {
		differing = append(differing, errors.New("the second has further files"))
	}
	return errors.Join(differing...)
}
