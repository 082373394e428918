package policyconfig

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

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

// kinds are all kinds of layers of this module that a file can name, outermost first.
var kinds = []*kind{timeoutKind, retryKind, hedgeKind, breakerKind, throttleKind, ratelimitKind, bulkheadKind}

func kindNamed(name string) *kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

type (
	classifier = func(error) policy.Class
	discarder  = func(any)
	panicked   = func(any, []byte)
	measure    = func(context.Context) int
)

// share is the range of a share of calls.
func share(name string) argument { return float(name, 1e-9, 1) }

var breakerKind = &kind{
	name: "breaker", named: true, shadowing: true, keyed: true,
	doc:          "Stops calling a dependency that fails. See docs/breaker.md.",
	constructors: []*option{{}},
	options: []*option{
		{
			key: "consecutiveFailures", args: []argument{integer("n", 1, most)},
			doc:   "Opens after this many failures with no success in between. The default rule, with 5.",
			apply: func(a actual) any { return breaker.ConsecutiveFailures(a.integer(0)) },
		},
		{
			key: "failureRate", args: []argument{share("rate"), integer("minimumCalls", 1, most)},
			doc:   "Opens when this share of the calls in the window failed, and it holds at least minimumCalls.",
			apply: func(a actual) any { return breaker.FailureRate(a.number(0), a.integer(1)) },
		},
		{
			key: "failureCount", args: []argument{integer("n", 1, most)},
			doc:   "Opens when this many calls in the window failed.",
			apply: func(a actual) any { return breaker.FailureCount(a.integer(0)) },
		},
		{
			key: "slowCalls", args: []argument{duration("threshold", time.Microsecond), share("share"), integer("minimumCalls", 1, most)},
			doc:   "Opens when this share of the calls in the window took threshold or longer.",
			apply: func(a actual) any { return breaker.SlowCalls(a.duration(0), a.number(1), a.integer(2)) },
		},
		{
			key: "tripWhen", code: "TripWhen", doc: "Opens when this function says so.",
			apply: func(a actual) any { return breaker.TripWhen(a.code[0].(func(breaker.Snapshot) bool)) },
		},
		{
			key: "countWindow", args: []argument{integer("n", 1, 100_000)},
			doc:   "Lets the rules look at the last n calls.",
			apply: func(a actual) any { return breaker.CountWindow(a.integer(0)) },
		},
		{
			key: "timeWindow", args: []argument{duration("d", time.Millisecond), integer("buckets", 1, 10_000)},
			doc:   "Lets the rules look at the calls of the last d, in buckets. The default is 10s in 10.",
			apply: func(a actual) any { return breaker.TimeWindow(a.duration(0), a.integer(1)) },
		},
		{
			key: "openFor", words: "open time", args: []argument{duration("d", time.Millisecond)}, otherwise: "5s",
			doc:   "For how long attempts are refused before the first probe.",
			apply: func(a actual) any { return breaker.OpenFor(a.duration(0)) },
		},
		{
			key: "jitter", args: []argument{float("share", 0, 1)}, otherwise: "0.1",
			doc:   "Lengthens every open time by a random part of it, up to this share.",
			apply: func(a actual) any { return breaker.Jitter(a.number(0)) },
		},
		{
			key: "growth", args: []argument{float("factor", 1, most), duration("limit", time.Millisecond)},
			doc:   "Multiplies the open time by factor with every opening in a row, up to limit.",
			apply: func(a actual) any { return breaker.Growth(a.number(0), a.duration(1)) },
		},
		{
			key: "retryAfter", args: []argument{duration("limit", time.Millisecond)},
			doc:   "Lets the failure that opens the breaker ask for a longer open time, up to this limit.",
			apply: func(a actual) any { return breaker.RetryAfter(a.duration(0)) },
		},
		{
			key: "probes", args: []argument{integer("n", 1, 10_000)}, otherwise: "1",
			doc:   "How many attempts may be in flight at once while the breaker is half-open.",
			apply: func(a actual) any { return breaker.Probes(a.integer(0)) },
		},
		{
			key: "successes", args: []argument{integer("n", 1, most)}, otherwise: "1",
			doc:   "How many probes must succeed to close the breaker.",
			apply: func(a actual) any { return breaker.Successes(a.integer(0)) },
		},
		{
			key: "failedProbes", args: []argument{integer("n", 0, most)}, otherwise: "0",
			doc:   "How many probes may fail until the next failure opens the breaker again.",
			apply: func(a actual) any { return breaker.FailedProbes(a.integer(0)) },
		},
		{
			key: "probeLease", args: []argument{duration("d", time.Millisecond)},
			doc:   "For how long a probe keeps its slot. The default is the open time, at least 1s.",
			apply: func(a actual) any { return breaker.ProbeLease(a.duration(0)) },
		},
		{
			key: "ramp", args: []argument{duration("d", time.Millisecond)},
			doc:   "Lets the load back in gradually over d after probes have closed the breaker.",
			apply: func(a actual) any { return breaker.Ramp(a.duration(0)) },
		},
		{
			key: "classify", code: "Classify", doc: "Says what errors mean to this breaker.",
			apply: func(a actual) any { return breaker.Classify(a.code[0].(classifier)) },
		},
		{
			key: "onChange", code: "OnChange", list: true, doc: "Subscribers to the changes of state.",
			apply: func(a actual) any { return breaker.OnChange(a.code[0].(func(breaker.Change))) },
		},
		{
			key: "rand", code: "Rand", replaces: true, doc: "Makes the source of chance.",
			apply: func(a actual) any { return breaker.Rand(a.code[0].(func() rand.Source)()) },
		},
	},
	room: &roomOf[breaker.Breaker, *breaker.Breaker, breaker.Option]{
		by:   by[*breaker.Breaker],
		name: breaker.Name, shadow: breaker.Shadow,
		validator: func(_ *layer, o []breaker.Option) error { return breaker.Validate(o...) },
		construct: func(_ *layer, o []breaker.Option) *breaker.Breaker { return breaker.New(o...) },
		change:    func(b *breaker.Breaker, _ *layer, o []breaker.Option) error { return b.Reconfigure(o...) },
	},
}

