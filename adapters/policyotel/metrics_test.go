package policyotel_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target/targettest"
	"github.com/go-resilience/resilience/adapters/policyotel"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func newMetrics(t *testing.T, opts ...policyotel.Option) func() collected {
	t.Helper()
	provider, reader := newReader()
	metrics, err := policyotel.NewMetrics(provider, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, metrics.Shutdown()) })
	return func() collected { return collect(t, reader) }
}

func TestO1_O2_UM1_UM2_TheStateIsRightAtEveryCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Second), breaker.Jitter(0))
		p := named("users", b)
		read := newMetrics(t, policyotel.Pipelines(p))
		in := func(state string) {
			t.Helper()
			want := map[string]float64{}
			for _, s := range []string{"closed", "open", "half-open", "forced open", "forced closed"} {
				want["pipeline.name=users policy.name=db policy.type=breaker state="+s] = 0
			}
			want["pipeline.name=users policy.name=db policy.type=breaker state="+state] = 1
			require.Equal(t, want, read()["resilience.breaker.state"])
		}
		in("closed") // O1: before the first call
		require.Error(t, p.Run(t.Context(), fail))
		in("open")
		time.Sleep(time.Second)
		in("half-open")
		require.Error(t, p.Run(t.Context(), fail))
		in("open")
		b.ForceOpen()
		in("forced open")
		b.Reset()
		in("closed")
		require.Equal(t, map[string]float64{"pipeline.name=users policy.name=db policy.type=breaker": 5}, read()["resilience.breaker.transitions"])
	})
}

func TestO2_O3_TheSeriesOfAnEvictedKeyIsGone(t *testing.T) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() }, keyed.Max(1000))
	for i := range 500 {
		hosts.Get(fmt.Sprintf("host-%03d", i))
	}
	read := newMetrics(t,
		policyotel.Registry("hosts", hosts),
		policyotel.PerKey("single hosts", hosts, func(host string) string { return strings.TrimPrefix(host, "host-") }, 2))

	counts := read()
	require.EqualValues(t, 500, counts["resilience.keyed.keys"]["pipeline.name=hosts policy.name= policy.type=keyed state=closed"])
	require.EqualValues(t, 0, counts["resilience.keyed.keys"]["pipeline.name=hosts policy.name= policy.type=keyed state=open"])
	require.Len(t, counts["resilience.breaker.state"], 2*5, "two keys, on request")
	first := "pipeline.name=single hosts policy.name=000 policy.type=breaker state=closed"
	require.Contains(t, counts["resilience.breaker.state"], first)

	require.True(t, hosts.Delete("host-000"))
	counts = read()
	require.NotContains(t, counts["resilience.breaker.state"], first)
	require.EqualValues(t, 499, counts["resilience.keyed.keys"]["pipeline.name=hosts policy.name= policy.type=keyed state=closed"])
}

func TestO3_UM5_KeysAddNoSeries(t *testing.T) {
	hosts := keyed.New(func(int) *retry.Retrier { return retry.New() }, keyed.Max(20_000))
	read := newMetrics(t, policyotel.Registry("hosts", hosts))
	before := read().number()
	for i := range 10_000 {
		hosts.Get(i)
	}
	require.Equal(t, before, read().number())
	require.Less(t, before, 30)
}

func (c collected) number() (n int) {
	for _, points := range c {
		n += len(points)
	}
	return n
}

func TestUM3_EverySeriesIsThereFromTheFirstCollection(t *testing.T) {
	p := named("users", retry.New(retry.Attempts(1)), breaker.New(breaker.Name("db")), bulkhead.New(4, bulkhead.Queue(2, time.Second)))
	read := newMetrics(t, policyotel.Pipelines(p))
	before := read()
	for range 3 {
		_ = p.Run(t.Context(), fail)
		_ = p.Run(t.Context(), ok)
	}
	after := read()
	require.Equal(t, before.number(), after.number())
	calls := after["resilience.pipeline.calls"]
	require.Len(t, calls, 6)
	require.EqualValues(t, 3, calls["outcome=failed pipeline.name=users"])
	require.EqualValues(t, 4, after["resilience.bulkhead.limit"]["pipeline.name=users policy.name= policy.type=bulkhead"])
	require.EqualValues(t, 2, after["resilience.bulkhead.queue.limit"]["pipeline.name=users policy.name= policy.type=bulkhead"])
	require.NotContains(t, after, "resilience.breaker.window.failure_ratio_limit", "no limit, no series")
}

