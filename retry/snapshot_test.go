package retry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/engine"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

func TestReport(t *testing.T) {
	budget := retry.NewBudget(0.1, 1)
	again := retry.New(
		retry.Name("users"), retry.Exponential(time.Millisecond, time.Second), retry.Attempts(9), retry.Attempts(4), retry.ProportionalJitter(0.2),
		retry.If(func(error) bool { return true }), retry.WithBudget(budget),
	)
	require.Equal(t, policy.Report{
		Kind: "retry", Name: "users", Stage: policy.StageRetry,
		Settings: []policy.Setting{
			{Name: "Name", Args: []policy.Argument{{Name: "name", Value: "users"}}},
			{Name: "Exponential", Args: []policy.Argument{{Name: "initial", Value: time.Millisecond}, {Name: "longest", Value: time.Second}}},
			{Name: "Attempts", Args: []policy.Argument{{Name: "n", Value: 4}}},
			{Name: "ProportionalJitter", Args: []policy.Argument{{Name: "share", Value: 0.2}}},
			{Name: "If", Code: true},
			{Name: "WithBudget", Code: true, Args: []policy.Argument{
				{Name: "kind", Value: "retry budget"}, {Name: "ratio", Value: 0.1}, {Name: "perSecond", Value: 1.0},
			}},
		},
		Values: []policy.Value{
			{Name: "retries", Unit: policy.UnitCount, Kind: policy.Counter},
			{Name: "gave_up", Unit: policy.UnitCount, Kind: policy.Counter},
			{Name: "tokens", Unit: policy.UnitCount, Kind: policy.Gauge, Number: 10, Limit: 10},
			{Name: "denied", Unit: policy.UnitCount, Kind: policy.Counter},
		},
	}, again.Report())
	require.Equal(t, policy.Report{
		Kind:     "retry budget",
		Settings: []policy.Setting{{Name: "New", Args: []policy.Argument{{Name: "ratio", Value: 0.1}, {Name: "perSecond", Value: 1.0}}}},
		Values:   again.Report().Values[2:],
	}, budget.Report())
	require.Equal(t, []policy.Setting{{Name: "Attempts", Args: []policy.Argument{{Name: "n", Value: 3}}}}, retry.New().Report().Settings)
	require.Len(t, retry.New(retry.NoBudget()).Report().Values, 2)

	_, _ = resilience.Do(t.Context(), retry.New(retry.WithBudget(budget), retry.NoJitter(), retry.Constant(0)), always(errBackend).do)
	for range 20 {
		budget.Withdraw()
	}
	value, ok := budget.Report().Value("denied", "")
	require.True(t, ok)
	require.Positive(t, value.Number)
}

func TestTheNumbersOfABudgetAreInTheReportOfItsRetrier(t *testing.T) {
	budget, tokens, concurrency := retry.NewBudget(0.3, 7), retry.NewTokenBudget(10, 0.1), retry.NewConcurrencyBudget(0.2, 3)
	for want, budget := range map[string]policy.Budget{
		`[{"name":"kind","value":"retry budget"},{"name":"ratio","value":0.3},{"name":"perSecond","value":7}]`:             budget,
		`[{"name":"kind","value":"retry token budget"},{"name":"maxTokens","value":10},{"name":"tokenRatio","value":0.1}]`: tokens,
		`[{"name":"kind","value":"retry concurrency budget"},{"name":"share","value":0.2},{"name":"minimum","value":3}]`:   concurrency,
	} {
		settings := retry.New(retry.WithBudget(budget)).Report().Settings
		require.Equal(t, "WithBudget", settings[0].Name)
		require.True(t, settings[0].Code)
		text, err := json.Marshal(settings[0].Args)
		require.NoError(t, err)
		require.JSONEq(t, want, string(text))
	}
	again := retry.New(retry.WithBudget(budget))
	before := again.Report()
	require.NoError(t, budget.Reconfigure(0.5, 9))
	require.Equal(t, 9.0, again.Report().Settings[0].Args[2].Value, "as it is now")
	require.Equal(t, 7.0, before.Settings[0].Args[2].Value, "a report is not changed")
	require.NoError(t, again.Reconfigure(retry.Attempts(4)))
	require.Equal(t, 0.5, again.Report().Settings[1].Args[1].Value)
	require.Equal(t, []policy.Setting{{Name: "WithBudget", Code: true}}, retry.New(retry.WithBudget(incomparable{})).Report().Settings[:1], "of the program")
}