func flag(key, doc string, apply func(actual) any) *option {
	return &option{key: key, doc: doc, apply: apply}
}

var retryKind = &kind{
	name: "retry", named: true,
	doc:          "Tries again. See docs/retry.md.",
	constructors: []*option{{}},
	options: []*option{
		{
			key: "attempts", args: []argument{integer("n", 1, most)}, otherwise: "3",
			doc:   "The most attempts of a call, the first one included.",
			apply: func(a actual) any { return retry.Attempts(a.integer(0)) },
		},
		{
			key: "exponential", words: "exponential delays", args: []argument{positive("initial"), positive("longest")},
			doc:   "Delays start at initial and grow up to longest. The default is from 100ms to 10s.",
			apply: func(a actual) any { return retry.Exponential(a.duration(0), a.duration(1)) },
		},
		{
			key: "multiplier", args: []argument{float("factor", 1, most)}, otherwise: "2",
			doc:   "The factor by which exponential delays grow.",
			apply: func(a actual) any { return retry.Multiplier(a.number(0)) },
		},
		{
			key: "constant", words: "constant delay", args: []argument{duration("delay", 0)},
			doc:   "The same delay every time, before jitter.",
			apply: func(a actual) any { return retry.Constant(a.duration(0)) },
		},
		{
			key: "delay", code: "Delay", doc: "Asks this function for each delay.",
			apply: func(a actual) any { return retry.Delay(a.code[0].(func(policy.Attempt) time.Duration)) },
		},
		{
			key: "backOff", code: "BackOff", doc: "Takes delays from what this function makes.",
			apply: func(a actual) any { return retry.BackOff(a.code[0].(func() backoff.BackOff)) },
		},
		flag("fullJitter", "Draws each delay from 0 to the full delay. It is the default.", func(actual) any { return retry.FullJitter() }),
		flag("equalJitter", "Draws each delay from half to all of it.", func(actual) any { return retry.EqualJitter() }),
		flag("decorrelatedJitter", "Draws each delay from the initial one to three times the one before.", func(actual) any { return retry.DecorrelatedJitter() }),
		{
			key: "proportionalJitter", args: []argument{{name: "share", typ: isNumber, above: true, high: 1}},
			doc:   "Draws each delay from (1 - share) to (1 + share) times the full one.",
			apply: func(a actual) any { return retry.ProportionalJitter(a.number(0)) },
		},
		flag("noJitter", "Waits exactly as long as the delays say.", func(actual) any { return retry.NoJitter() }),
		{
			key: "rand", code: "Rand", replaces: true, doc: "Makes the source of chance.",
			apply: func(a actual) any { return retry.Rand(a.code[0].(func() rand.Source)()) },
		},
		{
			key: "if", code: "If", doc: "Retries only the errors that this function accepts.",
			apply: func(a actual) any { return retry.If(a.code[0].(func(error) bool)) },
		},
		flag("retryNested", "Retries errors of operations that have themselves retried.", func(actual) any { return retry.RetryNested() }),
		{
			key: "retryRejections", code: "Rejection", list: true,
			doc: "Retries these rejections, by the code of their reason, such as \"bulkhead.full\".",
			apply: func(a actual) any {
				reasons := make([]error, len(a.code))
				for i, reason := range a.code {
					reasons[i] = reason.(error)
				}
				return retry.RetryRejections(reasons...)
			},
		},
		{
			key: "maxRetryAfter", words: "longest wait that an error may ask for", args: []argument{positive("longest")}, otherwise: "30s",
			doc:   "The longest wait that an error may ask for.",
			apply: func(a actual) any { return retry.MaxRetryAfter(a.duration(0)) },
		},
		{
			key: "awaitRecovery", words: "longest wait for recovery", args: []argument{positive("longest")},
			doc:   "Waits for an open breaker, for at most this long.",
			apply: func(a actual) any { return retry.AwaitRecovery(a.duration(0)) },
		},
		{
			key: "withBudget", code: "Budgets", replaces: true, doc: "Pays retries from this budget, one of the file or of the program.",
			apply: func(a actual) any { return retry.WithBudget(a.code[0].(policy.Budget)) },
		},
		{
			key: "noBudget", replaces: true, doc: "Lets the number of attempts be the only bound.",
			apply: func(actual) any { return retry.NoBudget() },
		},
		{
			key: "onDiscard", code: "OnDiscard", doc: "Gets the values of attempts that another one supersedes.",
			apply: func(a actual) any { return retry.OnDiscard(a.code[0].(discarder)) },
		},
	},
	room: &roomOf[retry.Retrier, *retry.Retrier, retry.Option]{
		name:      retry.Name,
		validator: func(_ *layer, o []retry.Option) error { return retry.Validate(o...) },
		construct: func(_ *layer, o []retry.Option) *retry.Retrier { return retry.New(o...) },
		change:    func(r *retry.Retrier, _ *layer, o []retry.Option) error { return r.Reconfigure(o...) },
	},
}

