package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// The whole matrix, made twice in different folders: the same bytes, and each artefact agrees with the others. Then each kind of artefact is
// changed in one copy, and Verify has to notice.
func TestReleaseIsReproducibleAndAgreesWithItself(t *testing.T) {
	dir := standIn(t)
	first, second := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "elsewhere")
	for out, dir := range map[string]string{first: dir, second: copied(t, dir)} {
		s := source(dir)
		// Times are cut to seconds in UTC, wherever the machine is.
		s.Time = s.Time.In(time.FixedZone("elsewhere", 3600)).Add(time.Duration(len(out)) * time.Millisecond)
		if err := Make(t.Context(), s, out, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := Verify(out, Programs()); err != nil {
			t.Error(err)
		}
	}
	if err := Same(first, second); err != nil {
		t.Error(err)
	}
	if err := Make(t.Context(), source(dir), first, Options{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a folder with a release: %v", err)
	}

	s := source("")
	cli, agent := Programs()[0], Programs()[1]
	linux, windows := Target{"linux", "amd64"}, Target{"windows", "amd64"}
	cases := map[string]struct {
		change func(t *testing.T, dir string)
		says   string
	}{
		"a file that is not listed": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "more"), nil) }, "more: not in SHA256SUMS"},
		"a file that is gone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, krewFile)); err != nil {
				t.Fatal(err)
			}
		}, "saguard.yaml: in SHA256SUMS, but not there"},
		"a changed byte": {func(t *testing.T, dir string) {
			name := filepath.Join(dir, cli.archive(s, linux))
			write(t, name, append(read(t, name), 0))
		}, "its sum is"},
		"a further file, listed": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "more"), nil)
			sumAgain(t, dir)
		}, "more: unknown"},
		"a missing file, not listed": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, cli.archive(s, windows))); err != nil {
				t.Fatal(err)
			}
			sumAgain(t, dir)
		}, cli.archive(s, windows) + ": missing"},
		"the archive of another platform": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, cli.archive(s, linux)), read(t, filepath.Join(dir, cli.archive(s, Target{"linux", "arm64"}))))
			sumAgain(t, dir)
		}, `built with GOARCH="arm64"`},
		"the bill of materials of another binary": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, cli.sbom(s, linux)), read(t, filepath.Join(dir, cli.sbom(s, windows))))
			sumAgain(t, dir)
		}, "it describes another binary"},
		"a bill of materials without the standard library": {func(t *testing.T, dir string) {
			name := filepath.Join(dir, cli.sbom(s, linux))
			write(t, name, bytes.Replace(read(t, name), []byte(`"name": "std"`), []byte(`"name": "other"`), 1))
			sumAgain(t, dir)
		}, "but linked are"},
		"the image of another program": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, agent.layout(s)), read(t, filepath.Join(dir, Programs()[2].layout(s))))
			sumAgain(t, dir)
		}, "but release.json says"},
		"an image with a changed byte": {func(t *testing.T, dir string) {
			name := filepath.Join(dir, agent.layout(s))
			data := read(t, name)
			data[len(data)/2] ^= 1
			write(t, name, data)
			sumAgain(t, dir)
		}, agent.layout(s)},
		"a chart with another digest": {func(t *testing.T, dir string) {
			editSummary(t, dir, func(summary *Summary) {
				image := summary.Images[agent.Name]
				image.Digest = summary.Images["saguard-webhook"].Digest
				summary.Images[agent.Name] = image
			})
		}, "agent.image.digest is"},
		"a manifest with another sum": {func(t *testing.T, dir string) {
			editKrew(t, dir, func(p *Plugin) { p.Spec.Platforms[1].SHA256 = p.Spec.Platforms[0].SHA256 })
		}, "saguard.yaml: platform 1"},
		"a manifest without a platform": {func(t *testing.T, dir string) {
			editKrew(t, dir, func(p *Plugin) { p.Spec.Platforms = p.Spec.Platforms[1:] })
		}, "for 4 platforms"},
		"a manifest with a file that is not packed": {func(t *testing.T, dir string) {
			editKrew(t, dir, func(p *Plugin) { p.Spec.Platforms[0].Files[0].From = "kubectl-other" })
		}, "holds no kubectl-other"},
		"another Go version": {func(t *testing.T, dir string) {
			editSummary(t, dir, func(summary *Summary) { summary.Go = "go1.1" })
		}, "want cmd/kubectl-saguard by go1.1"},
		"a summary of no commit": {func(t *testing.T, dir string) {
			editSummary(t, dir, func(summary *Summary) { summary.Commit = "main" })
		}, "want a whole hash"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, first)
			tc.change(t, dir)
			if err := Verify(dir, Programs()); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Verify says %v, want %q", err, tc.says)
			}
			if err := Same(first, dir); err == nil && !strings.Contains("a file that is not listed a file that is gone a changed byte", name) {
				t.Error("Same sees no difference")
			}
		})
	}
	t.Run("the chart is the product's with the digests filled in", func(t *testing.T) { sameChart(t, dir, first) })
}

