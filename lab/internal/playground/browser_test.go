package playground

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/chromium"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/lab/internal/play"
)

// built is the page, built once for all tests.
var built = sync.OnceValues(func() ([]byte, error) { return Page(context.Background()) })

// file writes the page and returns its address.
func file(t *testing.T) string {
	t.Helper()
	if !testsize.Whole() {
		t.Skip("set RESILIENCE_TESTS=whole to build the page")
	}
	page, err := built()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "playground.html")
	require.NoError(t, os.WriteFile(name, page, 0o644))
	return "file://" + name
}

func TestThePageIsSmallAndWhole(t *testing.T) {
	file(t)
	page, err := built()
	require.NoError(t, err)
	require.LessOrEqual(t, len(page), MaxBytes)
	t.Logf("%d bytes", len(page))
	for _, link := range []string{`src="`, "<link rel=\"stylesheet", "@import", "url(http", `href="http`} {
		require.NotContains(t, string(page), link, "it would ask for something")
	}
}

// addresses are states of all kinds, some of them hostile.
var addresses = []string{
	start,
	"a.retry=1&b.breaker=1&t=20a20m",
	"seed=7&rate=80&a.total=1&a.retry=1&a.breaker=1&a.limit=1&a.bulkhead=1&a.attempt=1&b.throttle=1&t=10a20t",
	"load=1&clients=100&think=100&a.retry=1&a.jitter=3&b.retry=1&b.jitter=0&t=20a5u",
	"load=2&clients=100&slots=5&queue=5&a.retry=1&a.jitter=2&b.retry=1&b.jitter=0",
	"shape=2&slots=0&b.hedge=1&b.extra=3&b.hedge.budget=0&a.hedge=1&a.after=30",
	"rate=150&trouble=1&t=20a10e&a.hedge=1&a.attempt=1&b.hedge=1&b.retry=1&b.attempt=1",
	"shape=0&a.retry=1&a.attempt=1&a.attempt.ms=50&b.bulkhead=1&b.waiting=20&t=60c",
	"a.limit=1&a.persecond=30&a.wait=500&b.limit=1&b.persecond=30&b.limit.place=1&b.retry=1&t=30b",
	"a.breaker=1&a.breaker.place=1&a.retry=1&b.throttle=1&b.k=1.1&b.retry=1&t=15a20u",
	"rate=30&service=1000&slots=20&queue=0&a.bulkhead=1&a.atonce=5&a.bulkhead.place=1",
	"load=1&clients=500&think=10&service=1&slots=0&a.breaker=1&t=60u", // ends early: too much for a page
	"rate=500&service=2000&slots=0&trouble=1&t=60u",                   // ends early: too many at a time
	"a.total=1&a.total.ms=100&a.attempt=1&a.attempt.ms=200&b.retry=1&b.total=1&b.total.ms=10",
	"rate=NaN&seed=Infinity&slots=-1e400&queue=1e308&t=999999999999z&a.k=NaN&service=0x10&b.retry=2",
	"",
	"<script>alert(1)</script>&rate=%3Cb%3E&t=%00&&&=&a.retry=1&rate=60",
	"__proto__=1&constructor=2&toString=3&a.__proto__=4&lesson=9&step=9",
	strings.Repeat("rate=500&", 1000) + "rate=40",
}

func init() {
	for _, l := range lessons {
		addresses = append(addresses, "lesson=1&"+l.Steps[l.picture].Address)
	}
}

const finished = "document.body.dataset.done"

// visit goes to a state of a page that is open, and waits until it has run.
func visit(b *chromium.Browser, address string) {
	b.Eval(fmt.Sprintf("document.body.dataset.done = ''; location.hash = %q", "#again&"+address))
	b.Until(finished)
}

// named is an address as the page writes it.
func named(address string) string {
	if address = play.Decode(address).Encode(); address == "" {
		address = "nothing"
	}
	return "#" + address
}