// rejections are the reasons that a retry may be told of, by their codes.
var rejections = func() map[string]error {
	m := make(map[string]error)
	for _, err := range []error{
		breaker.ErrOpen, throttle.ErrThrottled, retry.ErrBudget, timeout.ErrMaxRunning,
		ratelimit.ErrLimited, ratelimit.ErrDeadline, ratelimit.ErrQueueFull, ratelimit.ErrCost, ratelimit.ErrExhausted,
		bulkhead.ErrFull, bulkhead.ErrQueueFull, bulkhead.ErrQueueTimeout, bulkhead.ErrTooHeavy, bulkhead.ErrDeadline, bulkhead.ErrDraining,
	} {
		m[policy.Code(err)] = err
	}
	return m
}()

var burst = integer("burst", 0, float64(ratelimit.MaxBurst))

var ratelimitKind = &kind{
	name: "ratelimit", named: true, shadowing: true, keyed: true,
	doc: "Keeps to an agreed rate. See docs/ratelimit.md.",
	constructors: []*option{
		{args: []argument{
			{name: "perSecond", typ: isNumber, low: ratelimit.MinRate, high: ratelimit.MaxRate, infinite: true}, burst,
		}},
		{key: "every", doc: "One token per interval.", args: []argument{positive("interval"), burst}},
		{key: "per", doc: "n tokens per interval.", args: []argument{integer("n", 0, most), positive("interval"), burst}},
	},
	options: []*option{
		{
			key: "maxWait", words: "longest wait", args: []argument{positive("wait")},
			doc:   "Makes an attempt that finds no token wait for it, for at most this long. By default none waits.",
			apply: func(a actual) any { return ratelimit.MaxWait(a.duration(0)) },
		},
		{
			key: "maxWaiters", words: "most waiters", args: []argument{integer("n", 1, most)}, otherwise: "10000",
			doc:   "How many attempts may wait at a time.",
			apply: func(a actual) any { return ratelimit.MaxWaiters(a.integer(0)) },
		},
		{
			key: "costOf", code: "CostOf", doc: "Says how many tokens an attempt costs.",
			apply: func(a actual) any { return ratelimit.CostOf(a.code[0].(measure)) },
		},
	},
	room: limiterRoom{
		limiters: &roomOf[ratelimit.Limiter, *ratelimit.Limiter, ratelimit.Option]{
			by:   by[*ratelimit.Limiter],
			name: ratelimit.Name, shadow: ratelimit.Shadow,
			validator: func(l *layer, o []ratelimit.Option) error {
				perSecond, burst := l.rate()
				return ratelimit.Validate(perSecond, burst, o...)
			},
			construct: func(l *layer, o []ratelimit.Option) *ratelimit.Limiter {
				perSecond, burst := l.rate()
				return ratelimit.New(perSecond, burst, o...)
			},
			change: func(r *ratelimit.Limiter, l *layer, o []ratelimit.Option) error {
				perSecond, burst := l.rate()
				return r.Reconfigure(perSecond, burst, o...)
			},
		},
		buckets: &roomOf[ratelimit.PerKey[string], *ratelimit.PerKey[string], ratelimit.Option]{
			name: ratelimit.Name, shadow: ratelimit.Shadow,
			validator: func(l *layer, o []ratelimit.Option) error {
				perSecond, burst := l.rate()
				return ratelimit.ValidatePerKey(perSecond, burst, l.perKey.key, append(o, l.perKey.keys())...)
			},
			construct: func(l *layer, o []ratelimit.Option) *ratelimit.PerKey[string] {
				perSecond, burst := l.rate()
				return ratelimit.NewPerKey(perSecond, burst, l.perKey.key, append(o, l.perKey.keys())...)
			},
			change: func(r *ratelimit.PerKey[string], l *layer, o []ratelimit.Option) error {
				perSecond, burst := l.rate()
				return r.Reconfigure(perSecond, burst, append(o, l.perKey.keys())...)
			},
		},
	},
}