func sumAgain(t *testing.T, dir string) {
	t.Helper()
	sums := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != sumsFile {
			sums[entry.Name()] = sumOf(read(t, filepath.Join(dir, entry.Name())))
		}
	}
	write(t, filepath.Join(dir, sumsFile), formatSums(sums))
}

func editSummary(t *testing.T, dir string, edit func(*Summary)) {
	t.Helper()
	var summary Summary
	if err := json.Unmarshal(read(t, filepath.Join(dir, summaryFile)), &summary); err != nil {
		t.Fatal(err)
	}
	edit(&summary)
	text, err := json.Marshal(summary)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, summaryFile), text)
	sumAgain(t, dir)
}

func editKrew(t *testing.T, dir string, edit func(*Plugin)) {
	t.Helper()
	var plugin Plugin
	if err := yaml.Unmarshal(read(t, filepath.Join(dir, krewFile)), &plugin); err != nil {
		t.Fatal(err)
	}
	edit(&plugin)
	text, err := yaml.Marshal(plugin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, krewFile), text)
	sumAgain(t, dir)
}

// sameChart compares the package with the folder: only the versions and the two digests differ.
func sameChart(t *testing.T, product, release string) {
	t.Helper()
	s := source("")
	packaged, err := loader.LoadFile(filepath.Join(release, chartName(s)))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := loader.LoadDir(filepath.Join(product, "charts", "saguard"))
	if err != nil {
		t.Fatal(err)
	}
	has := map[string][]byte{}
	for _, file := range packaged.Raw {
		has[file.Name] = file.Data
	}
	for _, file := range folder.Raw {
		data, ok := has[file.Name]
		delete(has, file.Name)
		switch {
		case !ok:
			t.Errorf("%s is not in the package", file.Name)
		case file.Name == "Chart.yaml":
		case file.Name == valuesFile:
			was, is := strings.Split(string(file.Data), "\n"), strings.Split(string(data), "\n")
			var changed []string
			for i := range was {
				if i >= len(is) || was[i] != is[i] {
					changed = append(changed, strings.TrimSpace(was[i]))
				}
			}
			if len(was) != len(is) || !slices.Equal(changed, []string{`digest: ""`, `digest: ""`}) {
				t.Errorf("of values.yaml are changed: %q", changed)
			}
		case !bytes.Equal(data, file.Data):
			t.Errorf("%s differs", file.Name)
		}
	}
	for name := range has {
		t.Errorf("%s is in the package only", name)
	}
}

func TestSourcesThatNoReleaseIsMadeFrom(t *testing.T) {
	cases := map[string]func(*Source){
		"no folder":                   func(s *Source) { s.Dir = "" },
		"a version without v":         func(s *Source) { s.Version = "0.1.0" },
		"half a version":              func(s *Source) { s.Version = "v0.1" },
		"a version with a build":      func(s *Source) { s.Version = "v0.1.0+dirty" },
		"a path in the version":       func(s *Source) { s.Version = "v0.1.0/../x" },
		"an abbreviated commit":       func(s *Source) { s.Commit = "0123456" },
		"a branch":                    func(s *Source) { s.Commit = "main" },
		"a time before zip archives":  func(s *Source) { s.Time = time.Unix(0, 0) },
		"no time":                     func(s *Source) { s.Time = time.Time{} },
		"a commit in capital letters": func(s *Source) { s.Commit = strings.Repeat("ABCDEF0123", 4) },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			s := source(".")
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
			change(&s)
			if err := Make(t.Context(), s, t.TempDir(), Options{}); !errors.Is(err, ErrSource) {
				t.Errorf("made of %+v: %v", s, err)
			}
		})
	}
}

func TestPseudoVersionsSortBelowReleases(t *testing.T) {
	s := source(".")
	s.Version = PseudoVersion(s.Commit, s.Time)
	if s.Version != "v0.0.0-20261122120000-012345678901" {
		t.Error(s.Version)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

func TestDigestsAreWrittenOnlyWhereNothingStands(t *testing.T) {
	const text = "# comment\na:\n  image:\n    digest: \"\" # why\nb: {image: {digest: \"\"}}\nc:\n  image: {digest: x}\nd: [1]\n"
	cases := map[string]struct {
		key, want string // "" = refused
	}{
		"in a block":      {"a", "# comment\na:\n  image:\n    digest: sha256:0 # why\nb: {image: {digest: \"\"}}\nc:\n  image: {digest: x}\nd: [1]\n"},
		"in a flow":       {"b", "# comment\na:\n  image:\n    digest: \"\" # why\nb: {image: {digest: sha256:0}}\nc:\n  image: {digest: x}\nd: [1]\n"},
		"something there": {key: "c"},
		"a list":          {key: "d"},
		"no such value":   {key: "e"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := setEmpty([]byte(text), "sha256:0", tc.key, "image", "digest")
			if string(got) != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	if _, err := setEmpty(nil, "x", "a"); err == nil {
		t.Error("written into an empty document")
	}
}
