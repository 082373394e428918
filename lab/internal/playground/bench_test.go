package playground

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-resilience/resilience/internal/chromium"
)

// BenchmarkPage opens the page in a browser and reports, as medians of at least 5 loads, in ms: the first curve and the end of
// the first run after the document is there, and how long a moved slider takes to change the picture, and to run. It needs
// RESILIENCE_TESTS=whole and -benchtime=5x, and a machine that does nothing else.
func BenchmarkPage(b *testing.B) {
	browser := chromium.Start(b)
	page, err := built()
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.TempDir(), "playground.html")
	if err := os.WriteFile(name, page, 0o644); err != nil {
		b.Fatal(err)
	}
	const moved = `new Promise(answer => {
		const began = performance.now(), data = document.body.dataset, before = data.painted, slider = document.getElementById('c-rate');
		let pixel;
		const watch = new MutationObserver(() => {
			if (!pixel && data.painted !== before) pixel = performance.now();
			if (pixel && data.done) { watch.disconnect(); answer([pixel - began, performance.now() - began]); }
		});
		watch.observe(document.body, {attributes: true});
		slider.value = +slider.value + 1;
		slider.dispatchEvent(new Event('input'));
	})`
	times := map[string][]float64{}
	note := func(name string, value any) {
		if ms, ok := value.(float64); ok {
			times[name] = append(times[name], ms)
		}
	}
	for range b.N {
		browser.Open("about:blank")
		browser.Open("file://" + name)
		browser.Until("document.body.dataset.finished")
		// When the document was there; the script of the page is the last thing in it.
		const since = " - performance.getEntriesByType('navigation')[0].domInteractive"
		note("first-curve-ms", browser.Eval("document.body.dataset.first"+since))
		note("default-ms", browser.Eval("document.body.dataset.finished"+since))
		note("parse-ms", browser.Eval("performance.getEntriesByType('navigation')[0].domInteractive"))
		if pair, ok := browser.Eval(moved).([]any); ok {
			note("slider-ms", pair[0])
			note("again-ms", pair[1])
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, all := range times {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], name)
	}
}
