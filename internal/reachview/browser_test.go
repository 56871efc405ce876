package reachview_test

import (
	"fmt"
	"strings"
	"testing"
)

func cell(from, to string) string { return fmt.Sprintf(".cell[data-from=%q][data-to=%q]", from, to) }

// expect fails if the element's text lacks something.
func (b *browser) expect(selector string, wants ...string) {
	b.t.Helper()
	text := b.text(selector)
	for _, want := range wants {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(want)) { // headings are shown in capitals
			b.t.Errorf("%s lacks %q:\n%s", selector, want, text)
		}
	}
}

func (b *browser) count(selector string) int {
	b.t.Helper()
	var n int
	b.eval(&n, "document.querySelectorAll(%q).length", selector)
	return n
}

func TestPageInABrowser(t *testing.T) {
	b := startBrowser(t)
	file := page(t, shop(t), "Service account map")
	for _, scheme := range []string{"light", "dark"} {
		b.open(file, "", 1400, 860, scheme == "dark")
		b.expect("header", "Service account map", "10 service accounts in 5 namespaces", "strict semantics", "manifests/")
		b.expect("#detail", "Reached by most others", "monitoring/grafana")
		if got := b.count(".cell"); got != 13*13 {
			t.Errorf("%d cells", got)
		}
		b.shoot("shop-" + scheme)

		// A cell says what decides, for all pods and for some.
		b.click(cell("pay/api", "data/postgres"))
		b.expect("#detail", "pay/api → data/postgres", "TCP 5432", "all pods", "tier default, NetworkPolicy data/databases, rule 0", "denied", "end of tier default, after NetworkPolicy data/databases")
		b.click(cell("shop/web", "data/redis"))
		b.expect("#detail", "shop/web → data/redis", "TCP 6379-6380", "some pods", "Allow from !track", "Deny from track=canary")
		b.expect(cell("shop/web", "data/redis"), "TCP")
		b.shoot("shop-cell-" + scheme)
		b.open(file, "#outside=no&from=shop/web&to=data/redis", 1240, 764, scheme == "dark")
		b.expect("#detail", "shop/web → data/redis") // the address says what is shown
		b.shoot("readme-" + scheme)
		b.click(cell("sandbox/default", "data/redis"))
		b.expect("#detail", "Nothing is allowed", "tier security, GlobalNetworkPolicy security.prod-from-test, rule 0")

		b.open(file, "#view=graph&item=shop/web", 1400, 860, scheme == "dark")
		b.expect("#detail", "shop/web", "3 pods", "!track: web-0, web-1", "track=canary: web-canary", "Can reach (8)", "Can be reached by (4)")
		b.shoot("shop-graph-" + scheme)
	}
}

func TestPageByKeyboard(t *testing.T) {
	b := startBrowser(t)
	b.open(page(t, shop(t), "Service account map"), "", 1200, 800, false)
	b.eval(nil, "document.querySelector('.cell[tabindex=\"0\"]').focus()")
	b.key("ArrowDown")
	b.key("ArrowDown")
	b.key("ArrowDown")
	b.key("Enter")
	b.expect("#detail", "monitoring/prometheus → data/postgres", "TCP 9100")
	b.key("ArrowRight")
	b.key("Enter")
	b.expect("#detail", "monitoring/prometheus → data/redis")
	var focused string
	b.eval(&focused, "document.activeElement.dataset.to")
	if focused != "data/redis" {
		t.Errorf("the focus is on %q", focused)
	}
	b.key("Escape")
	b.expect("#detail", "What decides")
	b.click("#view-graph")
	b.wait("document.querySelectorAll('.node').length === 13")
	b.eval(nil, "document.querySelector('.node').focus()")
	b.key("ArrowRight")
	b.key("Enter")
	b.expect("#detail", "data/redis", "Can be reached by")
}

