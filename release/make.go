package release

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What every archive holds beside the program.
const (
	licenseFile = "LICENSE"
	noticesFile = "THIRD-PARTY-NOTICES"
)

// summaryFile says in JSON what the folder holds, for the scripts that publish it.
const summaryFile = "release.json"

// Summary is the content of release.json.
type Summary struct {
	Version string    `json:"version"`
	Commit  string    `json:"commit"`
	Created time.Time `json:"created"`
	// Go is the version of the Go command: who has another gets other bytes.
	Go string `json:"go"`
	// Images maps a program to its image.
	Images map[string]SummaryImage `json:"images"`
}

// SummaryImage is one image for all its platforms.
type SummaryImage struct {
	Layout string `json:"layout"`
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
}

// Options of Make.
type Options struct {
	// Programs to build; by default Programs.
	Programs []Program
	// DownloadURL is where the archives will be found, for the krew manifest; by default releases/download/VERSION below
	// the chart's home.
	DownloadURL string
	// Progress is told what is made; it may be nil.
	Progress func(what string)
}

// Make builds the release of s into the folder out, which must be empty or not exist.
func Make(ctx context.Context, s Source, out string, o Options) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	if err := emptyFolder(out); err != nil {
		return err
	}
	if o.Programs == nil {
		o.Programs = Programs()
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	work, err := os.MkdirTemp("", "saguard-release-")
	if err != nil {
		return fmt.Errorf("make release: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	chart, facts, err := loadChart(s)
	if err != nil {
		return err
	}
	if o.DownloadURL == "" {
		o.DownloadURL = facts.home + "/releases/download/" + s.Version
	}
	m := &maker{source: s, out: out, options: o, sums: map[string]string{}, images: map[string][]imageOf{}}
	for _, t := range targets(o.Programs) {
		if err := m.target(ctx, t, filepath.Join(work, t.OS+"_"+t.Arch)); err != nil {
			return err
		}
	}
	digests, err := m.layouts(facts)
	if err != nil {
		return err
	}
	o.Progress(chartName(s))
	data, err := packageChart(s, chart, digests)
	if err != nil {
		return err
	}
	if err := m.write(chartName(s), data); err != nil {
		return err
	}
	for _, p := range o.Programs {
		if p.Name != krewProgram {
			continue
		}
		manifest, err := krewManifest(s, p, facts, o.DownloadURL, m.sums)
		if err != nil {
			return err
		}
		if err := m.write(krewFile, manifest); err != nil {
			return err
		}
	}
	return m.finish()
}

// maker is a release in the making.
type maker struct {
	source  Source
	out     string
	options Options
	sums    map[string]string
	images  map[string][]imageOf
	summary Summary
}

func (m *maker) write(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(m.out, name), data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	m.sums[name] = sumOf(data)
	return nil
}

// target builds and packs every program of one platform.
func (m *maker) target(ctx context.Context, t Target, dir string) error {
	var programs []Program
	for _, p := range m.options.Programs {
		for _, has := range p.Targets {
			if has == t {
				programs = append(programs, p)
			}
		}
	}
	m.options.Progress("compile for " + t.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("compile for %s: %w", t, err)
	}
	if err := compile(ctx, m.source, programs, t, dir); err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(m.source.Dir, licenseFile))
	if err != nil {
		return fmt.Errorf("read license: %w", err)
	}
	for _, p := range programs {
		m.options.Progress(p.archive(m.source, t))
		binary, err := os.ReadFile(filepath.Join(dir, p.binary(t)))
		if err != nil {
			return fmt.Errorf("read binary: %w", err)
		}
		info, err := buildinfo.Read(bytes.NewReader(binary))
		if err != nil {
			return fmt.Errorf("read build information of %s: %w", p.binary(t), err)
		}
		m.summary.Go = info.GoVersion
		third, err := notices(ctx, m.source, info)
		if err != nil {
			return err
		}
		archive, err := pack(p.archive(m.source, t), []packed{{p.binary(t), 0o755, binary}, {licenseFile, 0o644, license}, {noticesFile, 0o644, third}}, m.source.time())
		if err != nil {
			return err
		}
		bom, err := billOfMaterials(m.source, p, t, info, binary)
		if err != nil {
			return err
		}
		if err := errors.Join(m.write(p.archive(m.source, t), archive), m.write(p.sbom(m.source, t), bom)); err != nil {
			return err
		}
		if p.Image != nil {
			m.images[p.Name] = append(m.images[p.Name], imageOf{t, binary, bom})
		}
	}
	return nil
}

// layouts writes the images and returns their digests by the key of values.yaml.
func (m *maker) layouts(facts chartFacts) (map[string]string, error) {
	digests := map[string]string{}
	m.summary.Images = map[string]SummaryImage{}
	for _, p := range m.options.Programs {
		if p.Image == nil {
			continue
		}
		m.options.Progress(p.layout(m.source))
		index, err := buildIndex(m.source, p, facts, m.images[p.Name])
		if err != nil {
			return nil, err
		}
		digest, err := index.Digest()
		if err != nil {
			return nil, fmt.Errorf("build image of %s: %w", p.Name, err)
		}
		data, err := layoutTar(m.source, index)
		if err != nil {
			return nil, err
		}
		if err := m.write(p.layout(m.source), data); err != nil {
			return nil, err
		}
		delete(m.images, p.Name)
		digests[p.Image.Value] = digest.String()
		m.summary.Images[p.Name] = SummaryImage{Layout: p.layout(m.source), Tag: m.source.Number(), Digest: digest.String()}
	}
	return digests, nil
}

func (m *maker) finish() error {
	s := m.source
	m.summary.Version, m.summary.Commit, m.summary.Created = s.Version, s.Commit, s.time()
	text, err := json.MarshalIndent(m.summary, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", summaryFile, err)
	}
	if err := m.write(summaryFile, append(text, '\n')); err != nil {
		return err
	}
	return m.write(sumsFile, formatSums(m.sums))
}

func emptyFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("make folder: %s is not empty", dir)
	}
	return nil
}
