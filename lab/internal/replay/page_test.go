package replay

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page refers to nothing else, and what comes from outside cannot break out of it.
func TestThePageNeedsNothingElse(t *testing.T) {
	source := outage()
	source.records = source.records[3000:5000]
	log := source.log(t)
	c, err := NewCandidate("<script>alert(1)</script>.json", []byte(`{"pipelines":{"<b>":{"layers":[{"kind":"breaker","name":"</svg><img src=x>","consecutiveFailures":5}]}}}`), "")
	require.NoError(t, err)
	p, err := NewJudge(log, 1).Predict(c, func(int, int) {})
	require.NoError(t, err)
	report := &Report{Files: []string{"<i>.log"}, Log: log, Recorded: log.Recorded(), Predictions: []*Prediction{p}, Plan: "<u>"}
	page := report.HTML()
	without := strings.ReplaceAll(page, "http://www.w3.org/2000/svg", "")
	require.NotRegexp(t, regexp.MustCompile(`(?i)https?:|<[^>]*\bsrc=|@import|url\([^#]|<script|<img|<b>|<i>|<u>`), without)
	require.Equal(t, strings.Count(page, "<svg"), strings.Count(page, "</svg>"))
	require.Contains(t, page, "prefers-color-scheme: dark")
	require.Contains(t, page, `class="figure narrow"`)
	require.Less(t, strings.Index(page, `class="verdict`), strings.Index(page, "<td>succeeded</td>"), "the verdict comes before any number")
	require.NotContains(t, report.Text(), "\x1b")
}

func TestWhatComesFromOutsideIsOneLine(t *testing.T) {
	require.Equal(t, "a?[31mb?c?d", oneLine("a\x1b[31mb\nc\u202ed"))
	require.Len(t, []rune(oneLine(strings.Repeat("x", 100))), 41)
	require.Equal(t, "…/log/nginx/of/a/host/in/a/zone/access.log.3.gz", filesOf([]string{"/data/" + strings.Repeat("x", 40) + "/log/nginx/of/a/host/in/a/zone/access.log.3.gz"}))
	require.Equal(t, "a?[31m.log, -", filesOf([]string{"a\x1b[31m.log", "-"}))
	require.Equal(t, "1.log, 2.log, 3.log and 9 more", filesOf([]string{"1.log", "2.log", "3.log", "4", "5", "6", "7", "8", "9", "10", "11", "12"}))
}

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": count(1234567), "-1,234": count(-1234), "0": count(0), "100": count(100),
		"99.999 %": ofAll(99_999, 100_000), "0.001 %": ofAll(1, 100_000), "100.0 %": ofAll(5, 5), "-": ofAll(0, 0),
		"29 h 07 min": long(29*3600e9 + 7*60e9), "3 min 20 s": long(200e9), "4.2 s": long(4.2e9),
		"1.23s": brief(1234567890), "12.35ms": brief(12345678), "1m40s": brief(100e9),
	} {
		require.Equal(t, want, got)
	}
}

func TestLinesAreWrapped(t *testing.T) {
	text := strings.TrimSpace(strings.Repeat("word and ", 40))
	lines := wrapped(text, "  ")
	require.Greater(t, len(lines), 3)
	for _, line := range lines {
		require.LessOrEqual(t, len(line), 96)
	}
	require.Equal(t, text, strings.Join(strings.Fields(strings.Join(lines, " ")), " "))
	require.Len(t, wrapped(strings.Repeat("x", 200), "  "), 1)
}

func TestLabelsOfStripsTellThemApart(t *testing.T) {
	require.Equal(t, `…eaker-only breaker "…`, label("outage.json#breaker-only", `breaker "orders"`))
	require.Equal(t, "a.json bulkhead 4", label("a.json", "bulkhead 4"))
}