func TestAReportAllocatesOnce(t *testing.T) {
	tokens, concurrency := retry.NewTokenBudget(10, 0.1), retry.NewConcurrencyBudget(0.2, 3)
	for name, reporter := range map[string]policy.Reporter{
		"retry": retry.New(), "no budget": retry.New(retry.NoBudget()), "budget": retry.NewBudget(0.2, 10),
		"tokens": tokens, "concurrency": concurrency, "retry with tokens": retry.New(retry.WithBudget(tokens)),
		"retry with concurrency": retry.New(retry.WithBudget(concurrency)),
	} {
		var report policy.Report
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { report = reporter.Report() }), 1.0, name)
		require.NotEmpty(t, report.Kind)
		_, err := json.Marshal(report)
		require.NoError(t, err)
	}
}

func TestSnapshotsAsText(t *testing.T) {
	again := retry.New(retry.Name("users"))
	require.JSONEq(t, `{"name":"users","attempts":3,"retries":0,"gave_up":0,"budget":{"tokens":100,"limit":100,"denied":0}}`, must(json.Marshal(again.Snapshot())))
	require.JSONEq(t, `{"attempts":3,"retries":0,"gave_up":0}`, must(json.Marshal(retry.New(retry.NoBudget()).Snapshot())))
	require.Equal(t, "[name=users attempts=3 retries=0 gave_up=0 budget=[tokens=100 limit=100 denied=0]]", slog.AnyValue(again.Snapshot()).Resolve().String())
	require.Equal(t, "budget 10.0 of 10.0", fmt.Sprint(retry.NewTokenBudget(10, 0.1)))
	require.Equal(t, "budget 100.0 of 100.0", fmt.Sprint(retry.NewBudget(0.2, 10)))
}

func TestFault256_ASpentBudgetIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := retry.NewBudget(0.2, 10)
		again := retry.New(retry.WithBudget(budget), retry.Constant(0))
		require.True(t, again.Idle())
		for budget.Withdraw() {
		}
		require.False(t, again.Idle())
		time.Sleep(10 * time.Second)
		require.True(t, again.Idle())
		require.True(t, retry.New(retry.NoBudget()).Idle())

		tokens := retry.NewTokenBudget(10, 0.1)
		again = retry.New(retry.WithBudget(tokens), retry.Constant(0))
		require.True(t, again.Idle())
		_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
		require.False(t, again.Idle())
		time.Sleep(time.Minute)
		require.True(t, again.Idle(), "what is not used becomes idle")
	})
}

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		budget := retry.NewBudget(0.2, 10)
		again := retry.New(
			retry.Name("users"), retry.Attempts(5), retry.Constant(time.Second), retry.NoJitter(), retry.WithBudget(budget),
			retry.If(func(error) bool { asked++; return true }),
		)
		run := func() (attempts int, took time.Duration) {
			start, op := time.Now(), always(errBackend)
			_, _ = resilience.Do(t.Context(), again, op.do)
			return op.entered, time.Since(start)
		}
		attempts, took := run()
		require.Equal(t, 5, attempts)
		require.Equal(t, 4*time.Second, took)

		require.NoError(t, again.Reconfigure(retry.Constant(2*time.Second), retry.NoJitter()))
		asked = 0
		attempts, took = run()
		require.Equal(t, 3, attempts, "what is data and not given has its default")
		require.Equal(t, 4*time.Second, took)
		require.Equal(t, 3, asked, "what is code and not given stays")
		require.Equal(t, "users", again.Snapshot().Name)
		require.Same(t, budget, again.Budget())
		require.EqualValues(t, 6, again.Snapshot().Retries, "counts stay")
		names := []string{}
		for _, setting := range again.Report().Settings {
			names = append(names, setting.Name)
		}
		require.Equal(t, []string{"Constant", "NoJitter", "Name", "WithBudget", "If", "Attempts"}, names)

		before := again.Report()
		for want, options := range map[string][]retry.Option{
			`Name("others"): the name "users" cannot be changed`: {retry.Name("others"), retry.Attempts(9)},
			"the budget cannot be replaced":                      {retry.WithBudget(retry.NewBudget(1, 1)), retry.Attempts(9)},
			"budget cannot be replaced":                          {retry.NoBudget()},
			"Attempts(0)":                                        {retry.Attempts(0), retry.Constant(0)},
		} {
			err := again.Reconfigure(options...)
			require.ErrorContains(t, err, want)
			require.IsType(t, &policy.ConfigError{}, err)
			require.Equal(t, before, again.Report(), "nothing has changed")
		}
		require.NoError(t, again.Reconfigure(retry.Name("users"), retry.WithBudget(budget)))
		require.NoError(t, retry.New(retry.NoBudget()).Reconfigure(retry.NoBudget()))
	})
}

