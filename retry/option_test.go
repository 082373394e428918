package retry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
)

// exponentialWith returns a factory of valid exponential sources with one field changed.
func exponentialWith(change func(*backoff.ExponentialBackOff)) retry.Option {
	return retry.BackOff(func() backoff.BackOff {
		source := backoff.NewExponentialBackOff()
		change(source)
		return source
	})
}

// inTurn returns a factory that answers with sources, one after the other, over and over.
func inTurn(sources ...backoff.BackOff) func() backoff.BackOff {
	calls := 0
	return func() backoff.BackOff {
		calls++
		return sources[(calls-1)%len(sources)]
	}
}

// alternating is a source of somebody else's with as little state as there can be.
type alternating struct{ long bool }

func (a *alternating) Reset() { a.long = false }
func (a *alternating) NextBackOff() time.Duration {
	if a.long = !a.long; a.long {
		return 2
	}
	return 1
}

// listedDelays is a source that is no pointer, and that cannot be compared.
type listedDelays []time.Duration

func (listedDelays) Reset()                       {}
func (l listedDelays) NextBackOff() time.Duration { return l[0] }

func TestFault104_178_181_BadOptionsFailAtConstruction(t *testing.T) {
	one := backoff.NewExponentialBackOff()
	oneBit := &alternating{}
	for name, test := range map[string]struct {
		opts []retry.Option
		want string
	}{
		"nil option":           {[]retry.Option{retry.Attempts(2), nil}, "option 2 is nil"},
		"no attempts":          {[]retry.Option{retry.Attempts(0)}, "Attempts(0)"},
		"negative attempts":    {[]retry.Option{retry.Attempts(math.MinInt)}, fmt.Sprintf("Attempts(%d)", math.MinInt)},
		"one attempt too few":  {[]retry.Option{retry.AwaitRecovery(1), retry.Attempts(1)}, "AwaitRecovery(1ns) with Attempts(1)"},
		"zero initial":         {[]retry.Option{retry.Exponential(0, time.Second)}, "Exponential(0s, 1s)"},
		"negative initial":     {[]retry.Option{retry.Exponential(-1, time.Second)}, "Exponential(-1ns, 1s)"},
		"zero cap":             {[]retry.Option{retry.Exponential(time.Second, 0)}, "Exponential(1s, 0s)"},
		"initial above cap":    {[]retry.Option{retry.Exponential(2*time.Second, time.Second)}, "above the longest"},
		"multiplier NaN":       {[]retry.Option{retry.Multiplier(math.NaN())}, "Multiplier(NaN)"},
		"multiplier +Inf":      {[]retry.Option{retry.Multiplier(math.Inf(1))}, "Multiplier(+Inf)"},
		"multiplier -Inf":      {[]retry.Option{retry.Multiplier(math.Inf(-1))}, "Multiplier(-Inf)"},
		"multiplier 0":         {[]retry.Option{retry.Multiplier(0)}, "Multiplier(0)"},
		"multiplier negative":  {[]retry.Option{retry.Multiplier(-2)}, "Multiplier(-2)"},
		"multiplier below 1":   {[]retry.Option{retry.Multiplier(0.99)}, "Multiplier(0.99)"},
		"negative constant":    {[]retry.Option{retry.Constant(-1)}, "Constant(-1ns)"},
		"nil factory":          {[]retry.Option{retry.BackOff(nil)}, "BackOff: the function is nil"},
		"factory of nil":       {[]retry.Option{retry.BackOff(func() backoff.BackOff { return nil })}, "returns nil"},
		"nil the first time":   {[]retry.Option{retry.BackOff(inTurn(nil, &backoff.ZeroBackOff{}))}, "returns nil"},
		"nil the second time":  {[]retry.Option{retry.BackOff(inTurn(&backoff.ZeroBackOff{}, nil))}, "returns nil"},
		"shared foreign":       {[]retry.Option{retry.BackOff(inTurn(oneBit))}, "same *alternating again"},
		"factory of typed nil": {[]retry.Option{retry.BackOff(func() backoff.BackOff { return (*backoff.ExponentialBackOff)(nil) })}, "returns nil"},
		"shared source":        {[]retry.Option{retry.BackOff(func() backoff.BackOff { return one })}, "same *ExponentialBackOff"},
		"literal source":       {[]retry.Option{retry.BackOff(func() backoff.BackOff { return &backoff.ExponentialBackOff{} })}, "Clock is nil"},
		"source multiplier":    {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.Multiplier = math.NaN() })}, "Multiplier NaN"},
		"source factor":        {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.RandomizationFactor = 3 })}, "RandomizationFactor 3"},
		"source factor 1.1":    {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.RandomizationFactor = 1.1 })}, "RandomizationFactor 1.1"},
		"source interval":      {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.InitialInterval = -1 })}, "intervals -1ns"},
		"source interval 0":    {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.InitialInterval = 0 })}, "intervals 0s"},
		"source longest 0":     {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.MaxInterval = 0 })}, "intervals 500ms, 0s"},
		"source never stops":   {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.Stop = 0 })}, "would never stop"},
		"source never stops 2": {[]retry.Option{exponentialWith(func(e *backoff.ExponentialBackOff) { e.MaxElapsedTime, e.Stop = 1, 0 })}, "would never stop"},
		"nil predicate":        {[]retry.Option{retry.If(nil)}, "If: the function is nil"},
		"nil random source":    {[]retry.Option{retry.Rand(nil)}, "Rand: the source is nil"},
		"nil pointer, random":  {[]retry.Option{retry.Rand((*rand.PCG)(nil))}, "Rand: the source is nil"},
		"two sources":          {[]retry.Option{retry.Constant(1), retry.Exponential(1, 2)}, "Constant and Exponential contradict"},
		"two jitters":          {[]retry.Option{retry.NoJitter(), retry.FullJitter()}, "NoJitter and FullJitter contradict"},
		"decorrelated":         {[]retry.Option{retry.DecorrelatedJitter(), retry.Constant(1)}, "DecorrelatedJitter with Constant"},
		"max retry after":      {[]retry.Option{retry.MaxRetryAfter(0)}, "MaxRetryAfter(0s)"},
		"no patience":          {[]retry.Option{retry.AwaitRecovery(0)}, "AwaitRecovery(0s)"},
		"vain patience":        {[]retry.Option{retry.AwaitRecovery(time.Second), retry.Attempts(1)}, "AwaitRecovery(1s) with Attempts(1)"},
		"no rejections":        {[]retry.Option{retry.RetryRejections()}, "RetryRejections: no reason"},
		"nil rejection":        {[]retry.Option{retry.RetryRejections(errFull, nil)}, "RetryRejections: reason 2 is nil"},
		"nil budget":           {[]retry.Option{retry.WithBudget(nil)}, "WithBudget: the budget is nil"},
		"zero budget":          {[]retry.Option{retry.WithBudget(&retry.Budget{})}, "WithBudget: use NewBudget"},
		"two budgets":          {[]retry.Option{retry.NoBudget(), retry.WithBudget(retry.NewBudget(1, 1))}, "NoBudget and WithBudget contradict"},
		"proportion 0":         {[]retry.Option{retry.ProportionalJitter(0)}, "ProportionalJitter(0)"},
		"proportion above 1":   {[]retry.Option{retry.ProportionalJitter(1.01)}, "ProportionalJitter(1.01)"},
		"proportion NaN":       {[]retry.Option{retry.ProportionalJitter(math.NaN())}, "ProportionalJitter(NaN)"},
		"nil delay":            {[]retry.Option{retry.Delay(nil)}, "Delay: the function is nil"},
		"nil discard":          {[]retry.Option{retry.OnDiscard(nil)}, "OnDiscard: the function is nil"},
		"delay and constant":   {[]retry.Option{retry.Delay(noDelay), retry.Constant(1)}, "Delay and Constant contradict"},
		"delay decorrelated":   {[]retry.Option{retry.Delay(noDelay), retry.DecorrelatedJitter()}, "DecorrelatedJitter with Delay"},
		"useless multiplier":   {[]retry.Option{retry.Constant(1), retry.Multiplier(3)}, "Multiplier(3) with Constant"},
	} {
		t.Run(name, func(t *testing.T) {
			err := retry.Validate(test.opts...)
			require.ErrorContains(t, err, test.want)
			require.IsType(t, &policy.ConfigError{}, err)
			require.PanicsWithError(t, err.Error(), func() { retry.New(test.opts...) })
		})
	}
}