func TestPageFilters(t *testing.T) {
	b := startBrowser(t)
	b.open(page(t, shop(t), "Service account map"), "", 1400, 860, false)
	typed := func(id, text string) {
		b.eval(nil, "(() => { const e = document.getElementById(%q); e.value = %q; e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input')); })()", id, text)
	}
	rows := func() string {
		var names []string
		b.eval(&names, "[...document.querySelectorAll('.side')].map((e) => e.dataset.name)")
		return strings.Join(names, " ")
	}
	// A namespace, and whom it has to do with.
	typed("namespace", "pay")
	if got, want := rows(), "data/postgres monitoring/grafana monitoring/prometheus pay/api pay/worker sandbox/default shop/cart 10.0.0.0/8 GlobalNetworkSet payment-providers"; got != want {
		t.Errorf("rows of pay: %s\nwant %s", got, want)
	}
	b.expect("#count", "7 of 10 accounts shown")
	typed("namespace", "")
	// A port: what does not allow it is empty, and what allows everything is not.
	typed("port", "tcp 6380")
	for at, want := range map[[2]string]string{
		{"shop/cart", "data/redis"}: "some-ports", {"shop/web", "data/redis"}: "some-pods", {"pay/api", "data/postgres"}: "nothing", {"pay/api", "monitoring/grafana"}: "everything",
	} {
		var class string
		b.eval(&class, "document.querySelector(%q).className", cell(at[0], at[1]))
		if !strings.Contains(class, want) {
			t.Errorf("%s: %q, want %s", at, class, want)
		}
	}
	typed("port", "nonsense!")
	if b.count("#port.bad") != 1 {
		t.Error("a port that is none is not marked")
	}
	typed("port", "")
	typed("find", "redis")
	if got := rows(); !strings.Contains(got, "data/redis") {
		t.Errorf("rows of redis: %s", got)
	}
	typed("find", "nobody of that name")
	b.expect("#view", "No account fits these filters")
	typed("find", "")
	b.click("#outside")
	if got := rows(); strings.Contains(got, "0.0.0.0") {
		t.Errorf("rows without outside: %s", got)
	}
	b.click("#by-namespace")
	if got, want := rows(), "data monitoring pay sandbox shop"; got != want {
		t.Errorf("namespaces: %s", got)
	}
	b.click(cell("shop", "data"))
	b.expect("#detail", "shop → data", "cart → postgres", "web → redis")
	b.click("#theme")
	var theme string
	b.eval(&theme, "document.documentElement.dataset.theme")
	if theme != "dark" {
		t.Errorf("theme %q", theme)
	}
}

func TestPageOfManyAccounts(t *testing.T) {
	b := startBrowser(t)
	big := page(t, many(t, 300), "Service account map")
	b.open(big, "", 1400, 860, false)
	b.expect("header", "300 service accounts in 30 namespaces")
	if got := b.count(".side"); got > 40 {
		t.Errorf("%d rows are drawn at once, want the namespaces", got)
	}
	b.shoot("many-namespaces")
	b.open(big, "#by=account", 1400, 860, true)
	if got := b.count(".cell"); got > 8000 {
		t.Errorf("%d of 90,000 cells are drawn at once", got)
	}
	b.eval(nil, "document.querySelector('.cell[tabindex=\"0\"]').focus()")
	for range 12 {
		b.key("PageDown")
	}
	b.key("Enter")
	b.expect("#detail", "team-12/svc-0 → team-00/svc-0")
	b.shoot("many-accounts")
	b.open(big, "#by=account&view=graph", 1400, 860, false)
	b.wait("document.querySelectorAll('.node').length === 301")
	b.shoot("many-graph")
	b.open(big, "#by=namespace&view=graph", 1400, 860, false)
	b.shoot("many-graph-ns")
	b.open(big, "#by=account&ns=team-03", 1400, 860, false)
	b.expect("#view", "team-03/svc-0", "team-29")
	b.shoot("many-filter")
}