// incomparable is a budget on which == panics.
type incomparable struct{ _ []int }

func (incomparable) Deposit()       {}
func (incomparable) Withdraw() bool { return true }
func (incomparable) Return()        {}

func TestReconfigureABudgetThatCannotBeCompared(t *testing.T) {
	again := retry.New(retry.WithBudget(incomparable{}))
	require.ErrorContains(t, again.Reconfigure(retry.WithBudget(incomparable{})), "the budget cannot be replaced")
	require.ErrorContains(t, again.Reconfigure(retry.WithBudget(nil)), "the budget cannot be replaced")
	require.NoError(t, again.Reconfigure(retry.Attempts(2)))
	require.IsType(t, incomparable{}, again.Budget())
	require.Error(t, retry.New().Reconfigure(retry.WithBudget(incomparable{})))
}

func TestReconfigureKeepsCodeUnlessItIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delay := func(policy.Attempt) time.Duration { return 7 * time.Second }
		again := retry.New(retry.Delay(delay), retry.NoJitter(), retry.Attempts(2), retry.Rand(rand.NewPCG(1, 2)))
		wait := func() time.Duration {
			start := time.Now()
			_, _ = resilience.Do(t.Context(), again, fails(errBackend).do)
			return time.Since(start)
		}
		require.Equal(t, 7*time.Second, wait())
		require.NoError(t, again.Reconfigure(retry.NoJitter()))
		require.Equal(t, 7*time.Second, wait())
		require.NoError(t, again.Reconfigure(retry.NoJitter(), retry.Exponential(1, 2*time.Second)))
		require.Equal(t, 2*time.Second, wait(), "another cap")
		require.NoError(t, again.Reconfigure(retry.NoJitter(), retry.Constant(time.Second)))
		require.Equal(t, time.Second, wait())
		require.NoError(t, again.Reconfigure(retry.NoJitter()))
		require.Equal(t, 100*time.Millisecond, wait(), "the function was replaced")
	})
}

// What is no data stays: also which rejections are retried. And what a delay is made of stays as a whole or not at all.
func TestReconfigureKeepsWhatIsNoData(t *testing.T) {
	again := retry.New(retry.RetryRejections(errFull), retry.Constant(0))
	require.NoError(t, again.Reconfigure(retry.Constant(0), retry.MaxRetryAfter(time.Minute)))
	guard := &full{}
	_, err := resilience.Do(t.Context(), resilience.Compose(again, guard), fails().do)
	require.ErrorIs(t, err, errFull)
	require.Equal(t, 3, guard.refusals)
	require.Contains(t, again.Report().Settings,
		policy.Setting{Name: "MaxRetryAfter", Args: []policy.Argument{{Name: "longest", Value: time.Minute}}})

	for name, replace := range map[string]retry.Option{
		"Exponential": retry.Exponential(time.Millisecond, time.Second),
		"Constant":    retry.Constant(time.Millisecond),
		"BackOff":     retry.BackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }),
		"Delay":       retry.Delay(func(policy.Attempt) time.Duration { return time.Millisecond }),
	} {
		again := retry.New(retry.NoJitter(), retry.Attempts(2), retry.BackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) }))
		require.NoError(t, again.Reconfigure(retry.NoJitter(), retry.Attempts(2), replace))
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, _ = resilience.Do(t.Context(), again, always(errBackend).do)
			require.Equal(t, time.Millisecond, time.Since(start), name)
		})
	}
}

func TestReconfigureWithoutOptionsKeepsWhatIsNoData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		discarded := []any{}
		again := retry.New(
			retry.BackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Hour) }), retry.NoJitter(),
			retry.OnDiscard(func(value any) { discarded = append(discarded, value) }), retry.NoBudget(),
		)
		require.NoError(t, again.Reconfigure(retry.NoJitter()))
		start := time.Now()
		_, _ = resilience.Do(t.Context(), again, func(context.Context) (int, error) { return 7, errBackend })
		require.Equal(t, 2*time.Hour, time.Since(start))
		require.Equal(t, []any{7, 7}, discarded)
		require.Nil(t, again.Budget())
	})
	own := retry.New()
	budget := own.Budget()
	require.NoError(t, own.Reconfigure(retry.Attempts(4)))
	require.Same(t, budget, own.Budget())
}

