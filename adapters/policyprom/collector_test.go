package policyprom_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/internal/target/targettest"
	"github.com/go-resilience/resilience/adapters/policyprom"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
)

func TestUM1_UM2_OneStateIsOneAndTheOthersAreZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Name("db"), breaker.ConsecutiveFailures(1), breaker.OpenFor(time.Second), breaker.Jitter(0))
		p := named("users", b)
		c := policyprom.NewCollector(policyprom.Pipelines(p))
		in := func(state string) {
			t.Helper()
			want := map[string]float64{}
			for _, s := range []string{"closed", "open", "half-open", "forced open", "forced closed"} {
				want["name=db pipeline=users state="+s] = 0
			}
			want["name=db pipeline=users state="+state] = 1
			require.Equal(t, want, gather(t, c).of("resilience_breaker_state"))
		}
		in("closed")
		require.Error(t, p.Run(t.Context(), fail))
		in("open")
		time.Sleep(time.Second)
		in("half-open")
		require.NoError(t, p.Run(t.Context(), ok))
		in("closed")
		b.ForceOpen()
		in("forced open")
		b.ForceClosed()
		in("forced closed")
		require.Equal(t, map[string]float64{"name=db pipeline=users": 5}, gather(t, c).of("resilience_breaker_changes_total"))
	})
}

func TestUM3_EverySeriesIsThereBeforeTheFirstCall(t *testing.T) {
	p := named("users", retry.New(retry.Attempts(2), retry.Constant(time.Millisecond)), breaker.New(breaker.Name("db"), breaker.FailureRate(0.5, 2)), bulkhead.New(1))
	durations := policyprom.NewDurations(policyprom.ForPipelines("users"))
	p = resilience.Compose(p, resilience.Observe(durations))
	c := policyprom.NewCollector(policyprom.Pipelines(p))
	before := gather(t, c, durations)
	for range 10 {
		_ = p.Run(t.Context(), fail)
		_ = p.Run(t.Context(), ok)
	}
	after := gather(t, c, durations)
	require.Equal(t, before.names(), after.names())
	require.Equal(t, before.number(), after.number())
	require.Len(t, before.of("resilience_calls_total"), 6)
}

func TestP2_UM3_ANameGivenTwiceIsRefusedWithBothNames(t *testing.T) {
	a, b := named("users", breaker.New()), named("users", retry.New())
	err := policyprom.Validate(policyprom.Pipelines(named("orders"), a), policyprom.Registry("hosts", breaker.New()), policyprom.Pipelines(b))
	require.EqualError(t, err, `policyprom: pipeline 4 "users" has the name of pipeline 2, "users"`)

	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(policyprom.NewCollector(policyprom.Pipelines(a))))
	require.NoError(t, registry.Register(policyprom.NewCollector(policyprom.Pipelines(named("orders")))))
	err = registry.Register(policyprom.NewCollector(policyprom.Pipelines(b)))
	require.ErrorContains(t, err, `constLabels: {pipeline="users"}`)
	_, err = registry.Gather()
	require.NoError(t, err, "the first one goes on")

	again := policyprom.NewCollector(policyprom.Pipelines(named("mail")))
	require.NoError(t, registry.Register(again))
	require.ErrorAs(t, registry.Register(again), &prometheus.AlreadyRegisteredError{}, "the very same one, as everywhere")
}

func TestP2_CollectorsOfDifferentRegistriesDoNotClash(t *testing.T) {
	p := named("users", breaker.New())
	one, two := gather(t, policyprom.NewCollector(policyprom.Pipelines(p))), gather(t, policyprom.NewCollector(policyprom.Pipelines(p)))
	require.Equal(t, one.names(), two.names())
}

func TestABadOptionIsRefused(t *testing.T) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	same := func(s string) string { return s }
	for problem, opt := range map[string]policyprom.Option{
		"option 1 is nil":                     nil,
		"pipeline 1 has no name":              policyprom.Pipelines(resilience.Compose()),
		"pipeline 2 is nil":                   policyprom.Pipelines(named("a"), (*resilience.Pipeline)(nil)),
		"pipeline 1 is nil":                   policyprom.Pipelines(nil),
		"registry 1 is nil":                   policyprom.Registry("hosts", nil),
		"registry 1 has no name":              policyprom.Registry("", hosts),
		`"k": most is 0`:                      policyprom.PerKey("k", hosts, same, 0),
		`"k": most is 1001`:                   policyprom.PerKey("k", hosts, same, 1001),
		`"k": the function for labels is nil`: policyprom.PerKey("k", hosts, nil, 1),
	} {
		err := policyprom.Validate(opt)
		require.ErrorContains(t, err, problem)
		require.PanicsWithError(t, err.Error(), func() { policyprom.NewCollector(opt) })
	}
	require.NoError(t, policyprom.Validate())
	require.Empty(t, gather(t, policyprom.NewCollector()).families)
}

func TestLimitsStandBesideValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := named("users",
			breaker.New(breaker.Name("db"), breaker.FailureRate(0.5, 2), breaker.OpenFor(time.Minute)),
			ratelimit.New(100, 10), bulkhead.New(16, bulkhead.Queue(8, time.Second)))
		s := gather(t, policyprom.NewCollector(policyprom.Pipelines(p)))
		for name, want := range map[string]float64{
			"resilience_breaker_failure_rate_limit_ratio": 0.5,
			"resilience_bulkhead_in_flight_limit":         16,
			"resilience_bulkhead_queued_limit":            8,
			"resilience_rate_limiter_tokens":              10,
			"resilience_rate_limiter_tokens_limit":        10,
		} {
			got := s.of(name)
			require.Len(t, got, 1, name)
			for _, number := range got {
				require.Equal(t, want, number, name)
			}
		}
		unknown := s.of("resilience_breaker_failure_rate_ratio")
		require.True(t, math.IsNaN(unknown["name=db pipeline=users"]), "too few calls to tell")
		require.NoError(t, p.Run(t.Context(), ok))
		require.Error(t, p.Run(t.Context(), fail))
		s = gather(t, policyprom.NewCollector(policyprom.Pipelines(p)))
		require.Equal(t, 0.5, s.of("resilience_breaker_failure_rate_ratio")["name=db pipeline=users"])
		require.InDelta(t, float64(time.Now().UnixNano())/1e9, s.of("resilience_state_since_timestamp_seconds")["kind=breaker name=db pipeline=users"], 1)
	})
}

// source is a source whose pipeline is replaced.
type source struct {
	atomic.Pointer[resilience.Pipeline]
}

func (s *source) Current() *resilience.Pipeline { return s.Load() }

func TestUM4_ReplacedPoliciesKeepTheirSeriesAndDeletedOnesDisappear(t *testing.T) {
	var s source
	s.Store(named("users", breaker.New(breaker.Name("db")), bulkhead.New(1)))
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(policyprom.NewCollector(policyprom.Pipelines(&s))))
	before := gatherFrom(t, registry)
	next := breaker.New(breaker.Name("db"))
	next.Trip()
	s.Store(named("renamed", next, &third{}))
	after := gatherFrom(t, registry)
	require.Len(t, before.of("resilience_bulkhead_in_flight"), 1)
	require.Empty(t, after.of("resilience_bulkhead_in_flight"))
	require.EqualValues(t, 1, after.of("resilience_breaker_state")["name=db pipeline=users state=open"])
	require.Len(t, after.of("resilience_breaker_state"), 5)
	require.NotEmpty(t, after.of("resilience_other_value"), "a kind that was not there at registration")
}

func TestUM5_AHundredThousandKeysAddNoSeries(t *testing.T) {
	hosts := keyed.New(func(key int) light { return light{key%10 == 0} }, keyed.Max(200_000))
	c := policyprom.NewCollector(policyprom.Registry("hosts", hosts))
	empty := gather(t, c)
	for i := range 100_000 {
		hosts.Get(i)
	}
	full := gather(t, c)
	require.Equal(t, empty.number(), full.number())
	require.Equal(t, map[string]float64{
		"name= pipeline=hosts state=closed": 90_000, "name= pipeline=hosts state=open": 10_000,
	}, full.of("resilience_keyed_keys"))
}

// light is a value that is cheap to make.
type light struct{ open bool }

func (light) Idle() bool { return true }

func (l light) Report() policy.Report {
	state := policy.State{Name: "closed", All: []string{"closed", "open"}}
	if l.open {
		state.Name = "open"
	}
	return policy.Report{Kind: "light", State: state}
}

func TestP3_AScrapeOf10000KeyedBreakersHasLessThan30Series(t *testing.T) {
	hosts := keyed.New(func(string) *breaker.Breaker { return breaker.New(breaker.OpenFor(time.Hour)) }, keyed.Max(10_000))
	for i := range 10_000 {
		if b := hosts.Get(fmt.Sprint(i)); i%10 == 0 {
			b.Trip()
		}
	}
	s := gather(t, policyprom.NewCollector(policyprom.Registry("hosts", hosts)))
	require.Less(t, s.number(), 30)
	require.EqualValues(t, 1000, s.of("resilience_keyed_keys")["name= pipeline=hosts state=open"])
	require.EqualValues(t, 9000, s.of("resilience_keyed_keys")["name= pipeline=hosts state=closed"])
}