func TestUM3_ANameGivenTwiceIsAnError(t *testing.T) {
	provider, _ := newReader()
	_, err := policyotel.NewMetrics(provider, policyotel.Pipelines(named("users"), named("users")))
	require.EqualError(t, err, `policyotel: pipeline 2 "users" has the name of pipeline 1, "users"`)
	require.EqualError(t, policyotel.Validate(nil, policyotel.Pipelines(nil)), `policyotel: option 1 is nil; pipeline 1 is nil`)
}

// The SDK adds up what two callbacks observe: a second Metrics would double every counter.
func TestUM3_APipelineIsShownOnceByAProvider(t *testing.T) {
	provider, reader := newReader()
	p := named("users", breaker.New())
	first, err := policyotel.NewMetrics(provider, policyotel.Pipelines(p))
	require.NoError(t, err)
	_, err = policyotel.NewMetrics(provider, policyotel.Pipelines(named("orders"), p))
	require.EqualError(t, err, `policyotel: pipeline "users" is already shown with this provider: call Shutdown of the other Metrics first`)
	require.NoError(t, p.Run(t.Context(), ok))
	require.EqualValues(t, 1, collect(t, reader)["resilience.pipeline.calls"]["outcome=succeeded pipeline.name=users"])

	another, _ := newReader()
	for _, provider := range []metric.MeterProvider{another, noop.NewMeterProvider(), noop.NewMeterProvider()} {
		m, err := policyotel.NewMetrics(provider, policyotel.Pipelines(p))
		require.NoError(t, err, "providers do not know of each other")
		t.Cleanup(func() { require.NoError(t, m.Shutdown()) })
	}
	require.NoError(t, first.Shutdown())
	second, err := policyotel.NewMetrics(provider, policyotel.Pipelines(named("orders"), p))
	require.NoError(t, err, "what the call above was refused has noted nothing")
	require.NoError(t, first.Shutdown(), "again: it does not touch the second")
	_, err = policyotel.NewMetrics(provider, policyotel.Pipelines(p))
	require.Error(t, err)
	require.NoError(t, second.Shutdown())
}

// source is a pipeline that is replaced.
type source struct {
	atomic.Pointer[resilience.Pipeline]
}

func (s *source) Current() *resilience.Pipeline { return s.Load() }

func TestUM4_CountersOfAReplacedPipelineGoOn(t *testing.T) {
	for _, temporality := range []metricdata.Temporality{metricdata.CumulativeTemporality, metricdata.DeltaTemporality} {
		t.Run(temporality.String(), func(t *testing.T) {
			reader := sdkmetric.NewManualReader(sdkmetric.WithTemporalitySelector(func(sdkmetric.InstrumentKind) metricdata.Temporality { return temporality }))
			other := sdkmetric.NewManualReader()
			provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithReader(other))
			s := &source{}
			s.Store(named("users", breaker.New()))
			m, err := policyotel.NewMetrics(provider, policyotel.Pipelines(s))
			require.NoError(t, err)
			defer func() { require.NoError(t, m.Shutdown()) }()
			total := 0.0
			for _, calls := range []int{10, 3, 0, 5} {
				for range calls {
					require.NoError(t, s.Load().Run(t.Context(), ok))
				}
				n := collect(t, reader)["resilience.pipeline.calls"]["outcome=succeeded pipeline.name=users"]
				total += float64(calls)
				if temporality == metricdata.DeltaTemporality {
					require.EqualValues(t, calls, n)
				} else {
					require.Equal(t, total, n)
				}
				require.Equal(t, total, collect(t, other)["resilience.pipeline.calls"]["outcome=succeeded pipeline.name=users"])
				require.Equal(t, total, collect(t, other)["resilience.breaker.requests"]["pipeline.name=users policy.name= policy.type=breaker"])
				s.Store(named("users", breaker.New()))
			}
		})
	}
}