// keys returns the option that says for how many keys there is room.
func (p *perKey) keys() ratelimit.Option {
	return roomOption.apply(actual{args: p.room().args}).(ratelimit.Option)
}

// rate returns the arguments of ratelimit.New, whichever constructor was used.
func (l *layer) rate() (perSecond float64, burst int) {
	a := actual{args: l.args}
	switch l.constructor.key {
	case "every":
		return float64(time.Second) / float64(a.duration(0)), a.integer(1)
	case "per":
		return float64(a.integer(0)) * float64(time.Second) / float64(a.duration(1)), a.integer(2)
	}
	return a.number(0), a.integer(1)
}

var bulkheadKind = &kind{
	name: "bulkhead", named: true, shadowing: true, keyed: true,
	doc: "Bounds how many attempts are in flight. See docs/bulkhead.md.",
	constructors: []*option{
		{args: []argument{integer("limit", 1, bulkhead.MaxLimit)}},
		{
			key: "adaptive", doc: "A limit that follows the latency. See docs/adaptive.md.",
			args: []argument{
				{name: "algorithm", typ: isText, choices: []string{"aimd", "gradient2", "vegas"}},
				{name: "target", typ: isDuration, above: true, high: most, optional: true},
				integer("floor", 1, bulkhead.MaxLimit), integer("ceiling", 1, bulkhead.MaxLimit),
			},
		},
	},
	options: []*option{
		{
			key: "queue", args: []argument{integer("length", 1, bulkhead.MaxLimit), positive("wait")},
			doc:   "Lets attempts that find no free slot wait. By default none waits.",
			apply: func(a actual) any { return bulkhead.Queue(a.integer(0), a.duration(1)) },
		},
		{
			key: "weightOf", code: "WeightOf", doc: "Says how many slots an attempt takes.",
			apply: func(a actual) any { return bulkhead.WeightOf(a.code[0].(measure)) },
		},
		{
			key: "classify", code: "Classify", only: []string{"adaptive"}, doc: "Says what errors mean to this bulkhead.",
			apply: func(a actual) any { return bulkhead.Classify(a.code[0].(classifier)) },
		},
	},
	room: &roomOf[bulkhead.Bulkhead, *bulkhead.Bulkhead, bulkhead.Option]{
		by:   by[*bulkhead.Bulkhead],
		name: bulkhead.Name, shadow: bulkhead.Shadow,
		validator: func(l *layer, o []bulkhead.Option) error {
			if a := (actual{args: l.args}); l.constructor.key == "adaptive" {
				return bulkhead.ValidateAdaptive(a.algorithm(), a.integer(2), a.integer(3), o...)
			}
			return bulkhead.Validate(l.args[0].(int), o...)
		},
		construct: func(l *layer, o []bulkhead.Option) *bulkhead.Bulkhead {
			if a := (actual{args: l.args}); l.constructor.key == "adaptive" {
				return bulkhead.Adaptive(a.algorithm(), a.integer(2), a.integer(3), o...)
			}
			return bulkhead.New(l.args[0].(int), o...)
		},
		change: func(b *bulkhead.Bulkhead, l *layer, o []bulkhead.Option) error {
			if a := (actual{args: l.args}); l.constructor.key == "adaptive" {
				return b.ReconfigureAdaptive(a.algorithm(), a.integer(2), a.integer(3), o...)
			}
			return b.Reconfigure(l.args[0].(int), o...)
		},
	},
}

