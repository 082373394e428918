package report_test

import (
	"encoding/csv"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/plot"
	"github.com/go-resilience/resilience/lab/internal/report"
	"github.com/go-resilience/resilience/lab/internal/scenario"
)

func result(passed bool) *scenario.Result {
	return scenario.Play(&scenario.Scenario{
		Name: "L0", Page: "test", Question: "Is <b> escaped?", Answer: "Yes & no.", Advice: []string{"advice"}, Limits: []string{"limit"}, Setup: []string{"set-up"}, Sources: []string{"source"},
		Run: func(lab *scenario.Lab) {
			lab.ExpectThat("a | fact", passed, "this", "that", "here")
			lab.Draw(&plot.Figure{Title: "picture", Panels: []plot.Panel{{Title: "p", X: plot.Axis{Label: "</script>"}, Series: []plot.Series{{Name: "s", X: []float64{0, 1}, Y: []float64{0, 1}}}}}})
		},
	}, scenario.Options{Seed: 5})
}

func TestTable(t *testing.T) {
	table := report.Table([]*scenario.Result{result(true), result(false)})
	require.Equal(t, 4, strings.Count(table, "\n"))
	require.Contains(t, table, "L0  a | fact  this      that      here    pass\n")
	require.Contains(t, table, "FAIL\n")
	broken := result(true)
	broken.Err = errors.New("stuck\nat length")
	require.Contains(t, report.Table([]*scenario.Result{broken}), "the simulation  stuck")
	require.Contains(t, report.Summary([]*scenario.Result{result(true), result(false)}), "1 of 2 expectations met\n")
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	html := report.HTML([]*scenario.Result{result(true), result(false)})
	without := strings.ReplaceAll(html, "http://www.w3.org/2000/svg", "")
	require.NotRegexp(t, regexp.MustCompile(`(?i)https?:|src=|@import|url\([^#]`), without)
	require.Contains(t, html, "Is &lt;b&gt; escaped?")
	require.Contains(t, html, "1 of 2 expectations met")
	require.Contains(t, html, "<svg", "a picture without JavaScript")
	require.Equal(t, strings.Count(html, "<script"), strings.Count(html, "</script>"), "data cannot end a script")
}

// A spreadsheet must not take a name for a formula, and must take numbers for numbers.
func TestNamesAreNoFormulas(t *testing.T) {
	r := result(true)
	figure := *r.Figures[0]
	figure.Panels = nil
	for _, name := range []string{"=1+1", "+x", "-x", "@x", "\t=1", "\r=1", "\n=1", "x=1", "", "-1", "+2.5e3", "−3 %"} {
		figure.Panels = append(figure.Panels, plot.Panel{Title: "p", X: plot.Axis{Label: "=x"}, Series: []plot.Series{{Name: name, X: []float64{-1}, Y: []float64{-2}}}})
	}
	r.Figures = []*plot.Figure{&figure}
	var out strings.Builder
	require.NoError(t, report.CSV(&out, []*scenario.Result{r}))
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	require.NoError(t, err)
	var names []string
	for _, row := range rows[1:] {
		names = append(names, row[3])
		require.Equal(t, []string{"-1", "-2", "", "", "'=x"}, row[4:9])
	}
	require.Equal(t, []string{"'=1+1", "'+x", "'-x", "'@x", "'\t=1", "'\r=1", "'\n=1", "x=1", "", "-1", "+2.5e3", "−3 %"}, names)
}

func TestPages(t *testing.T) {
	pages := report.Pages([]*scenario.Result{result(true)}, nil)
	require.Len(t, pages, 2)
	require.Contains(t, pages["test.md"], "# Is <b> escaped?\n")
	require.Contains(t, pages["test.md"], "![picture](test.svg)")
	require.Contains(t, pages["test.md"], `| a \| fact | this | that | here |`)
	require.Contains(t, pages["test.svg"], "L0 · seed 5")
}