// Equal addresses give equal runs, in the page and outside of it.
func TestTheBrowserRunsWhatGoRuns(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	require.GreaterOrEqual(t, len(addresses), 20)
	b.Open(url)
	for i, address := range addresses {
		if i > 0 {
			visit(b, address)
		}
		b.Until(finished)
		var hashes []string
		for side := range 2 {
			hashes = append(hashes, play.Decode(address).Run(side, play.Watcher{}).Hash)
		}
		require.Equal(t, strings.Join(hashes, " "), b.Eval("document.body.dataset.hash"), address)
		require.Equal(t, named(address), b.Eval("location.hash"), "the address is what counts of it")
	}
	require.Empty(t, b.Complaints())
	require.Equal(t, []string{url}, b.Requests(), "the page asks for nothing")
}

// Everything can be seen and reached: on a telephone, in the dark, with the keyboard.
func TestThePageIsForEverybody(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.Open(url)
	b.Until(finished)
	for i, address := range []string{"t=20a20m&a.retry=1&a.breaker=1&b.retry=1&b.attempt=1", lessonAddress(1, 0), lessonAddress(2, 1), lessonAddress(3, 1), lessonAddress(4, len(hedging.Steps)-1)} {
		visit(b, address)
		for _, width := range []int{320, 360, 1280} { // 320 is a window of 1280 at 400 %
			for _, scheme := range []string{"light", "dark"} {
				b.View(width, scheme)
				require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width), "%s is wider than the window", address)
				require.Equal(t, []any{}, b.Eval(chromium.Faint), "%s %d %s", scheme, width, address)
				b.Screenshot(fmt.Sprintf("%s-%d-%d", scheme, width, i))
			}
		}
	}
	unnamed := b.Eval(`[...document.querySelectorAll('input, select, button, a, [role]:not([role=status])')].filter(e => e.checkVisibility() && !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).map(e => e.outerHTML)`)
	require.Equal(t, []any{}, unnamed, "everything has a name")
	const announced = "[...document.querySelectorAll('#live :is(output, [role=status], [role=alert], [aria-live])')].filter(e => !e.closest('.quiz')).map(e => e.id)"
	visit(b, "a.retry=1")
	require.Equal(t, []any{"said"}, b.Eval(announced), "readers of screens hear one thing")
	b.Until("document.getElementById('said').textContent === 'A: 100.0 % succeeded, 1.00 attempts per call. B: 100.0 % succeeded, 1.00 attempts per call.'")
	b.View(1280, "light")
	b.Open("about:blank")
	b.Open(url + "#" + lessonAddress(4, 1))
	b.Until(finished)
	require.Equal(t, []any{}, b.Unreachable())
	require.Empty(t, b.Complaints())
}

// lessonAddress is that of a step.
func lessonAddress(lesson, step int) string {
	address := fmt.Sprintf("lesson=%d", lesson)
	if step > 0 {
		address += fmt.Sprintf("&step=%d", step)
	}
	return play.Decode(address + "&" + lessons[lesson-1].Steps[step].Address).Encode()
}

// A link that only names a lesson opens it in the state that its text is about.
func TestAnAddressThatOnlyNamesALesson(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	for address, want := range map[string]string{
		"lesson=2":        lessonAddress(2, 0),
		"lesson=2&step=3": lessonAddress(2, 3),
		"lesson=2&step=9": lessonAddress(2, len(storm.Steps)-1),
		"lesson=9":        "lesson=9",        // there is none
		"lesson=2&rate=9": "lesson=2&rate=9", // a state of the reader's own
	} {
		b.Open("about:blank")
		b.Open(url + "#" + address)
		b.Until(finished)
		require.Equal(t, named(want), b.Eval("location.hash"), address)
	}
	require.Empty(t, b.Complaints())
}