// algorithm returns that of an adaptive bulkhead.
func (a actual) algorithm() bulkhead.Algorithm {
	switch a.text(0) {
	case "aimd":
		return bulkhead.AIMD(a.duration(1))
	case "gradient2":
		return bulkhead.Gradient2()
	}
	return bulkhead.Vegas()
}

var hedgeKind = &kind{
	name: "hedge", named: true,
	doc:          "Starts another attempt when one takes long. See docs/hedge.md.",
	constructors: []*option{{}},
	options: []*option{
		{
			key: "after", words: "delay", args: []argument{positive("delay")},
			doc:   "Starts another attempt when none has succeeded for this long.",
			apply: func(a actual) any { return hedge.After(a.duration(0)) },
		},
		{
			key: "quantile", args: []argument{float("q", 0.5, 0.999)}, otherwise: "0.95",
			doc:   "Starts another attempt when the first takes longer than this share of recent ones.",
			apply: func(a actual) any { return hedge.Quantile(a.number(0)) },
		},
		{
			key: "extra", words: "extra attempts", args: []argument{integer("n", 1, 10)}, otherwise: "1",
			doc:   "The most extra attempts of a call.",
			apply: func(a actual) any { return hedge.Extra(a.integer(0)) },
		},
		flag("idempotent", "Declares that everything may be done twice.", func(actual) any { return hedge.Idempotent() }),
		flag("afterFailure", "Starts the next attempt at once when one fails.", func(actual) any { return hedge.AfterFailure() }),
		{
			key: "limit", args: []argument{float("ratio", 0, 10), float("perSecond", 0, 1e9)},
			doc:   "Bounds the extra attempts of all calls together. The default is a ratio of 0.1 and 10 per second.",
			apply: func(a actual) any { return hedge.Limit(a.number(0), a.number(1)) },
		},
		{
			key: "withBudget", code: "Budgets", replaces: true, doc: "Pays extra attempts from this budget, one of the file or of the program.",
			apply: func(a actual) any { return hedge.WithBudget(a.code[0].(policy.Budget)) },
		},
		{
			key: "maxRunning", words: "most attempts that run", args: []argument{integer("n", 1, most)}, otherwise: "1000",
			doc:   "The most attempts on goroutines of their own.",
			apply: func(a actual) any { return hedge.MaxRunning(a.integer(0)) },
		},
		{
			key: "onDiscard", code: "OnDiscard", doc: "Releases the results that lost.",
			apply: func(a actual) any { return hedge.OnDiscard(a.code[0].(discarder)) },
		},
		{
			key: "onPanic", code: "OnPanic", doc: "Is told of every panic of an attempt.",
			apply: func(a actual) any { return hedge.OnPanic(a.code[0].(panicked)) },
		},
	},
	room: &roomOf[hedge.Hedge, *hedge.Hedge, hedge.Option]{
		name:      hedge.Name,
		validator: func(_ *layer, o []hedge.Option) error { return hedge.Validate(o...) },
		construct: func(_ *layer, o []hedge.Option) *hedge.Hedge { return hedge.New(o...) },
		change:    func(h *hedge.Hedge, _ *layer, o []hedge.Option) error { return h.Reconfigure(o...) },
	},
}

