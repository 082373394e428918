package playground

import (
	"testing"
	"time"

	"github.com/go-resilience/resilience/internal/chromium"
)

func TestMeasure(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.View(1280, "light")
	b.Open(url)
	b.Until(20*time.Second, finished)
	for range 6 {
		b.Eval("document.body.dataset.done='', document.querySelector('#c-seed').value = 1+ +document.querySelector('#c-seed').value, document.querySelector('#c-seed').dispatchEvent(new Event('input'))")
		b.Until(20*time.Second, finished)
		t.Log(b.Eval("document.getElementById('status').textContent"))
	}
}
