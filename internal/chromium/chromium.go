// Package chromium drives a real browser in tests of pages: Debian's chromium, through its debugging pipe. The browser is a
// process of its own, in real time, and whether a page has changed can only be asked: hence the waits in [Browser.Until].
package chromium

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-resilience/resilience/internal/testsize"
)

// Browser is a browser with one page.
type Browser struct {
	t       testing.TB
	session string
	to      io.Writer

	mu         sync.Mutex
	id         int
	answers    map[int]chan reply
	complaints []string // of the page: exceptions, violations of the policy, failed loads
	requests   []string
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start starts a browser that ends with the test. It skips the test in a short run, and where there is no chromium. For the
// browser, status.test is this machine by a name that it does not trust as it trusts loopback.
func Start(t testing.TB) *Browser {
	t.Helper()
	if !testsize.Whole() {
		t.Skip("set RESILIENCE_TESTS=whole to look at the page in a real browser")
	}
	path := testsize.Program(t, "chromium", "chromium")
	toRead, toWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromRead, fromWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--host-resolver-rules=MAP status.test 127.0.0.1", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, fromWrite} // 3 and 4 in the browser
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = toRead.Close(), fromWrite.Close()

	b := &Browser{t: t, to: toWrite, answers: make(map[int]chan reply)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(fromRead)
	}()
	t.Cleanup(func() {
		b.Call("Browser.close", nil, nil)
		_ = toWrite.Close()
		_ = cmd.Wait()
		_ = fromRead.Close()
		<-done
	})
	var target struct{ TargetID string }
	b.Call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.Call(domain+".enable", nil, nil)
	}
	return b
}

// read takes what the browser says.
func (b *Browser) read(from io.Reader) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var message struct {
			ID     int
			Method string
			Params json.RawMessage
			reply
		}
		_ = json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &message)
		b.mu.Lock()
		switch {
		case message.ID != 0:
			b.answers[message.ID] <- message.reply
			delete(b.answers, message.ID)
		case message.Method == "Runtime.exceptionThrown", message.Method == "Log.entryAdded":
			b.complaints = append(b.complaints, string(message.Params))
		case message.Method == "Network.requestWillBeSent":
			var sent struct{ Request struct{ URL string } }
			_ = json.Unmarshal(message.Params, &sent)
			b.requests = append(b.requests, sent.Request.URL)
		}
		b.mu.Unlock()
	}
}

// Call asks the browser for something, and waits for the answer.
func (b *Browser) Call(method string, params map[string]any, result any) {
	b.t.Helper()
	if err := b.ask(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// ask is Call with the error of the browser.
func (b *Browser) ask(method string, params map[string]any, result any) error {
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.id++
	b.answers[b.id] = answer
	message := map[string]any{"id": b.id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" && method != "Browser.close" {
		message["sessionId"] = b.session
	}
	b.mu.Unlock()
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	select {
	case got := <-answer:
		switch {
		case got.Error != nil:
			return fmt.Errorf("%s: %s", method, got.Error.Message)
		case result != nil:
			return json.Unmarshal(got.Result, result)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: the browser does not answer", method)
	}
}

// Eval returns the value of an expression in the page.
func (b *Browser) Eval(expression string) any {
	b.t.Helper()
	value, err := b.evaluate(expression)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// evaluate is Eval with the error of the browser.
func (b *Browser) evaluate(expression string) (any, error) {
	var result struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := b.ask("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &result)
	if details := result.ExceptionDetails; err == nil && details != nil {
		err = errors.New(expression + ": " + details.Text + " " + details.Exception.Description)
	}
	return result.Result.Value, err
}

// Open loads an address and waits until it is there.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.Call("Page.navigate", map[string]any{"url": url}, nil)
	b.Until(fmt.Sprintf("document.readyState === 'complete' && location.href.startsWith(%q)", url))
}

// patience is how long the page may take for anything: long enough for a busy machine.
const patience = 2 * time.Minute

// Until waits for an expression to become true, and returns how long that took.
func (b *Browser) Until(expression string) time.Duration {
	b.t.Helper()
	start := time.Now()
	expression = "(() => { try { return !!(" + expression + ") } catch { return false } })()" // the document may not be there yet
	//resilint:ignore RL2 it polls a page of its own browser, for at most a while
	for {
		if value, err := b.evaluate(expression); err == nil && value == true { // a page that is being left answers with an error
			return time.Since(start)
		}
		if time.Since(start) > patience {
			text, err := b.evaluate("document.body && document.body.innerText.slice(0, 1000)")
			b.t.Fatalf("it does not become true: %s\n%v, %v\n%v", expression, text, err, b.Complaints())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// View sets the width of the window and the colours, "light" or "dark".
func (b *Browser) View(width int, scheme string) {
	b.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Press presses a key, which writes text.
func (b *Browser) Press(key, text string, code int) {
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if text != "" && kind == "keyDown" {
			params["text"] = text
		}
		b.Call("Input.dispatchKeyEvent", params, nil)
	}
}

// Tab presses the tabulator.
func (b *Browser) Tab() { b.Press("Tab", "", 9) }

// Focusable is an expression for everything in a page that the tabulator should reach.
const Focusable = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility() && !e.disabled)"

// Unreachable goes through the page with the tabulator and returns what it has not reached. Of radio buttons one is reached
// with the tabulator and the others with the arrows.
func (b *Browser) Unreachable() any {
	b.t.Helper()
	b.Eval(Focusable + ".forEach(e => e.dataset.reached = 'no')")
	count, ok := b.Eval(Focusable + ".length").(float64)
	if !ok || count == 0 {
		b.t.Fatal("there is nothing to reach")
	}
	for range int(count) + 5 {
		b.Tab()
		b.Eval("document.activeElement.dataset.reached = 'yes'")
	}
	return b.Eval(Focusable + ".filter(e => e.dataset.reached === 'no' && e.type !== 'radio').map(e => e.outerHTML)")
}

// Faint is an expression for the texts whose contrast with what is behind them is below 4.5.
const Faint = `(() => {
	const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return {rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1}; };
	const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const bad = [];
	let checked = 0;
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('script,style,:disabled,option')) continue;
		const front = parse(getComputedStyle(element).color);
		let behind = element, back;
		do { back = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; } while (back.a === 0 && behind);
		if (back.a !== 1 || front.a !== 1) { bad.push('transparent: ' + element.outerHTML.slice(0, 100)); continue; }
		const [a, b] = [light(front.rgb), light(back.rgb)];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		checked++;
		if (ratio < 4.5) bad.push(ratio.toFixed(2) + ': ' + element.outerHTML.slice(0, 100));
	}
	return checked > 5 ? bad : ['only ' + checked + ' texts were checked'];
})()`

// Screenshot keeps a picture of the whole page in the directory that RESILIENCE_SCREENSHOTS names.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("RESILIENCE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// Complaints is what the browser has found wrong with the page.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints)
}

// Requests is the addresses that the page has asked for, apart from what is in it.
func (b *Browser) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.requests), func(url string) bool {
		return strings.HasPrefix(url, "data:") || strings.HasPrefix(url, "blob:")
	})
}