// A key that is gone and comes back begins anew, and two readers at once see no counter fall.
func TestUM4_AKeyThatComesBackBeginsAnew(t *testing.T) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	read := newMetrics(t, policyotel.PerKey("hosts", hosts, func(host string) string { return host }, 10))
	requests := func() map[string]float64 { return read()["resilience.breaker.requests"] }
	call := func(n int) {
		for range n {
			permit, err := policy.Acquire(t.Context(), hosts.Get("a"))
			require.NoError(t, err)
			permit.Done(nil)
		}
	}
	call(3)
	require.Equal(t, map[string]float64{"pipeline.name=hosts policy.name=a policy.type=breaker": 3}, requests())
	require.True(t, hosts.Delete("a"))
	require.Empty(t, requests())
	call(2)
	require.Equal(t, map[string]float64{"pipeline.name=hosts policy.name=a policy.type=breaker": 2}, requests())
}

func TestUM2_ReadersAtOnceSeeNoCounterFall(t *testing.T) {
	readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
	p := named("users", breaker.New())
	m, err := policyotel.NewMetrics(provider, policyotel.Pipelines(p))
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Shutdown()) }()
	const calls = 5_000
	var over atomic.Bool
	var wait sync.WaitGroup
	wait.Go(func() {
		defer over.Store(true)
		for range calls {
			_ = p.Run(context.Background(), ok)
		}
	})
	wait.Go(func() {
		for !over.Load() {
			_ = readers[1].Collect(context.Background(), &metricdata.ResourceMetrics{})
		}
	})
	last := 0.0
	for !over.Load() {
		n := collect(t, readers[0])["resilience.pipeline.calls"]["outcome=succeeded pipeline.name=users"]
		require.GreaterOrEqual(t, n, last)
		last = n
	}
	wait.Wait()
	require.EqualValues(t, calls, collect(t, readers[0])["resilience.pipeline.calls"]["outcome=succeeded pipeline.name=users"])
}

func TestO8_AfterShutdownNothingIsRead(t *testing.T) {
	provider, reader := newReader()
	metrics, err := policyotel.NewMetrics(provider, policyotel.Pipelines(named("users", breaker.New())))
	require.NoError(t, err)
	require.NotEmpty(t, collect(t, reader))
	require.NoError(t, metrics.Shutdown())
	require.NoError(t, metrics.Shutdown())
	require.Empty(t, collect(t, reader))
	require.NoError(t, provider.Shutdown(context.Background())) // goleak sees the rest
}

func TestWithoutAProviderItIsTheGlobalOne(t *testing.T) {
	metrics, err := policyotel.NewMetrics(nil, policyotel.Pipelines(named("users", breaker.New())))
	require.NoError(t, err)
	require.NoError(t, metrics.Shutdown())
	policyotel.NewDurations(nil)
}

// odd is a layer of somebody else.
type odd struct {
	hang   chan struct{}
	panics bool
}

func (*odd) Stage() policy.Stage { return policy.StageShed }
func (*odd) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (*odd) Settle(context.Context, policy.Ticket, policy.Outcome) {}
func (o *odd) Report() policy.Report {
	if o.hang != nil {
		<-o.hang
	}
	if o.panics {
		panic("report")
	}
	return policy.Report{
		Kind: "maintenance\xff", State: policy.State{Name: "on", All: []string{"off"}},
		Values: []policy.Value{
			{Name: "windows", Kind: policy.Gauge, Number: 2, Limit: 3},
			{Name: "windows", Kind: policy.Gauge, Number: 4},
			{Name: "nan", Kind: policy.Gauge, Number: math.NaN()},
			{Name: "entered", Label: "late", Kind: policy.Counter, Number: 7},
			{Name: "shadow_rejected", Kind: policy.Counter, Number: 1},
			{Name: "rejected", Label: "late", Kind: policy.Counter, Number: 2}, // what has a label is another thing
		},
	}
}

