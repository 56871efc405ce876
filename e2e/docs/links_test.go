package docs_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every relative link leads to a file that is there, and its anchor to a heading of it. Links to other sites are not followed.
func TestLinksResolve(t *testing.T) {
	all := map[string]*page{}
	for _, p := range pages(t) {
		all[p.path] = p
	}
	for _, p := range all {
		for _, l := range p.links {
			if why := whyBroken(t, all, p.path, l.target); why != "" {
				t.Errorf("%s:%d: %s: %s", p.path, l.line, l.target, why)
			}
		}
	}
}

func whyBroken(t *testing.T, all map[string]*page, from, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "https":
		return ""
	case u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "/"):
		return "neither relative nor https"
	}
	file := from
	if u.Path != "" {
		file = path.Join(path.Dir(from), u.Path)
	}
	if strings.HasPrefix(file, "..") {
		return "leads out of the repository"
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(file))); err != nil {
		return "no such file"
	}
	if u.Fragment == "" {
		return ""
	}
	to := all[file]
	if to == nil && strings.HasSuffix(file, ".md") {
		to = read(t, file)
	}
	if to == nil || !to.anchors[u.Fragment] {
		return "no such heading"
	}
	return ""
}

func TestBrokenLinksAreFound(t *testing.T) {
	there := parse(t, "docs/limits.md", "# One\n")
	all := map[string]*page{"docs/limits.md": there, "README.md": read(t, "README.md")}
	for target, want := range map[string]string{
		"#one": "", "#two": "no such heading", "../README.md": "", "../../x.md": "leads out of the repository", "b.md": "no such file",
		"https://example.com/x": "", "http://example.com": "neither relative nor https", "/README.md": "neither relative nor https",
	} {
		if got := whyBroken(t, all, "docs/limits.md", target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// ours is a link into this repository by its address on the web.
var ours = regexp.MustCompile(`github\.com/saguard/saguard/(?:blob|tree)/main/([A-Za-z0-9_./-]+)(?:#([a-z0-9-]+))?`)

// What chart, code and documents link to on the web is in the repository.
func TestLinksByAddressResolve(t *testing.T) {
	found := 0
	for _, dir := range []string{"charts", "docs", "cmd", "internal", "webhook", "api"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
			if err != nil {
				return err
			}
			for _, m := range ours.FindAllStringSubmatch(string(text), -1) {
				found++
				target := "/" + strings.TrimSuffix(m[1], ".")
				if m[2] != "" {
					target += "#" + m[2]
				}
				if why := whyBroken(t, nil, "x", target[1:]); why != "" {
					t.Errorf("%s: %s: %s", file, m[0], why)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no link found: the expression does not match any more")
	}
}

// The chart's alerts link to the heading of their name, in lower case.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string `json:"alert"`
			} `json:"rules"`
		} `json:"groups"`
	}
	unmarshal(t, "charts/saguard/files/alerts.yaml", &file)
	operations := read(t, "docs/operations.md")
	alerts := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			alerts[strings.ToLower(r.Alert)] = true
			if !operations.anchors[strings.ToLower(r.Alert)] {
				t.Errorf("docs/operations.md has no heading %s", r.Alert)
			}
		}
	}
	if len(alerts) == 0 {
		t.Error("no alerts found")
	}
	for a := range operations.anchors {
		if strings.HasPrefix(a, "saguard") && !alerts[a] {
			t.Errorf("docs/operations.md has heading %s, and there is no such alert", a)
		}
	}
}
