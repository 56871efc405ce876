package render_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/saguard/saguard/audit"
	"github.com/saguard/saguard/audit/review"
	"github.com/saguard/saguard/audit/review/render"
	"github.com/saguard/saguard/internal/testenv"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// sample is a review with n rows of each kind, hostile names among them.
func sample(n int) *review.Review {
	r := &review.Review{Schema: review.Schema, From: noon, To: noon.Add(time.Duration(n) * time.Second), Decisions: map[audit.Outcome]int{audit.Allowed: n, audit.Denied: 0, audit.Failed: 0}}
	kinds := review.BypassKinds()
	for i := range n {
		q := review.Request{
			Time: noon.Add(time.Duration(i) * time.Second), File: "audit.log", Line: i + 1, User: fmt.Sprintf("user-%d</script><img src=x onerror=alert(1)>", i%50),
			Verb: "patch", Object: audit.Object{Resource: "serviceaccounts", Namespace: "prod", Name: fmt.Sprint("web-", i%90)}, Code: 200,
		}
		value := fmt.Sprint("v", i%3)
		r.Bypasses = append(r.Bypasses, review.Bypass{Request: q, Kind: kinds[i%len(kinds)], Certain: i%2 == 0, Why: "because"})
		r.Denials = append(r.Denials, review.Denial{Request: q, Enforced: true, Checks: []string{[]string{"label-use", "account-use"}[i%2]}, Missing: []audit.Tuple{{Verb: "use", Resource: "serviceaccounts", Name: "web", Namespace: "prod"}}})
		r.LabelChanges = append(r.LabelChanges, review.LabelChange{Request: q, Namespace: "prod", Account: q.Object.Name, Key: "role", New: &value, Applied: i%4 > 0})
		r.PolicyChanges = append(r.PolicyChanges, review.PolicyChange{Request: q, Refers: []string{"prod/web"}})
		r.AccountUses = append(r.AccountUses, review.AccountUse{User: q.User, Namespace: "prod", Account: "web", How: "pods", Allowed: i, First: noon, Last: noon})
	}
	return r
}

func TestSARIF(t *testing.T) {
	var out bytes.Buffer
	if err := render.SARIF(&out, sample(14), "v1"); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Level string
				Locations     []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	known := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		known[r.ID] = true
	}
	levels := map[string]int{}
	for i, r := range run.Results {
		levels[r.Level]++
		if !known[r.RuleID] {
			t.Errorf("result of rule %q, which is not there", r.RuleID)
		}
		if at := r.Locations[0].PhysicalLocation; at.ArtifactLocation.URI != "audit.log" || at.Region.StartLine != i%14+1 {
			t.Errorf("result %d is at %+v", i, at)
		}
	}
	// Of the 14 bypasses the kinds failed-open and no-decision occur twice each, once certain.
	if doc.Version != "2.1.0" || levels["error"] != 2 || levels["warning"] != 12 || levels["note"] != 14 {
		t.Errorf("version %s, levels %v", doc.Version, levels)
	}
}

func TestJUnit(t *testing.T) {
	for n, failures := range map[int]int{0: 0, 14: 2} {
		var out bytes.Buffer
		if err := render.JUnit(&out, sample(n)); err != nil {
			t.Fatal(err)
		}
		var suites junit.Testsuites
		if err := xml.Unmarshal(out.Bytes(), &suites); err != nil {
			t.Fatal(err)
		}
		if suites.Failures != failures || suites.Tests < len(review.BypassKinds()) || n == 0 && suites.Skipped != 0 {
			t.Errorf("%d rows: %d tests, %d failures, %d skipped", n, suites.Tests, suites.Failures, suites.Skipped)
		}
	}
}

// browse opens the page in a browser and returns the document after its script has run, and what the browser complained of.
func browse(t *testing.T, page []byte, addScript string) (document, complaints string) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		testenv.Lacking(t, testenv.Chromium, err.Error())
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "review.html")
	if addScript != "" {
		// The policy of the page allows no script but its own, so one that plays the user comes with a page without policy.
		page = bytes.Replace(page, []byte(`http-equiv="Content-Security-Policy"`), []byte(`name="policy"`), 1)
		page = bytes.Replace(page, []byte("</body>"), []byte("<script>"+addScript+"</script></body>"), 1)
	}
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	c := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--user-data-dir="+dir,
		"--virtual-time-budget=20000", "--dump-dom", "file://"+file)
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errOut.String())
	}
	for line := range strings.Lines(errOut.String()) {
		if strings.Contains(line, "CONSOLE") {
			complaints += line
		}
	}
	return out.String(), complaints
}

func TestPage(t *testing.T) {
	var page bytes.Buffer
	if err := render.HTML(&page, sample(40), &review.Replay{}); err != nil {
		t.Fatal(err)
	}
	document, complaints := browse(t, page.Bytes(), "")
	if complaints != "" {
		t.Errorf("the browser complains:\n%s", complaints)
	}
	for _, want := range []string{`data-ready="yes"`, "Denials (40)", "Newly allowed (0)", "bypass", "prod/web-0", "40 of 40 rows", "user-1&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"} {
		if !strings.Contains(document, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(document, "<img") {
		t.Error("a user's name became markup")
	}
}

func TestPageFollowsTheUser(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		want   []string
	}{
		"a filter": {
			`document.querySelector('[data-view=labelChanges]').click(); const f = document.getElementById('filter'); f.value = 'WEB-7 v1'; f.dispatchEvent(new Event('input'));`,
			[]string{`1 of 40 rows`, `data-view="labelChanges" role="tab" aria-selected="true"`},
		},
		"a square of the heat map, by keyboard": {
			`const c = document.querySelector('#heat rect[tabindex]'); c.focus(); c.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));`,
			[]string{`data-view="denials" role="tab" aria-selected="true"`, `1 of 40 rows from 2026-11-22 12:00:00`},
		},
		"an account of the timeline": {
			`document.querySelector('#timeline .row-name').dispatchEvent(new MouseEvent('click', {bubbles: true}));`,
			[]string{`data-view="labelChanges" role="tab" aria-selected="true"`, ` of 40 rows`},
		},
		"the next tab, by keyboard": {
			`document.querySelector('[data-view=bypasses]').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));`,
			[]string{`data-view="denials" role="tab" aria-selected="true"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var page bytes.Buffer
			if err := render.HTML(&page, sample(40), nil); err != nil {
				t.Fatal(err)
			}
			document, complaints := browse(t, page.Bytes(), tc.script)
			if complaints != "" {
				t.Errorf("the browser complains:\n%s", complaints)
			}
			for _, want := range tc.want {
				if !strings.Contains(document, want) {
					t.Errorf("no %q in\n%s", want, document[max(0, strings.Index(document, "<main")):][:3000])
				}
			}
		})
	}
}

// A page of 100,000 rows draws only what is seen: its document stays small.
func TestPageOfManyRows(t *testing.T) {
	var page bytes.Buffer
	if err := render.HTML(&page, sample(20_000), nil); err != nil {
		t.Fatal(err)
	}
	measured, _ := browse(t, page.Bytes(), `document.body.dataset.took = Math.round(performance.now()); document.getElementById('data').remove();`)
	took := measured[strings.Index(measured, `data-took="`):]
	t.Logf("%d MB, opened after %s ms", page.Len()>>20, strings.Split(took, `"`)[1])
	if n := strings.Count(measured, "<tr"); n > 200 || !strings.Contains(measured, "20,000 of 20,000 rows") {
		t.Errorf("%d table rows are drawn", n)
	}
}
