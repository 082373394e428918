package policyprom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/retry"
)

// everything returns a registry with a collector of every policy and with histograms.
func everything() *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(everyPolicy(), policyprom.NewDurations(policyprom.ForPipelines("users", "mail")))
	return registry
}

func TestP1_TheNamesAreByTheRules(t *testing.T) {
	for _, c := range []prometheus.Collector{
		everyPolicy(), policyprom.NewDurations(policyprom.ForPipelines("users")),
		policyprom.NewCollector(policyprom.Pipelines(named("users", &third{}))),
	} {
		problems, err := testutil.CollectAndLint(c)
		require.NoError(t, err)
		require.Empty(t, problems)
	}
}

func TestP1_PromtoolCheckMetrics(t *testing.T) {
	check := exec.Command(testsize.Program(t, "promtool", "prometheus"), "check", "metrics")
	check.Stdin = strings.NewReader(gatherFrom(t, everything()).text(t))
	out, err := check.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Empty(t, string(out))
}

const (
	rules     = "../../alerts/resilience.yml"
	ruleTests = "../../alerts/resilience_test.yml"
	dashboard = "../../dashboards/resilience.json"
)

func TestP1_PromtoolCheckRules(t *testing.T) {
	out, err := exec.Command(testsize.Program(t, "promtool", "prometheus"), "check", "rules", "--lint-fatal", rules).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "5 rules found")
}

func TestP4_PromtoolTestRules(t *testing.T) {
	t.Parallel()
	promtool := testsize.Program(t, "promtool", "prometheus")
	out, err := exec.Command(promtool, "test", "rules", ruleTests).CombinedOutput()
	require.NoError(t, err, string(out))

	// The tests of the rules can fail: they do when a rule is broken.
	if !testsize.Whole() {
		return
	}
	text, err := os.ReadFile(rules)
	require.NoError(t, err)
	tests, err := os.ReadFile(ruleTests)
	require.NoError(t, err)
	for _, broken := range [][2]string{
		{`{state=~"closed|forced closed"}) == 0`, `{state=~"closed|forced closed"}) == 1`},
		{`{state=~"closed|forced closed"}`, `{state="closed"}`},
		{"> 0.01", "> 0.02"},
		{"> 0.01", "> 0.001"},
		{"      or rate(resilience_retry_budget_denied_total[5m])\n", ""},
		{"increase(resilience_shadow_rejected_total[1h])) > 0", "increase(resilience_shadow_rejected_total[1h])) > 10"},
		{"increase(resilience_report_failures_total[15m])) > 0", "increase(resilience_report_failures_total[15m])) < 0"},
		{"for: 5m", "for: 10m"},
	} {
		dir := t.TempDir()
		require.Contains(t, string(text), broken[0])
		require.NoError(t, os.WriteFile(filepath.Join(dir, "resilience.yml"), bytes.Replace(text, []byte(broken[0]), []byte(broken[1]), 1), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "resilience_test.yml"), tests, 0o600))
		require.Error(t, exec.Command(promtool, "test", "rules", filepath.Join(dir, "resilience_test.yml")).Run(), "not seen: %v", broken)
	}
}

// panel is a panel of a Grafana dashboard.
type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

func panels(t *testing.T) (panels []panel) {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	require.NoError(t, err)
	var d struct{ Panels []panel }
	require.NoError(t, json.Unmarshal(text, &d))
	return d.Panels
}

var metric = regexp.MustCompile(`\bresilience_[a-z_]+`)

func TestP1_EveryMetricOfTheDashboardAndTheAlertsIsInAScrape(t *testing.T) {
	here := map[string]bool{}
	for _, name := range gatherFrom(t, everything()).names() {
		here[name] = true
	}
	for _, name := range []string{"resilience_call_duration_seconds", "resilience_attempt_duration_seconds"} {
		require.True(t, here[name])
		here[name+"_bucket"] = true
	}
	// The shared budgets of other kinds are alternatives to the one that is there.
	here["resilience_retry_token_budget_tokens"], here["resilience_retry_token_budget_denied_total"] = true, true
	here["resilience_retry_concurrency_budget_denied_total"] = true
	used := 0
	look := func(expr string) {
		for _, name := range metric.FindAllString(expr, -1) {
			require.True(t, here[name], "%s in %s", name, expr)
			used++
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			look(target.Expr)
		}
	}
	text, err := os.ReadFile(rules)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "description:") && !strings.Contains(line, "summary:") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			look(line)
		}
	}
	require.Greater(t, used, 40)
}