// With keys, buttons and the history, the page does what one would think.
func TestThePageAnswers(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.View(1280, "light")
	b.Open(url + "#nothing")
	b.Until(finished)
	until := func(expression string) { t.Helper(); b.Until(expression) }
	hash := func(want string) {
		t.Helper()
		until(fmt.Sprintf("location.hash === %q && document.body.dataset.done", named(want)))
	}

	// A slider, with the keyboard: each press is a step.
	b.Eval("document.getElementById('c-rate').focus()")
	b.Press("ArrowRight", "", 39)
	hash("rate=51")
	entries, done := b.Eval("history.length"), b.Eval(finished)
	b.Eval("document.getElementById('c-rate').dispatchEvent(new Event('change'))")
	require.Equal(t, done, b.Eval(finished), "what has run does not run again")
	for range 60 { // quicker than they can run
		b.Press("ArrowLeft", "", 37)
	}
	until("document.body.dataset.done && location.hash === '#rate=' + parseInt(document.getElementById('c-rate').getAttribute('aria-valuetext'))")
	require.Less(t, play.Decode(b.Eval("location.hash").(string)).Rate, 40.)
	require.Less(t, b.Eval("history.length").(float64)-entries.(float64), 10., "a key that is held is one step back, or some if the machine is slow")

	// A change that follows at once leaves the one before it as it was.
	b.Eval(`(() => {
		const slider = document.getElementById('c-rate'), moves = event => slider.dispatchEvent(new Event(event));
		for (const at of [300, 320, 340]) { slider.value = at; moves('input'); }
		moves('change');
		window.moved = '#rate=' + parseInt(slider.getAttribute('aria-valuetext'));
		document.getElementById('c-a.retry').click();
	})()`)
	until("location.hash === window.moved + '&a.retry=1' && document.body.dataset.done")
	b.Eval("history.back()")
	until("location.hash === window.moved && document.body.dataset.done && !document.getElementById('c-a.retry').checked")

	// A link that a mailer has encoded, and one that nobody has.
	b.Eval("location.hash = 'a.retry%3D1%26rate%3D60'")
	hash("rate=60&a.retry=1")
	b.Eval("location.hash = 'rate=61&%E0%A4%A'")
	hash("rate=61")

	// The timeline, with the keyboard and by dragging.
	b.Open("about:blank")
	b.Open(url + "#nothing")
	until(finished)
	b.Eval("document.getElementById('draw').focus()")
	for range 3 {
		b.Press("ArrowUp", "", 38)
	}
	hash("t=20ad")
	b.Press("Delete", "", 46)
	hash("")
	b.Eval("document.getElementById('draw').scrollIntoView({block: 'center', behavior: 'instant'})")
	box := b.Eval("(() => { const r = document.getElementById('draw').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()").([]any)
	at := func(kind string, x, y float64) {
		b.Call("Input.dispatchMouseEvent", map[string]any{"type": kind, "button": "left", "buttons": 1, "clickCount": 1,
			"x": box[0].(float64) + x*box[2].(float64), "y": box[1].(float64) + y*box[3].(float64)}, nil)
	}
	at("mousePressed", 10.5/play.Seconds, .5)
	at("mouseMoved", 15.5/play.Seconds, .5)
	at("mouseMoved", 19.5/play.Seconds, 0)
	at("mouseReleased", 19.5/play.Seconds, 0)
	until("document.body.dataset.done && location.hash.startsWith('#t=10a6k')")

	// Switches, a lesson, its steps, and back.
	b.Eval("document.getElementById('c-a.retry').click()")
	until("location.hash.startsWith('#a.retry=1&t=10a6k') && document.body.dataset.done")
	b.Eval("[...document.querySelectorAll('#lessons a')][2].click()")
	hash(lessonAddress(2, 0))
	b.Eval("[...document.querySelectorAll('#lesson button')].find(e => e.textContent === 'Next').click()")
	hash(lessonAddress(2, 1))
	require.Equal(t, "H2", b.Eval("document.activeElement.tagName"), "readers of screens hear where they are")
	require.EqualValues(t, 1, b.Eval("document.querySelectorAll('#controls input').length"), "one control")
	b.Eval("history.back()")
	hash(lessonAddress(2, 0))
	b.Eval("history.go(-1)")
	until("location.hash.startsWith('#a.retry=1&t=10a6k') && document.body.dataset.done && document.getElementById('c-a.retry').checked")
	b.Eval("history.go(-1)")
	until("location.hash.startsWith('#t=10a6k') && !document.getElementById('c-a.retry').checked")

	// The quiz.
	visit(b, lessonAddress(1, len(order.Steps)-1))
	b.Eval("document.querySelectorAll('.quiz fieldset')[0].querySelectorAll('input')[0].click()")
	require.Contains(t, b.Eval("document.querySelector('.quiz output').textContent"), "Not quite.")
	b.Eval("document.querySelectorAll('.quiz fieldset')[0].querySelectorAll('button')[0].click()")
	require.Contains(t, b.Eval("document.querySelector('.quiz output').textContent"), order.Quiz[0].Why)

	// What Compose refuses.
	visit(b, "a.total=1&a.total.ms=100&a.attempt=1&a.attempt.ms=200")
	require.Contains(t, b.Eval("document.getElementById('code').textContent"), "Compose refuses this pipeline")

	// The largest runs there are give way at once.
	for _, address := range []string{addresses[11], addresses[12], "rate=500&a.retry=1&a.attempts=8&a.budget=0&a.delay=1&b.hedge=1&b.after=1&b.extra=3&b.hedge.budget=0&t=60u"} {
		b.Eval(fmt.Sprintf("location.hash = %q", address))
		time.Sleep(50 * time.Millisecond) // of real time: until it runs
		visit(b, "rate=20")
		require.Equal(t, "#rate=20", b.Eval("location.hash"))
		until("document.getElementById('numbers').textContent.includes('100.0 %')") // with the next picture
	}
	require.Empty(t, b.Complaints())
}

