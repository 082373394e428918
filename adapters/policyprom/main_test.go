package policyprom_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

func ok(context.Context) error   { return nil }
func fail(context.Context) error { return errDown }

// named returns a pipeline with a name.
func named(name string, layers ...policy.Layer) *resilience.Pipeline {
	return resilience.Compose(append(layers, resilience.Name(name))...)
}

// everyPolicy returns pipelines with every policy of this module that is a layer, one registry, and the budgets.
func everyPolicy() *policyprom.Collector {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	hosts.Get("a")
	return policyprom.NewCollector(
		policyprom.Pipelines(
			named("users", timeout.Total(10*time.Second), retry.New(), hedge.New(hedge.Idempotent()), breaker.New(breaker.Name("users-db"), breaker.FailureRate(0.5, 20), breaker.SlowCalls(time.Second, 0.5, 20)),
				ratelimit.New(100, 10, ratelimit.MaxWait(time.Second)), bulkhead.New(16, bulkhead.Queue(8, time.Second)), timeout.PerAttempt(time.Second)),
			named("mail", throttle.New(throttle.Name("mail")), timeout.Abandon(time.Second)),
		),
		policyprom.Registry("hosts", hosts),
		policyprom.Registry("budget", retry.NewBudget(0.2, 10)),
	)
}

// gather scrapes collectors once.
func gather(t testing.TB, collectors ...prometheus.Collector) samples {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		require.NoError(t, registry.Register(c))
	}
	return gatherFrom(t, registry)
}

func gatherFrom(t testing.TB, registry prometheus.Gatherer) samples {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	return samples{families}
}

// samples is what a scrape has found.
type samples struct{ families []*dto.MetricFamily }

// text returns the scrape as Prometheus gets it.
func (s samples) text(t testing.TB) string {
	t.Helper()
	var out bytes.Buffer
	for _, family := range s.families {
		_, err := expfmt.MetricFamilyToText(&out, family)
		require.NoError(t, err)
	}
	return out.String()
}

// of returns the samples of a metric, as "label=value label=value".
func (s samples) of(name string) map[string]float64 {
	found := map[string]float64{}
	for _, family := range s.families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			number := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				number = float64(h.GetSampleCount())
			}
			found[strings.Join(labels, " ")] = number
		}
	}
	return found
}

// names returns the names of all metrics.
func (s samples) names() (names []string) {
	for _, family := range s.families {
		names = append(names, family.GetName())
	}
	return names
}

// number returns the number of series.
func (s samples) number() (n int) {
	for _, family := range s.families {
		n += len(family.GetMetric())
	}
	return n
}
