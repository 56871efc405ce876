package reachview_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/saguard/saguard/internal/testenv"
)

// browser is a headless Chromium that is asked by the DevTools protocol, over the two pipes it is started with: messages
// are JSON that end with a NUL byte (--remote-debugging-pipe).
type browser struct {
	t       *testing.T
	in      *os.File
	session string

	lock    sync.Mutex
	last    int
	waiting map[int]chan reply
	gone    chan struct{}
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

const patience = 60 * time.Second

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		testenv.Lacking(t, testenv.Chromium, err.Error())
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "saguard-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-background-networking",
		"--disable-component-update", "--disable-dev-shm-usage", "--user-data-dir=" + profile,
	}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox") // which root has not; the page is our own
	}
	c := exec.Command(path, append(args, "about:blank")...)
	c.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	if err := c.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, waiting: map[int]chan reply{}, gone: make(chan struct{})}
	go b.read(out)
	t.Cleanup(func() {
		b.leave()
		select {
		case <-b.gone:
		case <-time.After(patience):
			t.Errorf("the browser does not end: %v", c.Process.Kill())
		}
		in.Close()
		if err := c.Wait(); err != nil {
			t.Logf("the browser ended: %v", err)
		}
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("remove the browser's profile: %v", err) // its helpers may still write
		}
	})
	var target struct{ TargetID string }
	b.call(&target, "Target.createTarget", map[string]any{"url": "about:blank"})
	var attached struct{ SessionID string }
	b.call(&attached, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true})
	b.session = attached.SessionID
	b.call(nil, "Page.enable", nil)
	return b
}

func (b *browser) read(out *os.File) {
	defer close(b.gone)
	defer out.Close()
	in := bufio.NewReader(out)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var r reply
		if json.Unmarshal(text[:len(text)-1], &r) != nil || r.ID == 0 {
			continue // an event
		}
		b.lock.Lock()
		c := b.waiting[r.ID]
		delete(b.waiting, r.ID)
		b.lock.Unlock()
		if c != nil {
			c <- r
		}
	}
}

// leave asks the browser to end; the answer does not matter.
func (b *browser) leave() {
	if _, err := b.in.WriteString(`{"id":1000000,"method":"Browser.close"}` + "\x00"); err != nil {
		b.t.Logf("close browser: %v", err)
	}
}

// call asks the browser and waits for the answer.
func (b *browser) call(into any, method string, params map[string]any) {
	b.t.Helper()
	c := make(chan reply, 1)
	b.lock.Lock()
	b.last++
	id := b.last
	b.waiting[id] = c
	b.lock.Unlock()
	message := map[string]any{"id": id, "method": method, "params": params}
	if params == nil {
		message["params"] = map[string]any{}
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	raw, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r := <-c:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(r.Result, into); err != nil {
				b.t.Fatalf("%s: %v: %s", method, err, r.Result)
			}
		}
	case <-b.gone:
		b.t.Fatalf("%s: the browser is gone", method)
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
}

// eval is the value of a JavaScript expression.
func (b *browser) eval(into any, format string, args ...any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	text := fmt.Sprintf(format, args...)
	b.call(&r, "Runtime.evaluate", map[string]any{"expression": text, "returnByValue": true, "awaitPromise": true})
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s %s", text, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	if into != nil {
		if err := json.Unmarshal(r.Result.Value, into); err != nil {
			b.t.Fatalf("%s: %v: %s", text, err, r.Result.Value)
		}
	}
}

// open shows a file at a window size, dark or not, and waits until its script has drawn something.
func (b *browser) open(file, fragment string, width, height int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.call(nil, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]any{{"name": "prefers-color-scheme", "value": scheme}}})
	b.call(nil, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.call(nil, "Page.navigate", map[string]any{"url": "about:blank"})
	b.call(nil, "Page.navigate", map[string]any{"url": "file://" + file + fragment})
	b.wait("location.protocol === 'file:' && document.readyState === 'complete' && document.querySelector('#view').childElementCount > 0")
}

// wait asks until the expression is true.
func (b *browser) wait(expression string) {
	b.t.Helper()
	b.eval(nil, `new Promise((done, give) => {
		const end = Date.now() + %d;
		const look = () => { let ok = false; try { ok = %s; } catch (e) {} ok ? done(true) : Date.now() > end ? give("never: " + %q) : setTimeout(look, 20); };
		look();
	})`, (patience / 2).Milliseconds(), expression, expression)
}

// click presses the mouse on the middle of an element, as a user does: what lies above it gets the click.
func (b *browser) click(selector string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.eval(&at, `(() => { const e = document.querySelector(%q); if (!e) throw new Error("no element"); e.scrollIntoView({block: "nearest", inline: "nearest"});
		const r = e.getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`, selector)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call(nil, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1})
	}
}

// key presses a key.
func (b *browser) key(name string) {
	b.t.Helper()
	params := map[string]any{"type": "keyDown", "key": name, "code": name}
	if name == "Enter" {
		params["text"] = "\r"
	}
	b.call(nil, "Input.dispatchKeyEvent", params)
	b.call(nil, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": name})
}

// text is an element's.
func (b *browser) text(selector string) string {
	b.t.Helper()
	var out string
	b.eval(&out, "document.querySelector(%q).innerText", selector)
	return out
}

// shoot writes a picture into the folder that the variable SCREENSHOTS names, for people to look at.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	b.call(&r, "Page.captureScreenshot", map[string]any{"format": "png"})
	raw, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), raw, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
