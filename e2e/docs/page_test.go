package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// page is a Markdown file, as far as tests look at it.
type page struct {
	// path is slash-separated, from the repository's root.
	path    string
	blocks  []block
	anchors map[string]bool
	links   []link
	// code are the texts between backquotes outside of blocks.
	code []span
}

// block is fenced.
type block struct {
	language, text string
	line           int
	// directive is the comment right before the block, without its marks.
	directive string
}

type link struct {
	target string
	line   int
}

type span struct {
	text string
	line int
}

var (
	fence      = regexp.MustCompile("^( *)```([a-z]*)$")
	heading    = regexp.MustCompile(`^#{1,6} +(.*)$`)
	linked     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	source     = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	backquoted = regexp.MustCompile("`([^`]+)`")
	directive  = regexp.MustCompile(`^ *<!-- ((?:run|refused: .*)) -->$`)
	anchored   = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// pages are the documents of the repository.
func pages(t *testing.T) []*page {
	t.Helper()
	var out []*page
	for _, name := range []string{"README.md", "DESIGN.md", "SECURITY.md", "CONTRIBUTING.md"} {
		out = append(out, read(t, name))
	}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			out = append(out, read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// guides are those pages that are for users: all but the map of the code.
func guides(t *testing.T) []*page {
	return slices.DeleteFunc(pages(t), func(p *page) bool { return p.path == "DESIGN.md" })
}

func (p *page) generated() bool { return strings.HasPrefix(p.path, "docs/reference/") }

func read(t *testing.T, path string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, path, string(text))
}

func parse(t *testing.T, path, text string) *page {
	t.Helper()
	p := &page{path: path, anchors: map[string]bool{}}
	var open *block
	indent, pending := "", ""
	for i, line := range strings.Split(text, "\n") {
		if f := fence.FindStringSubmatch(line); f != nil {
			switch {
			case open == nil:
				open, indent = &block{language: f[2], line: i + 1, directive: pending}, f[1]
			case f[2] == "":
				p.blocks, open = append(p.blocks, *open), nil
			default:
				t.Errorf("%s:%d: a block begins inside of a block", path, i+1)
			}
			pending = ""
			continue
		}
		if open != nil {
			open.text += strings.TrimPrefix(line, indent) + "\n"
			continue
		}
		if pending != "" {
			t.Errorf("%s:%d: %q is not right before a block", path, i, pending)
			pending = ""
		}
		if d := directive.FindStringSubmatch(line); d != nil {
			pending = d[1]
			continue
		}
		p.prose(i+1, line)
	}
	if open != nil {
		t.Errorf("%s:%d: the block does not end", path, open.line)
	}
	return p
}

func (p *page) prose(number int, line string) {
	if h := heading.FindStringSubmatch(line); h != nil {
		p.anchors[p.unused(anchor(h[1]))] = true
	}
	for _, a := range anchored.FindAllStringSubmatch(line, -1) {
		p.anchors[a[1]] = true
	}
	for _, c := range backquoted.FindAllStringSubmatch(line, -1) {
		p.code = append(p.code, span{c[1], number})
	}
	bare := backquoted.ReplaceAllString(line, "")
	for _, form := range []*regexp.Regexp{linked, source} {
		for _, l := range form.FindAllStringSubmatch(bare, -1) {
			p.links = append(p.links, link{l[1], number})
		}
	}
}

// anchor is what GitHub makes of a heading: lower case, spaces to hyphens, and nothing but letters, digits, "-" and "_".
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unused numbers what is there already, as GitHub does.
func (p *page) unused(name string) string {
	if !p.anchors[name] {
		return name
	}
	for i := 1; ; i++ {
		if numbered := name + "-" + string(rune('0'+i)); !p.anchors[numbered] {
			return numbered
		}
	}
}

// shells are the blocks that are for a shell.
func (p *page) shells() []block {
	return slices.DeleteFunc(slices.Clone(p.blocks), func(b block) bool { return b.language != "sh" && b.language != "console" })
}

func TestPagesAreReadAsGitHubDoes(t *testing.T) {
	p := parse(t, "x.md", strings.Join([]string{
		"# A `b` C.d, e/f", "# Twice", "## Twice", "[one](a.md#b) ![two](c.png) `[three](d.md)` <img src=\"e.svg\">",
		"<!-- run -->", "```sh", "# no heading", "[no](link)", "```", "- item", "  ```yaml", "  a: b", "  ```",
	}, "\n"))
	for _, a := range []string{"a-b-cd-ef", "twice", "twice-1"} {
		if !p.anchors[a] {
			t.Errorf("no anchor %s in %v", a, p.anchors)
		}
	}
	if got := []link{{"a.md#b", 4}, {"c.png", 4}, {"e.svg", 4}}; !slices.Equal(got, p.links) {
		t.Errorf("links %v", p.links)
	}
	if len(p.blocks) != 2 || p.blocks[0].directive != "run" || p.blocks[0].language != "sh" || p.blocks[1].text != "a: b\n" || p.blocks[1].directive != "" {
		t.Errorf("blocks %+v", p.blocks)
	}
}