func TestALayerOfAnotherPackageIsShownAsItIs(t *testing.T) {
	found := newMetrics(t, policyotel.Pipelines(named("users", &odd{})))()
	require.Equal(t, map[string]float64{
		"pipeline.name=users policy.name= policy.type=maintenance state=off": 0,
		"pipeline.name=users policy.name= policy.type=maintenance state=on":  1,
	}, found["resilience.policy.state"])
	require.Equal(t, map[string]float64{"pipeline.name=users policy.name= policy.type=maintenance value.label= value.name=windows": 2}, found["resilience.policy.value"])
	require.Equal(t, map[string]float64{"pipeline.name=users policy.name= policy.type=maintenance value.label= value.name=windows": 3}, found["resilience.policy.value_limit"])
	require.Equal(t, map[string]float64{
		"pipeline.name=users policy.name= policy.type=maintenance value.label=late value.name=entered":  7,
		"pipeline.name=users policy.name= policy.type=maintenance value.label=late value.name=rejected": 2,
	}, found["resilience.policy.events"])
	require.Equal(t, map[string]float64{"pipeline.name=users policy.name= policy.type=maintenance": 0}, found["resilience.policy.shadow"])
}

type reporter func() policy.Report

func (r reporter) Report() policy.Report { return r() }

// What a third party's layer does not know for a while does not spoil its counter, whose sum goes on.
func TestACounterThatIsNotKnownStandsStill(t *testing.T) {
	counter := policy.Value{Name: "entered", Kind: policy.Counter, Unit: policy.UnitCount}
	read := newMetrics(t, policyotel.Registry("gates", reporter(func() policy.Report {
		return policy.Report{Kind: "gate", Values: []policy.Value{counter}}
	})))
	for i, step := range []struct {
		number float64
		not    bool // known
		want   float64
	}{
		{5, true, 0}, {5, false, 5}, {0, true, 5}, {math.NaN(), false, 5}, {7, false, 7}, {math.Inf(1), false, 7}, {-1, false, 7}, {2, false, 9},
	} {
		counter.Number, counter.Unknown = step.number, step.not
		require.Equal(t, map[string]float64{
			"pipeline.name=gates policy.name= policy.type=gate value.label= value.name=entered": step.want,
		}, read()["resilience.policy.events"], "step %d", i)
	}
}

func TestFault231_AReportThatPanicsCostsItsOwnSeriesOnly(t *testing.T) {
	found := newMetrics(t, policyotel.Pipelines(named("bad", &odd{panics: true}, breaker.New()), named("good", breaker.New())))()
	require.Equal(t, map[string]float64{"pipeline.name=bad": 1, "pipeline.name=good": 0}, found["resilience.pipeline.report_failures"])
	require.Len(t, found["resilience.breaker.state"], 5)
}

// A report that hangs holds the collection, as documented, and no call.
func TestFault231_ACollectionThatHangsHoldsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := &odd{hang: make(chan struct{})}
		p := named("users", layer, breaker.New())
		read := newMetrics(t, policyotel.Pipelines(p))
		done := make(chan struct{})
		go func() {
			defer close(done)
			read()
		}()
		synctest.Wait()
		before := time.Now()
		for range 100 {
			require.NoError(t, p.Run(t.Context(), ok))
		}
		require.Zero(t, time.Since(before))
		close(layer.hang)
		<-done
	})
}