func noDelay(policy.Attempt) time.Duration { return 0 }

// Options only store: what is checked is the configuration that results.
func TestFault258_TheLaterOptionCounts(t *testing.T) {
	source := func() backoff.BackOff { return &backoff.ZeroBackOff{} }
	for _, opts := range [][]retry.Option{
		{retry.Attempts(0), retry.Attempts(3)},
		{retry.Exponential(0, -1), retry.Exponential(1, 2)},
		{retry.Multiplier(math.NaN()), retry.Multiplier(2)},
		{retry.Constant(-1), retry.Constant(1)},
		{retry.BackOff(nil), retry.BackOff(source)},
		{retry.Delay(nil), retry.Delay(noDelay)},
		{retry.ProportionalJitter(7), retry.ProportionalJitter(1)},
		{retry.Rand(nil), retry.Rand(rand.NewPCG(1, 2))},
		{retry.If(nil), retry.If(func(error) bool { return true })},
		{retry.RetryRejections(), retry.RetryRejections(nil), retry.RetryRejections(errFull)},
		{retry.MaxRetryAfter(0), retry.MaxRetryAfter(1)},
		{retry.AwaitRecovery(0), retry.AwaitRecovery(1)},
		{retry.WithBudget(nil), retry.WithBudget(retry.NewBudget(1, 1))},
		{retry.OnDiscard(nil), retry.OnDiscard(func(any) {})},
	} {
		require.NoError(t, retry.Validate(opts...))
		require.Error(t, retry.Validate(opts[0]))
	}
	require.NoError(t, retry.Validate(retry.Delay(noDelay), retry.Exponential(1, 2)))
}