// Copying puts the code where it can be pasted.
func TestThePageCopies(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.Open(url + "#a.retry=1")
	b.Until(finished)
	b.Eval("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
	b.Eval("[...document.querySelectorAll('#code button')].forEach((e, i) => { e.click(); window['copied' + i] = window.copied; })")
	source := play.Decode("a.retry=1").Source(0)
	require.Equal(t, source.Go, b.Eval("window.copied0"))
	require.Equal(t, source.JSON, b.Eval("window.copied1"))
	b.Until("document.querySelector('#code button').textContent === 'Copy Go'")
	b.Eval("navigator.clipboard.writeText = () => Promise.reject(new Error('no')); document.execCommand = () => false")
	b.Eval("document.querySelector('#code button').click(); document.querySelector('#code button').click()")
	b.Until("document.querySelector('#code button').textContent === 'Not allowed' && document.getElementById('said').textContent === 'Not allowed'")
	b.Until("document.querySelector('#code button').textContent === 'Copy Go'")
}

// A finger draws the trouble, two fingers zoom, and a finger that scrolls the page over a slider does not move it.
func TestThePageByTouch(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.View(360, "light")
	b.Call("Emulation.setTouchEmulationEnabled", map[string]any{"enabled": true, "maxTouchPoints": 2}, nil)
	b.Open(url + "#nothing")
	b.Until(finished)
	type point struct{ x, y float64 }
	// touch moves fingers by a tenth at a time, at 20 ms each, and holds them for a second before they are lifted: the page that
	// a finger scrolls stands still then, where one lifted in its move would let it roll on, away from the next touch.
	// It returns how far the page was scrolled before.
	touch := func(element string, from, until []point) any {
		t.Helper()
		b.Eval(fmt.Sprintf("document.getElementById(%q).scrollIntoView({block: 'center', behavior: 'instant'})", element))
		box := b.Eval(fmt.Sprintf("(() => { const r = document.getElementById(%q).getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()", element)).([]any)
		stood, start := b.Eval("scrollY"), float64(time.Now().UnixMilli())/1000
		send := func(kind string, step int, points []map[string]any) {
			b.Call("Input.dispatchTouchEvent", map[string]any{"type": kind, "touchPoints": points, "timestamp": start + .02*float64(step)}, nil)
		}
		fingers := func(at float64) []map[string]any {
			var points []map[string]any
			for i := range from {
				x, y := from[i].x+at*(until[i].x-from[i].x), from[i].y+at*(until[i].y-from[i].y)
				points = append(points, map[string]any{"id": i, "x": box[0].(float64) + x*box[2].(float64), "y": box[1].(float64) + y*box[3].(float64)})
			}
			return points
		}
		send("touchStart", 0, fingers(0))
		for step := 1; step <= 10; step++ {
			send("touchMove", step, fingers(float64(step)/10))
		}
		send("touchMove", 60, fingers(1))
		send("touchEnd", 60, []map[string]any{})
		return stood
	}
	stood := touch("c-rate", []point{{.3, .5}}, []point{{.3, -9}})
	b.Until(fmt.Sprintf("scrollY > %v", stood))
	b.Until("document.body.dataset.done && document.getElementById('c-rate').getAttribute('aria-valuetext') === '50 per second'")
	touch("draw", []point{{.2, .3}}, []point{{.4, .8}})
	b.Until("document.body.dataset.done && /^#t=12ao.*[d-f]$/.test(location.hash)")
	drawn := b.Eval("location.hash")
	touch("draw", []point{{.4, .1}, {.6, .1}}, []point{{.1, .1}, {.9, .1}})
	b.Until(fmt.Sprintf("document.body.dataset.done && visualViewport.scale > 1 && location.hash === %q", drawn))
	require.Empty(t, b.Complaints())
}

// Where nothing can run the page says why, and shows what it shows without JavaScript.
func TestThePageThatCannotRun(t *testing.T) {
	file(t)
	page, err := built()
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", r.FormValue("policy"))
		_, _ = w.Write(page)
	}))
	defer server.Close()
	for _, c := range []struct{ without, policy, want string }{
		{without: "delete globalThis.WebAssembly", want: "Nothing can run here: the browser is too old"},
		{without: "WebAssembly.compileStreaming = () => Promise.reject(new Error('no room'))", want: "Nothing can run here: no room."},
		{without: "delete globalThis.URL"}, // as in a browser that does not understand the script
		{policy: "script-src 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'none'", want: "Nothing can run here: the browser does not start its worker"},
		{policy: "default-src 'self'"},
	} {
		b := chromium.Start(t)
		b.Call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": c.without}, nil)
		b.Open(server.URL + "/?policy=" + neturl.QueryEscape(c.policy))
		b.Until(fmt.Sprintf("document.getElementById('trouble').textContent.startsWith(%q) && document.getElementById('static').checkVisibility()", c.want))
		require.Equal(t, false, b.Eval("document.getElementById('live').checkVisibility()"), "nothing that does not answer is shown")
		require.Equal(t, c.want != "", b.Eval("document.getElementById('trouble').checkVisibility()"))
	}
}