func TestFault229_EveryCollectionAddsUp(t *testing.T) {
	p := named("users", breaker.New(breaker.FailureRate(0.9, 1000)))
	read := newMetrics(t, policyotel.Pipelines(p))
	targettest.UnderLoad(p, func() {
		found := read()
		n := func(name string) float64 {
			return found["resilience.breaker."+name]["pipeline.name=users policy.name= policy.type=breaker"]
		}
		require.Equal(t, n("requests"), n("successes")+n("failures")+n("neutral_outcomes")+n("stale_outcomes")+n("in_flight"))
	})
}

func TestO4_Fault232_MetricsCostNoCallAnything(t *testing.T) {
	p := named("users", retry.New(), breaker.New(), bulkhead.New(64))
	newMetrics(t, policyotel.Pipelines(p))()
	traced := resilience.Compose(p, resilience.Observe(policyotel.NewTraces()))
	value := func(context.Context) (int, error) { return 1, nil }
	for _, p := range []*resilience.Pipeline{p, traced} {
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = resilience.Do(context.Background(), p, value) }))
	}
}

func TestO4_ARecordAllocatesNothing(t *testing.T) {
	provider, _ := newReader()
	d := policyotel.NewDurations(provider)
	attempt := policy.Event{Kind: policy.EventAttempt, Pipeline: "users", Attempt: 1, Outcome: policy.Outcome{Kind: policy.Returned}, Elapsed: time.Millisecond}
	call := attempt
	call.Kind = policy.EventCall
	record := func() {
		d.Observe(context.Background(), attempt)
		d.Observe(context.Background(), call)
	}
	record()
	require.Zero(t, testing.AllocsPerRun(100, record))
}

func TestFault230_RefusalsAreNoFastAnswersAndAttemptsAreNoCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, reader := newReader()
		d := policyotel.NewDurations(provider)
		b := breaker.New(breaker.ConsecutiveFailures(6))
		p := named("users", retry.New(retry.Attempts(6), retry.Constant(time.Second), retry.NoJitter()), b, resilience.Observe(d))
		require.Error(t, p.Run(t.Context(), func(context.Context) error { time.Sleep(100 * time.Millisecond); return errDown }))
		for range 10 {
			require.ErrorIs(t, p.Run(t.Context(), ok), breaker.ErrOpen)
		}
		found := collect(t, reader)
		require.Equal(t, map[string]float64{
			"outcome=failed pipeline.name=users": 1, "outcome=failed pipeline.name=users sum": 5.6,
		}, found["resilience.pipeline.duration"])
		attempts := map[string]float64{}
		for labels, n := range found["resilience.attempt.duration"] {
			if !strings.HasSuffix(labels, " sum") {
				attempts[labels] = n
			}
		}
		require.Equal(t, map[string]float64{
			"attempt.number=1 outcome=failed pipeline.name=users": 1,
			"attempt.number=2 outcome=failed pipeline.name=users": 1,
			"attempt.number=3 outcome=failed pipeline.name=users": 1,
			"attempt.number=4 outcome=failed pipeline.name=users": 3,
		}, attempts)
	})
}

func TestUM5_PipelinesMadePerKeyAddABoundedNumberOfSeries(t *testing.T) {
	provider, reader := newReader()
	d := policyotel.NewDurations(provider)
	for i := range 300 {
		require.NoError(t, named(fmt.Sprintf("host-%d", i), resilience.Observe(d)).Run(t.Context(), ok))
	}
	found := collect(t, reader)["resilience.pipeline.duration"]
	require.Len(t, found, 2*101)
	require.EqualValues(t, 200, found["outcome=succeeded pipeline.name=other"])
}

func BenchmarkBothHistograms(b *testing.B) {
	provider, _ := newReader()
	d := policyotel.NewDurations(provider)
	event := policy.Event{Pipeline: "users", Attempt: 1, Outcome: policy.Outcome{Kind: policy.Returned}, Elapsed: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		event.Kind = policy.EventAttempt
		d.Observe(context.Background(), event)
		event.Kind = policy.EventCall
		d.Observe(context.Background(), event)
	}
}