func TestFault247_ReasonsOfGatesAreRefused(t *testing.T) {
	open, shed := policy.NewReason("breaker.open", "circuit open"), policy.NewReason("throttle.throttled", "throttled")
	for name, layers := range map[string][]policy.Layer{
		"breaker":  {retry.New(retry.RetryRejections(errFull, open)), &fakeBreaker{}},
		"throttle": {retry.New(retry.RetryRejections(shed)), &fakeBreaker{}},
		"moved":    {retry.New(retry.RetryRejections(open)), policy.At(policy.StageBulkhead, &fakeBreaker{})},
		"pipeline": {retry.New(retry.RetryRejections(open)), resilience.Compose(&witness{}, &fakeBreaker{})},
	} {
		require.ErrorContains(t, resilience.Validate(layers...), "AwaitRecovery", name)
	}
	require.NoError(t, resilience.Validate(retry.New(retry.RetryRejections(errFull)), &fakeBreaker{}))
	require.NoError(t, resilience.Validate(retry.New(retry.RetryRejections(open)), &witness{}), "there is no gate: the operation may be a call that is refused")
	require.NoError(t, resilience.Validate(retry.New(retry.RetryRejections(open)), policy.At(policy.StageShed, &fakeBreaker{})), "it stands outside")
}

// odd is an error whose type looks comparable, and is not.
type odd struct{ detail any }

func (odd) Error() string { return "odd" }

func TestFault281_AReasonThatCannotBeCompared(t *testing.T) {
	for _, err := range []error{odd{map[string]int{}}, odd{[]int{}}, errFull} {
		rejection := &policy.Rejection{Kind: "bulkhead", Reason: err}
		again := retry.New(retry.Constant(0), retry.RetryRejections(odd{map[string]int{}}, errFull))
		op := always(rejection)
		require.NotPanics(t, func() { _, _ = resilience.Do(t.Context(), again, op.do) })
		require.Equal(t, map[bool]int{true: 3, false: 1}[err == errFull], op.entered)
		require.NotPanics(t, func() {
			_ = resilience.Validate(again, &fakeBreaker{})
			_, _ = resilience.Do(t.Context(), again, always(err).do)
		})
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	err := retry.Validate(retry.Attempts(0), retry.Multiplier(0), retry.Constant(-1))
	require.EqualError(t, err, "retry: Attempts(0): must be at least 1; "+
		"Multiplier(0): must be a finite number that is at least 1; "+
		"Constant(-1ns): must not be negative; "+
		"Multiplier(0) with Constant: it needs Exponential")
}

func TestValidExtremes(t *testing.T) {
	for _, opts := range [][]retry.Option{
		nil,
		{retry.Attempts(math.MaxInt)},
		{retry.Exponential(1, math.MaxInt64), retry.Multiplier(math.MaxFloat64)},
		{retry.Exponential(math.MaxInt64, math.MaxInt64)},
		{retry.Constant(math.MaxInt64)},
		{retry.Constant(0)},
		{retry.MaxRetryAfter(math.MaxInt64), retry.AwaitRecovery(math.MaxInt64)},
		{retry.MaxRetryAfter(1), retry.AwaitRecovery(1)},
		{retry.Attempts(2), retry.Attempts(5)},
		{retry.NoJitter(), retry.NoJitter()},
		{retry.BackOff(func() backoff.BackOff { return backoff.NewExponentialBackOff() })},
		{retry.BackOff(func() backoff.BackOff { return &backoff.StopBackOff{} })},
		{retry.BackOff(inTurn(backoff.NewConstantBackOff(time.Second)))}, // has no state, so that all calls may share it
		{retry.BackOff(inTurn(listedDelays{1}))},
		{retry.BackOff(func() backoff.BackOff { return &alternating{} })},
		{exponentialWith(func(e *backoff.ExponentialBackOff) { e.InitialInterval, e.MaxInterval = 1, 1 })},
		{exponentialWith(func(e *backoff.ExponentialBackOff) { e.Multiplier, e.RandomizationFactor = 1, 1 })},
		{exponentialWith(func(e *backoff.ExponentialBackOff) { e.RandomizationFactor = 0 })},
		{exponentialWith(func(e *backoff.ExponentialBackOff) { e.MaxElapsedTime, e.Stop = 0, 0 })}, // never says stop
	} {
		require.NoError(t, retry.Validate(opts...))
		require.NotNil(t, retry.New(opts...))
	}
}