// A worker that breaks is replaced with the next change.
func TestThePageGoesOn(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.Call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": "const W = Worker; all = []; Worker = class extends W { constructor(...a) { super(...a); all.push(this); } }"}, nil)
	b.Open(url + "#a.retry=1")
	b.Until(finished)
	for i, breaks := range []string{"onerror(new ErrorEvent('error', {message: 'trap'}))", "onmessage({data: {kind: 'ended', why: 'trap'}})"} {
		b.Eval("all[all.length - 1]." + breaks)
		b.Until("document.getElementById('trouble').checkVisibility()")
		require.Contains(t, b.Eval("document.getElementById('trouble').textContent"), "has stopped: trap. Any change starts it again.")
		b.Eval("document.body.dataset.done = ''; document.getElementById('c-rate').dispatchEvent(new Event('change'))")
		b.Until(finished)
		require.Equal(t, false, b.Eval("document.getElementById('trouble').checkVisibility()"))
		require.EqualValues(t, 3+i, b.Eval("all.length"))
	}
}

// Without JavaScript there are pictures and the words of the lessons.
func TestThePageWithoutJavaScript(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	for _, width := range []int{360, 1280} {
		b.View(width, "light")
		b.Open(url)
		require.EqualValues(t, len(lessons), b.Eval("[...document.querySelectorAll('#static svg')].filter(e => e.checkVisibility()).length"))
		require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), float64(width))
		b.Screenshot(fmt.Sprintf("static-%d", width))
	}
	text := b.Eval("document.body.innerText").(string)
	for _, l := range lessons {
		require.Contains(t, text, l.Idea)
	}
	require.False(t, b.Eval("document.getElementById('live').checkVisibility()").(bool))
}
