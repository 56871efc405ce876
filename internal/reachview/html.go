package reachview

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/saguard/saguard/internal/reach"
)

// The page is one file that asks nobody for anything: its policy allows its own script and style, by their hashes, and
// nothing else.
//
//go:embed assets/page.html.tmpl
var pageTemplate string //nolint:gochecknoglobals // go:embed needs a variable

//go:embed assets/page.css
var pageStyle string //nolint:gochecknoglobals // go:embed needs a variable

//go:embed assets/page.js
var pageScript string //nolint:gochecknoglobals // go:embed needs a variable

// Page is what the HTML page says beside the map.
type Page struct {
	// Title is the page's.
	Title string
	// Source says what the map was made of: a kubeconfig context, files.
	Source string
	// Semantics is strict or calico.
	Semantics string
}

// HTML writes a page with the cells that the filter shows: a matrix, a graph, and what decides each cell.
func HTML(out io.Writer, m *reach.Map, f Filter, p Page) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("parse page: %w", err)
	}
	err = t.Execute(out, map[string]any{
		"Page":   p,
		"Style":  template.CSS(pageStyle),
		"Script": template.JS(pageScript),
		"Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + hashSource(pageStyle) + "; script-src " + hashSource(pageScript),
		"Data":   newPageData(m, f),
	})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// hashSource is a script or style as a content security policy names it (W3C CSP 3, 2.3.1).
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// pageData is the map for the page's script: what cells have in common is there once. Names are short, as there are many.
type pageData struct {
	Parties  []pageParty   `json:"parties"`
	Rules    []string      `json:"rules"`
	Contents []pageContent `json:"contents"`
	// Cells are places in Contents, by from * number of parties + to; -1 where there is none.
	Cells []int `json:"cells"`
}

type pageParty struct {
	Name    string      `json:"name"`
	NS      string      `json:"ns"`
	Label   string      `json:"label"`
	Outside bool        `json:"outside"`
	Pods    int         `json:"pods"`
	Nets    []string    `json:"nets"`
	Groups  []pageGroup `json:"groups"`
}

type pageGroup struct {
	Name string   `json:"name"`
	Pods []string `json:"pods"`
	More int      `json:"more"` // pods that are not listed
}

type pageContent struct {
	// Text is what is allowed.
	Text  string     `json:"text"`
	Lines []pageLine `json:"lines"`
}

type pageLine struct {
	Text string `json:"text"`
	// Allowed is 0 for none, 1 for some pods, 2 for all.
	Allowed int `json:"a"`
	// Boxes are protocol, first and last destination port; protocol 0 is all that have no box of their own.
	Boxes [][3]int  `json:"b"`
	Ways  []pageWay `json:"w"`
}

// pageWay is how a verdict comes about: what allows (bit 0 both ends together, 1 the source, 2 the target), the places in
// Rules of what decides at the source and at the target, -1 for none, and the pairs of groups if it is not all.
type pageWay [4]any

func newPageData(m *reach.Map, f Filter) *pageData {
	const mostPods = 10
	d := &pageData{Parties: []pageParty{}, Rules: []string{}, Contents: []pageContent{}, Cells: []int{}}
	parties := m.Parties()
	var kept []int
	for i := range parties {
		if slices.ContainsFunc(parties, func(o reach.Party) bool { return f.shows(parties[i], o) || f.shows(o, parties[i]) }) {
			kept = append(kept, i)
		}
	}
	rules := map[string]int{}
	contents := map[*reach.Block]int{}
	for _, i := range kept {
		p := parties[i]
		to := pageParty{Name: p.Name, NS: p.Namespace, Label: p.Name, Outside: p.Outside, Pods: p.Pods, Nets: []string{}, Groups: []pageGroup{}}
		if p.Outside {
			to.Label = strings.NewReplacer("GlobalNetworkSet ", "", "NetworkSet ", "").Replace(p.Name)
		} else {
			to.Label = strings.TrimPrefix(p.Name, p.Namespace+"/")
		}
		for _, n := range p.Nets {
			to.Nets = append(to.Nets, n.String())
		}
		for _, g := range p.Groups {
			n := min(len(g.Pods), mostPods)
			to.Groups = append(to.Groups, pageGroup{Name: g.Name, Pods: append([]string{}, g.Pods[:n]...), More: len(g.Pods) - n})
		}
		d.Parties = append(d.Parties, to)
		for _, k := range kept {
			blocks := m.Cell(i, k)
			if len(blocks) == 0 || !f.shows(p, parties[k]) {
				d.Cells = append(d.Cells, -1)
				continue
			}
			n, ok := contents[&blocks[0]]
			if !ok {
				n = len(d.Contents)
				contents[&blocks[0]] = n
				d.Contents = append(d.Contents, d.content(blocks, rules))
			}
			d.Cells = append(d.Cells, n)
		}
	}
	return d
}

func (d *pageData) content(blocks []reach.Block, rules map[string]int) pageContent {
	var out pageContent
	out.Text, _ = allowedText(blocks)
	rule := func(text string) int {
		if text == "-" {
			return -1
		}
		n, ok := rules[text]
		if !ok {
			n = len(d.Rules)
			rules[text] = n
			d.Rules = append(d.Rules, text)
		}
		return n
	}
	bare := func(text string) string { // the page shows the verdict by itself
		_, after, ok := strings.Cut(text, ": ")
		if !ok {
			return text
		}
		return after
	}
	for _, l := range lines(blocks) {
		line := pageLine{Text: reach.BoxesText(l.boxes), Allowed: int(l.allowed), Boxes: [][3]int{}, Ways: []pageWay{}}
		for _, b := range l.boxes {
			at := [3]int{int(b.Protocol), int(b.First), int(b.Last)}
			if l.allowed == reach.ExtentNone {
				at = [3]int{at[0], 1, 0} // what is denied needs no ports: the page asks only which protocols it knows
			}
			if !slices.Contains(line.Boxes, at) {
				line.Boxes = append(line.Boxes, at)
			}
		}
		for _, w := range l.ways {
			bits := 0
			for i, allows := range []bool{w.Allow, w.EgressAllows, w.IngressAllows} {
				if allows {
					bits |= 1 << i
				}
			}
			pairs := [][2][]int{}
			for _, p := range w.Pairs {
				pairs = append(pairs, [2][]int{p.From, p.To})
			}
			way := pageWay{bits, rule(bare(reach.RuleText(w.Egress, w.EgressAllows))), rule(bare(reach.RuleText(w.Ingress, w.IngressAllows))), pairs}
			line.Ways = append(line.Ways, way)
		}
		out.Lines = append(out.Lines, line)
	}
	return out
}