var throttleKind = &kind{
	name: "throttle", named: true, shadowing: true, keyed: true,
	doc:          "Rejects by chance, the more the fewer attempts are accepted. See docs/throttle.md.",
	constructors: []*option{{}},
	options: []*option{
		{
			key: "k", args: []argument{float("k", 1, most)}, otherwise: "2",
			doc:   "How many attempts the dependency gets for each one that it accepts.",
			apply: func(a actual) any { return throttle.K(a.number(0)) },
		},
		{
			key: "window", args: []argument{duration("length", 2), integer("buckets", 2, 1000)},
			doc:   "How far back attempts count. The default is 30s in 30 buckets.",
			apply: func(a actual) any { return throttle.Window(a.duration(0), a.integer(1)) },
		},
		{
			key: "padding", args: []argument{integer("n", 1, most)}, otherwise: "8",
			doc:   "About how many attempts per window reach a dependency that accepts none.",
			apply: func(a actual) any { return throttle.Padding(a.integer(0)) },
		},
		{
			key: "classify", code: "Classify", doc: "Says what errors mean to this throttle.",
			apply: func(a actual) any { return throttle.Classify(a.code[0].(classifier)) },
		},
		{
			key: "rand", code: "Rand", replaces: true, doc: "Makes the source of chance.",
			apply: func(a actual) any { return throttle.Rand(a.code[0].(func() rand.Source)()) },
		},
	},
	room: &roomOf[throttle.Throttle, *throttle.Throttle, throttle.Option]{
		by:   by[*throttle.Throttle],
		name: throttle.Name, shadow: throttle.Shadow,
		validator: func(_ *layer, o []throttle.Option) error { return throttle.Validate(o...) },
		construct: func(_ *layer, o []throttle.Option) *throttle.Throttle { return throttle.New(o...) },
		change:    func(t *throttle.Throttle, _ *layer, o []throttle.Option) error { return t.Reconfigure(o...) },
	},
}