func TestUM5_SingleKeysAreShownOnRequestAndCapped(t *testing.T) {
	hosts := keyed.New(func(host string) *resilience.Pipeline { return named("p-"+host, retry.New(), breaker.New()) }, keyed.Max(1000))
	for i := range 500 {
		hosts.Get(fmt.Sprintf("host-%03d\xff", i))
	}
	hosts.Get("secret")
	c := policyprom.NewCollector(policyprom.PerKey("hosts", hosts, func(host string) string {
		if host == "secret" {
			return ""
		}
		return host
	}, 3))
	var names []string
	for labels, state := range gather(t, c).of("resilience_breaker_state") {
		if state == 1 {
			names = append(names, labels)
		}
	}
	slices.Sort(names)
	require.Equal(t, []string{
		"name=host-000 pipeline=hosts state=closed", "name=host-001 pipeline=hosts state=closed", "name=host-002 pipeline=hosts state=closed",
	}, names)

	require.True(t, hosts.Delete("host-001\xff"))
	require.NotContains(t, gather(t, c).text(t), "host-001", "the series of a key that is gone is gone")

	policies := keyed.New(func(string) *breaker.Breaker { return breaker.New() })
	policies.Get("a")
	policies.Get("b")
	same := policyprom.NewCollector(policyprom.PerKey("hosts", policies, func(string) string { return "same" }, 10))
	require.Len(t, gather(t, same).of("resilience_breaker_state"), 5, "two keys with one label are one")
}

