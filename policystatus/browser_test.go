package policystatus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
)

// shown is a service with something of everything, and its page on loopback.
func shown(t *testing.T) (*users, string) {
	t.Helper()
	u := newUsers(policystatus.Title("checkout"), policystatus.Control(func(*http.Request) (string, error) { return "alice", nil }))
	mail := resilience.Compose(resilience.Name("mail"), ratelimit.New(1, 1, ratelimit.Name("smtp")), throttle.New(throttle.Shadow()), resilience.Observe(u.page))
	hosts := keyed.New(func(host string) *breaker.Breaker { return breaker.New() })
	for i := range 10 {
		hosts.Get(fmt.Sprint(i))
	}
	hosts.Get("1").Trip()
	hostile := resilience.Compose(resilience.Name(markup), breaker.New(breaker.Name(markup), breaker.ConsecutiveFailures(1)), resilience.Observe(u.page))
	u.page.Add(mail, hostile)
	u.page.AddReporter("hosts", hosts)
	_ = hostile.Run(t.Context(), func(context.Context) error { return errors.New(markup) })
	for range 5 {
		_ = mail.Run(t.Context(), ok)
	}
	server := httptest.NewServer(u.page)
	t.Cleanup(server.Close)
	t.Cleanup(u.page.Close)
	return u, server.URL + "/"
}

// contrast returns the texts whose contrast with what is behind them is below 4.5.
const contrast = `(() => {
	const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return {rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1}; };
	const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const bad = [];
	let checked = 0;
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('script,style')) continue;
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

func TestT7_InARealBrowser(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	b.view(1280, "light")
	b.open(url)
	b.until(5*time.Second, "document.getElementById('live').textContent === 'Live'")
	b.eval("window.same = true; document.querySelector('details').open = true")

	// A breaker that opens appears without a reload.
	b.eval("document.querySelector('#p1-3 ~ p a').focus()")
	u.trip()
	took := b.until(2*time.Second, "document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	t.Logf("a breaker that opened was on the page after %v", took)
	require.Equal(t, true, b.eval("window.same"), "the page was loaded again")
	require.Equal(t, true, b.eval("document.querySelector('details').open"), "what was open is open")
	require.Equal(t, "Control breaker \"users-db\"…", b.eval("document.activeElement.textContent"), "the focus stays")

	// Names and errors full of markup are text.
	require.Nil(t, b.eval("window.pwned"))
	require.EqualValues(t, 1, b.eval("document.scripts.length"))
	require.EqualValues(t, 0, b.eval("document.images.length"))

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{390, 1280} {
			b.view(width, scheme)
			for name, target := range map[string]string{"page": url, "explain": url + "?view=explain", "control": url + "?view=control&pipeline=users&layer=breaker"} {
				b.open(target)
				require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(width), "%s is wider than the window", name)
				require.Equal(t, []any{}, b.eval(contrast), "%s %s %d", name, scheme, width)
				b.screenshot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
			}
		}
	}
	require.Empty(t, b.complaints())
}

// Everything can be reached and done with the keyboard.
func TestT7_WithTheKeyboardAlone(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	b.view(1280, "light")
	for _, target := range []string{url, url + "?view=control&pipeline=users&layer=breaker", url + "?view=explain"} {
		b.open(target)
		const focusable = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')].filter(e => e.checkVisibility())"
		b.eval(focusable + ".forEach(e => e.dataset.reached = 'no')")
		count := int(b.eval(focusable + ".length").(float64))
		require.Positive(t, count)
		for range count + 5 {
			b.tab()
			b.eval("document.activeElement.dataset.reached = 'yes'")
		}
		// Of radio buttons one is reached with the tabulator and the others with the arrows.
		require.Equal(t, []any{}, b.eval(focusable+".filter(e => e.dataset.reached === 'no' && e.type !== 'radio').map(e => e.outerHTML)"), target)
	}

	b.open(url + "?view=control&pipeline=users&layer=breaker")
	b.tab() // back to the page
	for b.eval("document.activeElement.type") != "radio" {
		b.tab()
	}
	b.press("ArrowUp", "", 38) // from the first of them to the last, and on
	b.press("ArrowUp", "", 38)
	require.Equal(t, "force-open", b.eval("document.activeElement.value"))
	b.tab()
	b.tab()
	require.Equal(t, "reason", b.eval("document.activeElement.id"))
	b.call("Input.insertText", map[string]any{"text": "planned work"}, nil)
	require.Equal(t, breaker.Closed, u.breaker.State())
	b.press("Enter", "\r", 13)
	b.until(5*time.Second, "document.getElementById('now') && document.getElementById('now').innerText.includes('alice forced it open: planned work')")
	require.Equal(t, breaker.ForcedOpen, u.breaker.State())
	require.Empty(t, b.complaints())
}

// An operator who has only the page, on a phone, finds what refuses, stops it, and sees that it has stopped.
func TestT7_AnOperatorStopsTheRefusals(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	u.trip()
	require.ErrorIs(t, u.backend.Run(t.Context(), ok), breaker.ErrOpen)
	b.view(390, "dark")
	b.open(url)
	b.until(5*time.Second, "document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	b.eval("[...document.querySelectorAll('#now .box a')].find(a => a.textContent.includes('Control')).click()")
	b.until(5*time.Second, "document.querySelector('form')")
	b.eval(`[...document.querySelectorAll('label')].find(l => l.innerText.includes('Let every call through')).click();
		document.getElementById('reason').value = 'the database is well';
		document.querySelector('button').click()`)
	b.until(5*time.Second, "document.getElementById('now') && document.getElementById('now').innerText.includes('alice forced it closed: the database is well')")
	require.Equal(t, false, b.eval("document.getElementById('now').innerText.includes('Calls to “users” are refused.')"), "it has worked, and the page says so")
	require.NoError(t, u.backend.Run(t.Context(), ok))
	for _, scheme := range []string{"light", "dark"} {
		b.view(390, scheme)
		require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(390))
		require.Equal(t, []any{}, b.eval(contrast), scheme)
		b.screenshot("held-" + scheme)
	}
	require.Empty(t, b.complaints())
}

// Without JavaScript the page is the same, and reloads itself.
func TestT1_WithoutJavaScript(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(url)
	u.trip()
	took := b.until(8*time.Second, "document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	t.Logf("without JavaScript a breaker that opened was on the page after %v", took)
}

// A page of another origin in an operator's browser can send a form, and nothing happens.
func TestT4_AnotherOriginInARealBrowser(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!DOCTYPE html><title>evil</title><form method="post" action="%s"><input name="pipeline" value="users"><input name="layer" value="breaker">
<input name="action" value="force-open"><input name="reason" value="x"></form><iframe src="%s"></iframe><script>document.forms[0].submit()</script>`, url, url)
	}))
	defer evil.Close()
	b.call("Page.navigate", map[string]any{"url": evil.URL}, nil)
	b.until(5*time.Second, "document.body && document.body.innerText.includes('comes from another origin')")
	require.Equal(t, breaker.Closed, u.breaker.State())
	require.NotEqual(t, "control", read(t, u.page).Events[0].Kind)
}

// When the service is gone, the page says so, and comes back with it.
func TestT1_TheConnectionIsLost(t *testing.T) {
	b := chromium(t)
	u, url := shown(t)
	b.open(url)
	b.until(5*time.Second, "document.getElementById('live').textContent === 'Live'")
	u.page.Close()
	took := b.until(8*time.Second, "document.getElementById('lost').checkVisibility()")
	t.Logf("a lost connection was on the page after %v", took)
}