var timeoutKind = &kind{
	name: "timeout", keyed: true,
	doc: "Bounds a call or an attempt. See docs/timeout.md.",
	constructors: []*option{
		{key: "total", doc: "A bound for a whole call.", args: []argument{positive("limit")}},
		{key: "perAttempt", doc: "A bound for each attempt.", args: []argument{positive("limit")}},
		{
			key: "fromLatency", doc: "A bound for each attempt that follows the latency.",
			args: []argument{float("q", 0.5, 0.999), float("factor", 1, 100), positive("floor"), positive("most")},
		},
		{key: "abandon", doc: "A bound for each attempt that does not wait for it to end.", args: []argument{positive("limit")}},
	},
	options: []*option{
		{
			key: "maxRunning", words: "most operations that run", args: []argument{integer("n", 1, most)}, otherwise: "1000", only: []string{"abandon"},
			doc:   "The most operations that run at a time, abandoned ones included.",
			apply: func(a actual) any { return timeout.MaxRunning(a.integer(0)) },
		},
		{
			key: "onDiscard", code: "OnDiscard", only: []string{"abandon"}, doc: "Releases the results of abandoned operations.",
			apply: func(a actual) any { return timeout.OnDiscard(a.code[0].(discarder)) },
		},
		{
			key: "onPanic", code: "OnPanic", only: []string{"abandon"}, doc: "Is told of every panic of an operation.",
			apply: func(a actual) any { return timeout.OnPanic(a.code[0].(panicked)) },
		},
	},
	room: timeoutRoom{
		plain: &roomOf[timeout.Timeout, *timeout.Timeout, noOption]{
			by: by[*timeout.Timeout],
			validator: func(l *layer, _ []noOption) error {
				if a := (actual{args: l.args}); l.constructor.key == "fromLatency" {
					return timeout.ValidateFromLatency(a.number(0), a.number(1), a.duration(2), a.duration(3))
				}
				return timeout.Validate(l.args[0].(time.Duration))
			},
			construct: func(l *layer, _ []noOption) *timeout.Timeout {
				switch a := (actual{args: l.args}); l.constructor.key {
				case "total":
					return timeout.Total(a.duration(0))
				case "fromLatency":
					return timeout.FromLatency(a.number(0), a.number(1), a.duration(2), a.duration(3))
				default:
					return timeout.PerAttempt(a.duration(0))
				}
			},
			change: func(t *timeout.Timeout, l *layer, _ []noOption) error {
				if a := (actual{args: l.args}); l.constructor.key == "fromLatency" {
					return t.ReconfigureFromLatency(a.number(0), a.number(1), a.duration(2), a.duration(3))
				}
				return t.Reconfigure(l.args[0].(time.Duration))
			},
		},
		abandon: &roomOf[timeout.Abandoner, *timeout.Abandoner, timeout.AbandonOption]{
			validator: func(l *layer, o []timeout.AbandonOption) error {
				return timeout.ValidateAbandon(l.args[0].(time.Duration), o...)
			},
			construct: func(l *layer, o []timeout.AbandonOption) *timeout.Abandoner {
				return timeout.Abandon(l.args[0].(time.Duration), o...)
			},
			change: func(a *timeout.Abandoner, l *layer, o []timeout.AbandonOption) error {
				return a.Reconfigure(l.args[0].(time.Duration), o...)
			},
		},
	},
}

// budgetKinds are the kinds of retry budgets.
var budgetKinds = []*option{
	{
		key: "budget", doc: "Retries for a ratio of the calls, and some per second.",
		args:  []argument{float("ratio", 0, 1e9), float("perSecond", 0, 1e9)},
		apply: func(a actual) any { return retry.NewBudget(a.number(0), a.number(1)) },
	},
	{
		key: "tokenBudget", doc: "The retry throttling of gRPC.",
		args:  []argument{integer("maxTokens", 1, 1000), float("tokenRatio", 0.001, 1000)},
		apply: func(a actual) any { return retry.NewTokenBudget(a.integer(0), a.number(1)) },
	},
	{
		key: "concurrencyBudget", doc: "Retries in flight for a share of the attempts in flight. It is composed with the retry automatically.",
		args:  []argument{float("share", 0, 1), integer("minimum", 0, 1e9)},
		apply: func(a actual) any { return retry.NewConcurrencyBudget(a.number(0), a.integer(1)) },
	},
}

// roomOption makes a single limiter with a bucket for each key, in place of a limiter for each.
var roomOption = &option{
	key: "keys", words: "room for keys", args: []argument{integer("n", 1, ratelimit.MaxKeys)},
	doc:   "Makes one limiter with a bucket for each key, with room for so many keys.",
	apply: func(a actual) any { return ratelimit.Keys(a.integer(0)) },
}

// perKeyOptions are the options of perKey of a rate limiter.
var perKeyOptions = append(slices.Clip(keyedOptions), roomOption)

// keyedOptions are the options of perKey.
var keyedOptions = []*option{
	{
		key: "max", words: "most keys", args: []argument{integer("keys", 1, 1<<30)}, otherwise: "10000", doc: "How many keys there are at most.",
		apply: func(a actual) any { return keyed.Max(a.integer(0)) },
	},
	{
		key: "idle", words: "idle time of keys", args: []argument{positive("d")}, doc: "Evicts idle keys that were not used for this long.",
		apply: func(a actual) any { return keyed.Idle(a.duration(0)) },
	},
	{
		key: "maxKeyLength", words: "longest key", args: []argument{integer("bytes", 1, most)}, otherwise: "256", doc: "How long a key may be, in bytes.",
		apply: func(a actual) any { return keyed.MaxKeyLength(a.integer(0)) },
	},
}