func TestTheDashboardHasAPlaceForEachPanel(t *testing.T) {
	all := panels(t)
	ids := map[int]bool{}
	for i, p := range all {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for _, q := range all[:i] {
			a, b := p.GridPos, q.GridPos
			apart := a.X+a.W <= b.X || b.X+b.W <= a.X || a.Y+a.H <= b.Y || b.Y+b.H <= a.Y
			require.True(t, apart, "%q lies over %q", p.Title, q.Title)
		}
	}
}

// A real server scrapes a service under load, with native histograms, and answers every query of the dashboard.
func TestP1_APrometheusServerScrapesARunningService(t *testing.T) {
	t.Parallel()
	binary := testsize.Program(t, "prometheus", "prometheus")
	registry := everything()
	native := policyprom.NewDurations(policyprom.Native())
	b := breaker.New(breaker.Name("db"), breaker.FailureRate(0.5, 5), breaker.OpenFor(time.Hour))
	orders := named("orders", retry.New(retry.Attempts(2), retry.Constant(time.Millisecond)), b, resilience.Observe(native))
	registry.MustRegister(policyprom.NewCollector(policyprom.Pipelines(orders)))
	other := prometheus.NewRegistry()
	other.MustRegister(native)
	for i := range 20 {
		_ = orders.Run(t.Context(), func(context.Context) error {
			if i > 4 {
				return errDown
			}
			return nil
		})
	}
	require.Equal(t, breaker.Open, b.State())

	metrics := http.NewServeMux()
	metrics.Handle("/classic", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	metrics.Handle("/native", promhttp.HandlerFor(other, promhttp.HandlerOpts{}))
	service := httptest.NewServer(metrics)
	defer service.Close()

	p := startPrometheus(t, binary, strings.TrimPrefix(service.URL, "http://"))
	p.eventually(t, `resilience_breaker_state{pipeline="orders",state="open"} == 1`)
	p.eventually(t, `histogram_count(resilience_attempt_duration_seconds{pipeline="orders",outcome="failed"}) > 0`)
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$job", ".*", "$pipeline", ".*", "$__rate_interval", "1m").Replace(target.Expr)
			_, err := p.query(expr)
			require.NoError(t, err, "%s: %s", panel.Title, expr)
		}
	}
	states, err := p.query(strings.NewReplacer("$job", ".*", "$pipeline", "orders").Replace(panelNamed(t, "States").Targets[0].Expr))
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, states, "open")
}

func panelNamed(t *testing.T, title string) panel {
	t.Helper()
	for _, p := range panels(t) {
		if p.Title == title {
			return p
		}
	}
	t.Fatal("no panel ", title)
	return panel{}
}

// server is a running Prometheus.
type server struct{ url string }

func startPrometheus(t *testing.T, binary, target string) server {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - {job_name: classic, metrics_path: /classic, static_configs: [{targets: [%q]}]}
  - {job_name: native, metrics_path: /native, static_configs: [{targets: [%q]}]}
`, absolute(t, rules), target, target)
	path := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	address := fmt.Sprintf("127.0.0.1:%d", testsize.Port(t))
	var log bytes.Buffer
	run := exec.Command(binary, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--enable-feature=native-histograms")
	run.Stdout, run.Stderr = &log, &log
	require.NoError(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return server{"http://" + address}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// eventually waits until a query has a result.
func (s server) eventually(t *testing.T, query string) {
	t.Helper()
	var found []string
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if found, err = s.query(query); err == nil && len(found) > 0 {
			return
		}
	}
	t.Fatalf("%s: %v, %v", query, found, err)
}

// query returns the values of the result.
func (s server) query(query string) (values []string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(s.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s: %w", response.Status, answer.Error, err)
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}
