package playground

import (
	"context"
	"fmt"
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

// addresses are states of all kinds.
var addresses = []string{
	"", "a.retry=1&b.breaker=1",
}

const finished = "document.body.dataset.done"

// Equal addresses give equal runs, in the page and outside of it.
func TestTheBrowserRunsWhatGoRuns(t *testing.T) {
	url := file(t)
	b := chromium.Start(t)
	b.View(1280, "light")
	for i, address := range addresses {
		b.Open("about:blank")
		b.Open(url + "#" + address)
		b.Until(20*time.Second, finished)
		var hashes []string
		for side := range 2 {
			hashes = append(hashes, play.Decode(address).Run(side, play.Watcher{}).Hash)
		}
		require.Equal(t, strings.Join(hashes, " "), b.Eval("document.body.dataset.hash"), address)
		t.Log(b.Eval("JSON.stringify(document.body.dataset) + document.getElementById('status').textContent"))
		b.Screenshot(fmt.Sprintf("state-%d", i))
	}
	require.Empty(t, b.Complaints())
}