// No change is lost, and the functions of the options run under no lock: one that changes the Retrier itself comes between
// the begin and the end of another change.
func TestReconfigureAtOnceLosesNothing(t *testing.T) {
	again := retry.New()
	asked := 0
	require.NoError(t, again.Reconfigure(retry.BackOff(func() backoff.BackOff {
		if asked++; asked == 1 {
			require.NoError(t, again.Reconfigure(retry.If(func(error) bool { return false })))
		}
		return &backoff.ZeroBackOff{}
	})))
	names := []string{}
	for _, setting := range again.Report().Settings {
		names = append(names, setting.Name)
	}
	require.Equal(t, []string{"BackOff", "If", "Attempts"}, names)
	op := always(errBackend)
	_, _ = resilience.Do(t.Context(), again, op.do)
	require.Equal(t, 1, op.entered, "the function of If is asked")
}

func TestReconfigureUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := retry.New(retry.Constant(time.Millisecond), retry.NoBudget())
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					_ = again.Reconfigure(retry.Attempts(2+i%2), retry.Constant(time.Duration(1+i%3)*time.Millisecond), retry.NoBudget())
				}
			}
		}()
		done := make(chan error)
		for range 8 {
			go func() {
				for range 500 {
					if _, err := resilience.Do(t.Context(), again, fails(errBackend).do); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 8 {
			require.NoError(t, <-done)
		}
		close(stop)
		synctest.Wait()
		require.EqualValues(t, 4000, again.Snapshot().Retries)
	})
}

func TestFault268_ZeroValuesNameTheConstructor(t *testing.T) {
	var r retry.Retrier
	var b retry.Budget
	var k retry.TokenBudget
	var c retry.ConcurrencyBudget
	for want, methods := range map[string][]func(){
		"retry: a Retrier must be made with New": {
			func() { _ = r.Next(t.Context(), policy.Attempt{}) }, func() { r.Succeeded(engine.Caller{}) }, func() { r.Discards(engine.Caller{}) }, func() { r.Discard(1) }, func() { _ = r.Budget() },
			func() { _ = r.String() }, func() { _ = r.Snapshot() }, func() { _ = r.Report() }, func() { _ = r.Idle() }, func() { _ = r.Check(nil, nil) },
			func() { _ = r.Reconfigure() }, func() { _ = r.Tries(t.Context()) }, func() { _, _ = resilience.Do(t.Context(), &r, succeed) },
			func() { _, _ = retry.Policy[int]{Retrier: &r}.Do(t.Context(), succeed) },
		},
		"retry: a Budget must be made with NewBudget": {
			func() { b.Deposit() }, func() { _ = b.Withdraw() }, func() { b.Return() }, func() { _ = b.Snapshot() }, func() { _ = b.Report() },
			func() { _ = b.Idle() }, func() { _ = b.Reconfigure(1, 1) }, func() { _ = b.String() },
		},
		"retry: a TokenBudget must be made with NewTokenBudget": {
			func() { k.Deposit() }, func() { _ = k.Withdraw() }, func() { k.Return() }, func() { _ = k.Snapshot() }, func() { _ = k.Report() },
			func() { _ = k.Idle() }, func() { _ = k.Reconfigure(1, 1) }, func() { _ = k.String() },
		},
		"retry: a ConcurrencyBudget must be made with NewConcurrencyBudget": {
			func() { c.Deposit() }, func() { _ = c.Withdraw() }, func() { c.Return() }, func() { _ = c.Snapshot() }, func() { _ = c.Report() },
			func() { _ = c.Idle() }, func() { _ = c.Reconfigure(1, 1) }, func() { _ = c.String() }, func() { _, _, _ = c.Admit(t.Context()) },
			func() { _ = c.Ready(t.Context()) },
		},
	} {
		for i, method := range methods {
			require.PanicsWithValue(t, want, method, "method %d", i)
		}
	}
	for _, budget := range []policy.Budget{&b, &k, &c} {
		require.ErrorContains(t, retry.Validate(retry.WithBudget(budget)), "to make a budget")
	}
}
