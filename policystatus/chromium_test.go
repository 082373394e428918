package policystatus_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/stretchr/testify/require"
)

// browser drives a real chromium through its debugging pipe.
type browser struct {
	t       *testing.T
	session string
	to      io.Writer

	mu      sync.Mutex
	id      int
	answers map[int]chan reply
	errors  []string // of the page: exceptions, violations of the policy, failed loads
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// chromium starts a browser with one page, or skips the test.
func chromium(t *testing.T) *browser {
	t.Helper()
	if !testsize.Whole() {
		t.Skip("set RESILIENCE_TESTS=whole to look at the page in a real browser")
	}
	path := testsize.Program(t, "chromium", "chromium")
	toRead, toWrite, err := os.Pipe()
	require.NoError(t, err)
	fromRead, fromWrite, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, fromWrite} // 3 and 4 in the browser
	require.NoError(t, cmd.Start())
	_, _ = toRead.Close(), fromWrite.Close()

	b := &browser{t: t, to: toWrite, answers: make(map[int]chan reply)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(fromRead)
	}()
	t.Cleanup(func() {
		b.call("Browser.close", nil, nil)
		_ = toWrite.Close()
		_ = cmd.Wait()
		_ = fromRead.Close()
		<-done
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes what the browser says.
func (b *browser) read(from io.Reader) {
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
			b.errors = append(b.errors, string(message.Params))
		}
		b.mu.Unlock()
	}
}

// call asks the browser for something, and waits for the answer.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	require.NoError(b.t, b.ask(method, params, result))
}

// ask is call with the error of the browser.
func (b *browser) ask(method string, params map[string]any, result any) error {
	b.t.Helper()
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
	require.NoError(b.t, err)
	_, err = b.to.Write(append(text, 0))
	require.NoError(b.t, err)
	select {
	case got := <-answer:
		if got.Error != nil {
			return fmt.Errorf("%s: %s", method, got.Error.Message)
		}
		if result != nil {
			return json.Unmarshal(got.Result, result)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: the browser does not answer", method)
	}
}

// eval returns the value of an expression in the page.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	value, err := b.evaluate(expression)
	require.NoError(b.t, err)
	return value
}

// evaluate is eval with the error of the browser.
func (b *browser) evaluate(expression string) (any, error) {
	b.t.Helper()
	var result struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	err := b.ask("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &result)
	if err == nil && result.ExceptionDetails != nil {
		err = fmt.Errorf("%s: %s", expression, result.ExceptionDetails.Text)
	}
	return result.Result.Value, err
}

// open loads an address and waits until it is there.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.until(5*time.Second, fmt.Sprintf("document.readyState === 'complete' && location.href.startsWith(%q)", url))
}

// until waits for an expression to become true, and returns how long that took. The browser is a process of its own, in real
// time, and whether the page has changed can only be asked: hence the sleep between two questions.
func (b *browser) until(most time.Duration, expression string) time.Duration {
	b.t.Helper()
	start := time.Now()
	expression = "(() => { try { return !!(" + expression + ") } catch { return false } })()" // the document may not be there yet
	for {
		if value, err := b.evaluate(expression); err == nil && value == true { // a page that is being left answers with an error
			return time.Since(start)
		}
		if time.Since(start) > most {
			text, err := b.evaluate("document.body && document.body.innerText.slice(0, 1000)")
			require.FailNow(b.t, "it does not become true", "%s\n%v, %v", expression, text, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// view sets the width of the window and the colours.
func (b *browser) view(width int, scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// press presses a key.
func (b *browser) press(key, text string, code int) {
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if text != "" && kind == "keyDown" {
			params["text"] = text
		}
		b.call("Input.dispatchKeyEvent", params, nil)
	}
}

func (b *browser) tab() { b.press("Tab", "", 9) }

// screenshot keeps a picture of the whole page in the directory that RESILIENCE_SCREENSHOTS names.
func (b *browser) screenshot(name string) {
	dir := os.Getenv("RESILIENCE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(dir+"/"+name+".png", data, 0o644))
}

// complaints is what the browser has found wrong with the page.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.errors
}