// What policyhttp.PerHost returns has a pipeline for each host.
func TestPipelinesPerHost(t *testing.T) {
	breakers := map[string]*breaker.Breaker{}
	hosts := policyhttp.PerHost(func(host string) *resilience.Pipeline {
		breakers[host] = breaker.New()
		return resilience.Compose(retry.New(), breakers[host])
	})
	for _, host := range []string{"a", "b", "c"} {
		hosts.PipelineFor(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
	}
	breakers["b"].Trip()
	s := gather(t, policyprom.NewCollector(policyprom.Registry("hosts", hosts),
		policyprom.PerKey("single hosts", hosts, func(host string) string { return host }, 100)))
	require.EqualValues(t, 1, s.of("resilience_keyed_keys")["name= pipeline=hosts state=open"])
	require.EqualValues(t, 2, s.of("resilience_keyed_keys")["name= pipeline=hosts state=closed"])
	require.EqualValues(t, 1, s.of("resilience_breaker_state")["name=b pipeline=single hosts state=open"])
	require.EqualError(t, policyprom.Validate(policyprom.Pipelines(hosts)),
		`policyprom: pipeline 1 has no name; pipeline 1 "": a *policyhttp.Hosts has a pipeline for each key: give it to Registry`)
}

func TestTwoPoliciesOfOneKindAndNameAreToldApart(t *testing.T) {
	p := named("users", policy.At(policy.StageShed, bulkhead.New(1)), bulkhead.New(2), bulkhead.New(3, bulkhead.Name("db")))
	require.Equal(t, map[string]float64{
		"name= pipeline=users": 1, "name=#2 pipeline=users": 2, "name=db pipeline=users": 3,
	}, gather(t, policyprom.NewCollector(policyprom.Pipelines(p))).of("resilience_bulkhead_limit"))
}

func TestShadowIsShown(t *testing.T) {
	b := breaker.New(breaker.Name("db"), breaker.Shadow())
	b.Trip()
	p := named("users", b)
	c := policyprom.NewCollector(policyprom.Pipelines(p))
	require.NoError(t, p.Run(t.Context(), ok))
	s := gather(t, c)
	require.Equal(t, map[string]float64{"kind=breaker name=db pipeline=users": 1}, s.of("resilience_shadow"))
	require.Equal(t, map[string]float64{"kind=breaker name=db pipeline=users": 1}, s.of("resilience_shadow_rejected_total"))
	b.Enforce()
	require.Equal(t, map[string]float64{"kind=breaker name=db pipeline=users": 0}, gather(t, c).of("resilience_shadow"))
}

// third is a layer of somebody else, whose report is odd in every way.
type third struct{ panics atomic.Bool }

func (*third) Stage() policy.Stage { return policy.StageShed }
func (*third) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (*third) Settle(context.Context, policy.Ticket, policy.Outcome) {}
func (o *third) Report() policy.Report {
	if o.panics.Load() {
		panic("report")
	}
	return policy.Report{
		Kind: "maintenance\xff", Name: strings.Repeat("x", 1000),
		State: policy.State{Name: "on", All: []string{"off", "off"}},
		Values: []policy.Value{
			{Name: "windows", Kind: policy.Gauge, Number: math.Inf(1), Limit: 3},
			{Name: "windows", Kind: policy.Gauge, Number: 2},
			{Name: "windows", Label: "later", Kind: policy.Gauge, Number: 2},
			{Name: "entered", Kind: policy.Counter, Number: 7},
			{Name: "rejected", Kind: policy.Counter, Number: 1},
			{Name: "rejected", Label: "a", Kind: policy.Counter, Number: 1}, // what has a label is another thing
			{Name: "rejected", Label: "b", Kind: policy.Counter, Number: 1},
			{Name: "shadow_rejected", Label: "a", Kind: policy.Counter, Number: 1},
			{Name: "shadow_rejected", Label: "b", Kind: policy.Counter, Number: 1},
			{Name: "bad\xffname", Label: "\n", Kind: policy.Gauge, Unknown: true},
			{Name: "no kind"},
		},
	}
}

func TestALayerOfAnotherPackageIsShownAsItIs(t *testing.T) {
	s := gather(t, policyprom.NewCollector(policyprom.Pipelines(named("users", &third{}))))
	name := strings.Repeat("x", 200)
	require.Equal(t, map[string]float64{
		"kind=maintenance name=" + name + " pipeline=users state=on":  1,
		"kind=maintenance name=" + name + " pipeline=users state=off": 0,
	}, s.of("resilience_other_state"))
	require.Len(t, s.of("resilience_other_events_total"), 5)
	require.EqualValues(t, 7, s.of("resilience_other_events_total")["kind=maintenance label= name="+name+" pipeline=users value=entered"])
	require.Equal(t, map[string]float64{"kind=maintenance label= name=" + name + " pipeline=users value=windows": 3}, s.of("resilience_other_value_limit"))
	require.Equal(t, map[string]float64{"kind=maintenance name=" + name + " pipeline=users": 1}, s.of("resilience_rejected_total"))
	require.Len(t, s.of("resilience_other_value"), 4)
}

func TestFault231_AReportThatPanicsCostsItsOwnSeriesOnly(t *testing.T) {
	bad := &third{}
	c := policyprom.NewCollector(policyprom.Pipelines(named("bad", bad, breaker.New()), named("good", breaker.New())))
	require.Equal(t, map[string]float64{"pipeline=bad": 0, "pipeline=good": 0}, gather(t, c).of("resilience_report_failures_total"))
	bad.panics.Store(true)
	s := gather(t, c)
	require.Equal(t, map[string]float64{"pipeline=bad": 1, "pipeline=good": 0}, s.of("resilience_report_failures_total"))
	require.Len(t, s.of("resilience_breaker_state"), 5)
	bad.panics.Store(false)
	require.Len(t, gather(t, c).of("resilience_breaker_state"), 10)
}

// slow is a layer whose report hangs.
type slow struct {
	third
	hang chan struct{}
}

func (s *slow) Report() policy.Report { <-s.hang; return policy.Report{} }

// A report that hangs holds the scrape, as documented, and no call.
func TestFault231_AScrapeThatHangsHoldsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := &slow{hang: make(chan struct{})}
		p := named("users", layer, breaker.New())
		c := policyprom.NewCollector(policyprom.Pipelines(p))
		scraped := make(chan struct{})
		go func() {
			defer close(scraped)
			metrics := make(chan prometheus.Metric, 1000)
			c.Collect(metrics)
		}()
		synctest.Wait()
		before := time.Now()
		for range 100 {
			require.NoError(t, p.Run(t.Context(), ok))
		}
		require.Zero(t, time.Since(before))
		select {
		case <-scraped:
			t.Fatal("the scrape did not wait")
		default:
		}
		close(layer.hang)
		<-scraped
	})
}

func TestFault229_EveryScrapeAddsUp(t *testing.T) {
	p := named("users", breaker.New(breaker.Name("db"), breaker.FailureRate(0.9, 1000)))
	c := policyprom.NewCollector(policyprom.Pipelines(p))
	targettest.UnderLoad(p, func() {
		s := gather(t, c)
		n := func(name string) float64 { return s.of("resilience_breaker_" + name)["name=db pipeline=users"] }
		require.Equal(t, n("requests_total"),
			n("successes_total")+n("failures_total")+n("neutral_total")+n("stale_total")+n("in_flight"))
	})
}
