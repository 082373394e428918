package policystatus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/chromium"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/throttle"
)

// shown is a service with something of everything, and its page on loopback.
func shown(t *testing.T) (*users, string) {
	t.Helper()
	u := newUsers(policystatus.Title("checkout"), policystatus.Control(func(*http.Request) (string, error) { return "alice", nil }))
	require.NoError(t, u.breaker.Reconfigure(breaker.FailureRate(0.5, 20), breaker.OpenFor(time.Hour)), "open until it is seen")
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

func TestT7_InARealBrowser(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	b.View(1280, "light")
	b.Open(url)
	b.Until("document.getElementById('live').textContent === 'Live'")
	b.Eval("window.same = true; document.querySelector('details').open = true")

	// A breaker that opens appears without a reload.
	b.Eval("document.querySelector('#p1-3 ~ p a').focus()")
	u.trip()
	took := b.Until("document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	t.Logf("a breaker that opened was on the page after %v", took)
	require.Equal(t, true, b.Eval("window.same"), "the page was loaded again")
	require.Equal(t, true, b.Eval("document.querySelector('details').open"), "what was open is open")
	require.Equal(t, "Control breaker \"users-db\"…", b.Eval("document.activeElement.textContent"), "the focus stays")

	// Names and errors full of markup are text.
	require.Nil(t, b.Eval("window.pwned"))
	require.EqualValues(t, 1, b.Eval("document.scripts.length"))
	require.EqualValues(t, 0, b.Eval("document.images.length"))

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{390, 1280} {
			b.View(width, scheme)
			for name, target := range map[string]string{"page": url, "explain": url + "?view=explain", "control": url + "?view=control&pipeline=users&layer=breaker"} {
				b.Open(target)
				require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width), "%s is wider than the window", name)
				require.Equal(t, []any{}, b.Eval(chromium.Faint), "%s %s %d", name, scheme, width)
				b.Screenshot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
			}
		}
	}
	require.Empty(t, b.Complaints())
}

// Everything can be reached and done with the keyboard.
func TestT7_WithTheKeyboardAlone(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	b.View(1280, "light")
	for _, target := range []string{url, url + "?view=control&pipeline=users&layer=breaker", url + "?view=explain"} {
		b.Open(target)
		require.Equal(t, []any{}, b.Unreachable(), target)
	}

	b.Open(url + "?view=control&pipeline=users&layer=breaker")
	b.Tab() // back to the page
	for b.Eval("document.activeElement.type") != "radio" {
		b.Tab()
	}
	b.Press("ArrowUp", "", 38) // from the first of them to the last, and on
	b.Press("ArrowUp", "", 38)
	require.Equal(t, "force-open", b.Eval("document.activeElement.value"))
	b.Tab()
	b.Tab()
	require.Equal(t, "reason", b.Eval("document.activeElement.id"))
	b.Call("Input.insertText", map[string]any{"text": "planned work"}, nil)
	require.Equal(t, breaker.Closed, u.breaker.State())
	b.Press("Enter", "\r", 13)
	b.Until("document.getElementById('now') && document.getElementById('now').innerText.includes('alice forced it open: planned work')")
	require.Equal(t, breaker.ForcedOpen, u.breaker.State())
	require.Empty(t, b.Complaints())
}

// An operator who has only the page, on a phone, finds what refuses, stops it, and sees that it has stopped.
func TestT7_AnOperatorStopsTheRefusals(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	u.trip()
	require.ErrorIs(t, u.backend.Run(t.Context(), ok), breaker.ErrOpen)
	b.View(390, "dark")
	b.Open(url)
	b.Until("document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	b.Eval("[...document.querySelectorAll('#now .box a')].find(a => a.textContent.includes('Control')).click()")
	b.Until("document.querySelector('form')")
	b.Eval(`[...document.querySelectorAll('label')].find(l => l.innerText.includes('Let every call through')).click();
		document.getElementById('reason').value = 'the database is well';
		document.querySelector('button').click()`)
	b.Until("document.getElementById('now') && document.getElementById('now').innerText.includes('alice forced it closed: the database is well')")
	require.Equal(t, false, b.Eval("document.getElementById('now').innerText.includes('Calls to “users” are refused.')"), "it has worked, and the page says so")
	require.NoError(t, u.backend.Run(t.Context(), ok))
	for _, scheme := range []string{"light", "dark"} {
		b.View(390, scheme)
		require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(390))
		require.Equal(t, []any{}, b.Eval(chromium.Faint), scheme)
		b.Screenshot("held-" + scheme)
	}
	require.Empty(t, b.Complaints())
}

// Over plain HTTP, by a name that is not localhost, a browser says of a form where it comes from in the header Origin alone.
func TestT4_ThePageActsOverPlainHTTP(t *testing.T) {
	b := chromium.Start(t)
	u, address := shown(t)
	_, port, err := net.SplitHostPort(strings.Trim(strings.TrimPrefix(address, "http:"), "/"))
	require.NoError(t, err)
	b.Open("http://status.test:" + port + "/?view=control&pipeline=users&layer=breaker")
	require.Equal(t, false, b.Eval("isSecureContext"))
	b.Eval(`document.querySelector('input[value=force-open]').click();
		document.getElementById('reason').value = 'planned work';
		document.querySelector('button').click()`)
	b.Until("document.getElementById('now') && document.getElementById('now').innerText.includes('alice forced it open: planned work')")
	require.Equal(t, breaker.ForcedOpen, u.breaker.State())
}

// Without JavaScript the page is the same, and reloads itself.
func TestT1_WithoutJavaScript(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	b.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.Open(url)
	u.trip()
	took := b.Until("document.getElementById('now').innerText.includes('Calls to “users” are refused.')")
	t.Logf("without JavaScript a breaker that opened was on the page after %v", took)
}

// A page of another origin in an operator's browser can send a form, and nothing happens.
func TestT4_AnotherOriginInARealBrowser(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!DOCTYPE html><title>evil</title><form method="post" action="%s"><input name="pipeline" value="users"><input name="layer" value="breaker">
<input name="action" value="force-open"><input name="reason" value="x"></form><iframe src="%s"></iframe><script>document.forms[0].submit()</script>`, url, url)
	}))
	defer evil.Close()
	b.Call("Page.navigate", map[string]any{"url": evil.URL}, nil)
	b.Until("document.body && document.body.innerText.includes('comes from another origin')")
	require.Equal(t, breaker.Closed, u.breaker.State())
	require.NotEqual(t, "control", read(t, u.page).Events[0].Kind)
}

// When the service is gone, the page says so, and comes back with it.
func TestT1_TheConnectionIsLost(t *testing.T) {
	b := chromium.Start(t)
	u, url := shown(t)
	b.Open(url)
	b.Until("document.getElementById('live').textContent === 'Live'")
	u.page.Close()
	took := b.Until("document.getElementById('lost').checkVisibility()")
	t.Logf("a lost connection was on the page after %v", took)
}
