package policygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policygrpc"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// retrying returns a service config with one retry policy for all methods.
func retrying(attempts int, initial, longest string, multiplier float64, rest string, codes ...string) string {
	list := ""
	for i, code := range codes {
		if i > 0 {
			list += ","
		}
		list += `"` + code + `"`
	}
	return fmt.Sprintf(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":%d,"initialBackoff":%q,"maxBackoff":%q,
		"backoffMultiplier":%v,"retryableStatusCodes":[%s]}}]%s}`, attempts, initial, longest, multiplier, list, rest)
}

// hedging returns a service config with one hedging policy for all methods.
func hedging(attempts int, delay, rest string, codes string) string {
	return fmt.Sprintf(`{"methodConfig":[{"name":[{}],"hedgingPolicy":{"maxAttempts":%d,"hedgingDelay":%q,
		"nonFatalStatusCodes":[%s]}}]%s}`, attempts, delay, codes, rest)
}

func config(t testing.TB, json string, layers ...policy.Layer) *policygrpc.ServiceConfig {
	t.Helper()
	c, err := policygrpc.FromServiceConfig(json, layers...)
	require.NoError(t, err)
	return c
}

// Each rule of gRPC proposal A6, by ours. Where it can be, the same is asked of gRPC's own retries, as the oracle.
func TestG12_A6_RetryPolicy(t *testing.T) {
	fast := func(attempts int, rest string, codes ...string) string {
		return retrying(attempts, "0.001s", "0.002s", 2, rest, codes...)
	}
	for name, test := range map[string]struct {
		config   string
		unary    func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)
		attempts int
		code     codes.Code
		reason   error
	}{
		"maxAttempts is the sum of attempts":         {fast(4, "", "UNAVAILABLE"), always(errUnavailable), 4, codes.Unavailable, retry.ErrExhausted},
		"maxAttempts above 5 is 5":                   {fast(100, "", "UNAVAILABLE"), always(errUnavailable), 5, codes.Unavailable, retry.ErrExhausted},
		"a code that is listed is retried":           {fast(3, "", "ABORTED", "INTERNAL"), answers(status.Error(codes.Aborted, ""), errInternal), 3, codes.OK, nil},
		"a code that is not listed is not retried":   {fast(3, "", "ABORTED"), always(errUnavailable), 1, codes.Unavailable, nil},
		"codes can be mixed: the first not listed":   {fast(5, "", "UNAVAILABLE"), answers(errUnavailable, errInternal), 2, codes.Internal, nil},
		"RESOURCE_EXHAUSTED needs no hint":           {fast(3, "", "RESOURCE_EXHAUSTED"), answers(errExhausted, errExhausted), 3, codes.OK, nil},
		"a pushback below 0 stops":                   {fast(3, "", "UNAVAILABLE"), pushing(errUnavailable, "-1"), 1, codes.Unavailable, policygrpc.ErrPushback},
		"a pushback that is no number stops":         {fast(3, "", "UNAVAILABLE"), pushing(errUnavailable, "soon"), 1, codes.Unavailable, policygrpc.ErrPushback},
		"two pushbacks stop":                         {fast(3, "", "UNAVAILABLE"), pushing(errUnavailable, "1", "1"), 1, codes.Unavailable, policygrpc.ErrPushback},
		"a pushback of 0 retries at once":            {fast(3, "", "UNAVAILABLE"), pushing(errUnavailable, "0"), 2, codes.OK, nil},
		"a pushback does not make a code retryable":  {fast(3, "", "ABORTED"), pushing(errUnavailable, "0"), 1, codes.Unavailable, nil},
		"headers commit":                             {fast(3, "", "UNAVAILABLE"), withHeader, 1, codes.Unavailable, policygrpc.ErrCommitted},
		"headers commit, empty ones too":             {fast(3, "", "UNAVAILABLE"), withEmptyHeader, 1, codes.Unavailable, policygrpc.ErrCommitted},
		"a server that is throttled gets no retries": {fast(3, `,"retryThrottling":{"maxTokens":2,"tokenRatio":0.1}`, "UNAVAILABLE"), always(errUnavailable), 1, codes.Unavailable, retry.ErrBudget},
		"more than half of the tokens allow a retry": {fast(5, `,"retryThrottling":{"maxTokens":5,"tokenRatio":0.1}`, "UNAVAILABLE"), always(errUnavailable), 3, codes.Unavailable, retry.ErrBudget},
		"codes that are not retried cost no token":   {fast(3, `,"retryThrottling":{"maxTokens":2,"tokenRatio":0.1}`, "UNAVAILABLE"), answers(status.Error(codes.NotFound, "")), 1, codes.NotFound, nil},
		"maxAttempts 2 is one retry":                 {fast(2, "", "UNAVAILABLE"), answers(errUnavailable), 2, codes.OK, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: test.unary}, setting{source: config(t, test.config)})
			var call policygrpc.Call
			_, err := b.call(within(t), policygrpc.Info(&call))
			require.Equal(t, test.code, status.Code(err))
			require.Equal(t, test.attempts, b.count())
			require.ErrorIs(t, call.Reason, test.reason)

			oracle := start(t, &service{unary: test.unary}, setting{dial: []grpc.DialOption{grpc.WithDefaultServiceConfig(test.config)}})
			_, err = oracle.call(within(t))
			require.Equal(t, test.code, status.Code(err), "gRPC itself")
			require.Equal(t, test.attempts, oracle.count(), "gRPC itself")
		})
	}
}

func withHeader(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	_ = grpc.SendHeader(ctx, metadata.Pairs("a", "b"))
	return nil, errUnavailable
}

func withEmptyHeader(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	_ = grpc.SendHeader(ctx, metadata.MD{})
	return nil, errUnavailable
}

func TestG12_A6_BackoffWithin20Percent(t *testing.T) {
	t.Parallel()
	// delays 10, 20, 40, 50 ms; what the machine adds can only make them longer.
	b := start(t, &service{unary: always(errUnavailable)}, setting{source: config(t, retrying(5, "0.01s", "0.05s", 2, "", "UNAVAILABLE"))})
	for range 5 {
		before := b.count()
		_, err := b.call(within(t))
		require.Error(t, err)
		gaps := b.gaps()[before:]
		for i, nominal := range []time.Duration{10, 20, 40, 50} {
			require.GreaterOrEqual(t, gaps[i], nominal*time.Millisecond*8/10)
		}
	}
}

func TestG12_A6_Throttling(t *testing.T) {
	const rest = `,"retryThrottling":{"maxTokens":10,"tokenRatio":0.5}`
	mode := &struct {
		sync.Mutex
		unary func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)
	}{}
	set := func(unary func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)) {
		mode.Lock()
		defer mode.Unlock()
		mode.unary = unary
	}
	s := &service{unary: func(ctx context.Context, number int, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		mode.Lock()
		defer mode.Unlock()
		return mode.unary(ctx, number, in)
	}}
	forbidding := func(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
		return nil, status.Error(codes.NotFound, "whatever the code")
	}
	json := retrying(2, "0.001s", "0.001s", 1, rest, "UNAVAILABLE")
	for name, b := range map[string]*backend{
		"ours":        start(t, s, setting{source: config(t, json)}),
		"gRPC itself": start(t, s, setting{dial: []grpc.DialOption{grpc.WithDefaultServiceConfig(json)}}),
	} {
		t.Run(name, func(t *testing.T) {
			attempts := func(unary func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)) int {
				set(unary)
				before := s.count()
				_, _ = b.call(within(t))
				return s.count() - before
			}
			require.Equal(t, 2, attempts(always(errUnavailable)), "10 tokens, then 8")
			require.Equal(t, 1, attempts(forbidding), "7: a pushback that forbids costs a token, whatever the code")
			require.Equal(t, 1, attempts(always(errInternal)), "7: a code that is not retried does not")
			require.Equal(t, 2, attempts(always(errUnavailable)), "6, which is more than half; then 5")
			require.Equal(t, 1, attempts(always(errUnavailable)), "4, which is not")
			for range 4 {
				require.Equal(t, 1, attempts(answers()), "4 successes add 2: 6")
			}
			require.Equal(t, 1, attempts(always(errUnavailable)), "5, which is not more than half")
			for range 3 {
				attempts(answers())
			}
			require.Equal(t, 2, attempts(always(errUnavailable)), "6.5 and 5.5")
		})
	}
}

func TestG12_A6_NamesAndDefaults(t *testing.T) {
	b := start(t, &service{unary: always(errUnavailable)}, setting{})
	of := func(attempts int, name string) string {
		return fmt.Sprintf(`{"name":[%s],"retryPolicy":{"maxAttempts":%d,"initialBackoff":"0.001s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]}}`, name, attempts)
	}
	const this, all, other = `{"service":"grpc.testing.TestService","method":"UnaryCall"}`, `{"service":"grpc.testing.TestService"}`, `{"service":"other","method":"UnaryCall"}`
	for name, test := range map[string]struct {
		methods  string
		attempts int
	}{
		"nothing":                  {``, 1},
		"the method":               {of(3, this), 3},
		"another method":           {of(3, other), 1},
		"the service":              {of(3, all), 3},
		"the default":              {of(3, `{}`), 3},
		"the method counts most":   {of(2, `{}`) + "," + of(4, this) + "," + of(3, all), 4},
		"the service counts more":  {of(2, `{}`) + "," + of(3, all), 3},
		"one of several names":     {of(3, other+","+this), 3},
		"a config without retries": {of(2, `{}`) + `,{"name":[` + this + `],"timeout":"1s","waitForReady":true}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			source := config(t, `{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[`+test.methods+`]}`)
			before := b.count()
			_, err := policygrpcCall(b, source)(within(t))
			require.Error(t, err)
			require.Equal(t, test.attempts, b.count()-before)
			require.NotNil(t, source.PipelineFor(unaryMethod))
			require.NotNil(t, source.Current())
			require.NotEmpty(t, source.Pipelines())
		})
	}
}

// policygrpcCall returns calls of b through source.
func policygrpcCall(b *backend, source resilience.Source) func(context.Context, ...grpc.CallOption) (*testgrpc.SimpleResponse, error) {
	intercept := policygrpc.UnaryClient(source)
	return func(ctx context.Context, opts ...grpc.CallOption) (*testgrpc.SimpleResponse, error) {
		answer := new(testgrpc.SimpleResponse)
		err := intercept(ctx, unaryMethod, &testgrpc.SimpleRequest{}, answer, b.connection, func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			return cc.Invoke(ctx, method, in, out, opts...)
		}, opts...)
		return answer, err
	}
}

func TestG12_AServiceConfigThatIsNoGood(t *testing.T) {
	policyOf := func(fields string) string {
		return `{"methodConfig":[{"name":[{"service":"a"}],"retryPolicy":{` + fields + `}}]}`
	}
	good := `"initialBackoff":"1s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]`
	for name, test := range map[string]struct{ json, says string }{
		"no JSON":            {`{`, "unexpected EOF"},
		"two":                {`{}{}`, "more than one JSON value"},
		"a bracket too many": {`{}}`, "more than one JSON value"},
		"words behind it":    {`{} and so on`, "more than one JSON value"},
		"a wrong type":       {`{"methodConfig":3}`, "cannot unmarshal"},
		"one attempt":        {policyOf(`"maxAttempts":1,` + good), "maxAttempts 1: must be a whole number of at least 2"},
		"half an attempt":    {policyOf(`"maxAttempts":2.5,` + good), "maxAttempts 2.5"},
		"no attempts":        {policyOf(good), "maxAttempts 0"},
		"no unit":            {policyOf(`"maxAttempts":2,"initialBackoff":"1","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff "1": must be a duration`},
		"another unit":       {policyOf(`"maxAttempts":2,"initialBackoff":"1ms","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff "1ms"`},
		"negative":           {policyOf(`"maxAttempts":2,"initialBackoff":"-1s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff "-1s"`},
		"too fine":           {policyOf(`"maxAttempts":2,"initialBackoff":"0.0000000001s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff`},
		"no fraction":        {policyOf(`"maxAttempts":2,"initialBackoff":"1.s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff "1.s"`},
		"zero":               {policyOf(`"maxAttempts":2,"initialBackoff":"0s","maxBackoff":"1s","backoffMultiplier":1,"retryableStatusCodes":[14]`), `initialBackoff: must be positive`},
		"no backoff":         {policyOf(`"maxAttempts":2,"backoffMultiplier":1,"retryableStatusCodes":[14]`), `maxBackoff: must be positive`},
		"a multiplier of 0":  {policyOf(`"maxAttempts":2,"initialBackoff":"1s","maxBackoff":"1s","retryableStatusCodes":[14]`), `backoffMultiplier 0: must be positive`},
		"no codes":           {policyOf(`"maxAttempts":2,"initialBackoff":"1s","maxBackoff":"1s","backoffMultiplier":1`), `retryableStatusCodes: there are none`},
		"an unknown code":    {policyOf(`"maxAttempts":2,"retryableStatusCodes":["SLOW"]`), `SLOW`},
		"a code too large":   {policyOf(`"maxAttempts":2,"retryableStatusCodes":[17]`), `retryableStatusCodes: "17" is not a code`},
		"a negative code":    {policyOf(`"maxAttempts":2,"retryableStatusCodes":[-1]`), `"-1" is not a code`},
		"no code":            {policyOf(`"maxAttempts":2,"retryableStatusCodes":[null]`), `"null" is not a code`},
		"a list as a code":   {policyOf(`"maxAttempts":2,"retryableStatusCodes":[[14]]`), `"[14]" is not a code`},
		"both":               {`{"methodConfig":[{"name":[{}],"retryPolicy":{},"hedgingPolicy":{}}]}`, "has a retryPolicy and a hedgingPolicy"},
		"no name":            {`{"methodConfig":[{}]}`, "methodConfig[0]: has no name"},
		"no service":         {`{"methodConfig":[{"name":[{"method":"Get"}]}]}`, `has a method "Get" and no service`},
		"a name twice":       {`{"methodConfig":[{"name":[{"service":"a"}]},{"name":[{"service":"a"}]}]}`, `the name "a/" occurs twice`},
		"no tokens":          {`{"retryThrottling":{"tokenRatio":1}}`, "maxTokens 0: must be from 1 to 1000"},
		"too many tokens":    {`{"retryThrottling":{"maxTokens":1001,"tokenRatio":1}}`, "maxTokens 1001"},
		"half a token":       {`{"retryThrottling":{"maxTokens":1.5,"tokenRatio":1}}`, "maxTokens 1.5"},
		"endless tokens":     {`{"retryThrottling":{"maxTokens":1e300,"tokenRatio":1}}`, "maxTokens 1e+300"},
		"no ratio":           {`{"retryThrottling":{"maxTokens":1}}`, "tokenRatio 0"},
		"a hedge of one":     {hedging(1, "1s", "", ""), "hedgingPolicy.maxAttempts 1"},
		"a delay of letters": {hedging(2, "soon", "", ""), `hedgingPolicy.hedgingDelay "soon"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policygrpc.FromServiceConfig(test.json)
			_, ok := errors.AsType[*policy.ConfigError](err)
			require.True(t, ok, "%v", err)
			require.ErrorContains(t, err, test.says)
		})
	}
	_, err := policygrpc.FromServiceConfig(`{}`, retry.New())
	require.ErrorContains(t, err, "the layers hold a retry or a hedge")
	_, err = policygrpc.FromServiceConfig(retrying(2, "1s", "1s", 1, "", "UNAVAILABLE"), retry.New())
	require.ErrorContains(t, err, "retry")
	_, err = policygrpc.FromServiceConfig(`{}`, nil)
	require.Error(t, err)
}

// What gRPC for Go writes in its own examples, and what the proposal says about names of codes.
func TestG12_AServiceConfigThatIsSpelledOtherwise(t *testing.T) {
	const example = `{
		"methodConfig": [{
		  "name": [{"service": "grpc.testing.TestService"}],
		  "waitForReady": true,
		  "retryPolicy": {
			  "MaxAttempts": 4,
			  "InitialBackoff": ".01s",
			  "MaxBackoff": ".01s",
			  "BackoffMultiplier": 1.0,
			  "RetryableStatusCodes": [ "UNAVAILABLE" ]
		  }
		}]}`
	for name, test := range map[string]struct {
		json     string
		attempts int
	}{
		"the example of gRPC for Go": {example, 4},
		"a number":                   {strings.ReplaceAll(example, `"UNAVAILABLE"`, `14`), 4},
		"lower case":                 {strings.ReplaceAll(example, `"UNAVAILABLE"`, `"unavailable"`), 4},
		"mixed case, and twice":      {strings.ReplaceAll(example, `"UNAVAILABLE"`, `"Unavailable", 14, "Resource_Exhausted"`), 4},
		"nanoseconds":                {strings.ReplaceAll(example, `".01s"`, `"0.000000001s"`), 4},
		"nothing":                    {`{}`, 1},
		"null":                       {`null`, 1},
		"something that is unknown":  {`{"methodConfig":[{"name":[{"service":"a","more":1}],"extra":{}}],"unknown":[1,2]} `, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: always(errUnavailable)}, setting{source: config(t, test.json)})
			_, err := b.call(within(t))
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.Equal(t, test.attempts, b.count())
		})
	}
}

func FuzzFromServiceConfig(f *testing.F) {
	f.Add(retrying(3, "0.1s", "1s", 2, `,"retryThrottling":{"maxTokens":10,"tokenRatio":0.1}`, "UNAVAILABLE"))
	f.Add(hedging(3, "0.1s", "", `"UNAVAILABLE",8`))
	f.Add(retrying(1<<30, "999999999999999s", "315576000000s", 1e300, "", "UNAVAILABLE"))
	f.Fuzz(func(t *testing.T, json string) {
		c, err := policygrpc.FromServiceConfig(json)
		if err != nil {
			if _, ok := errors.AsType[*policy.ConfigError](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if c.PipelineFor(unaryMethod) == nil || c.Current() == nil {
			t.Fatal("no pipeline")
		}
	})
}

func TestA6_Hedging(t *testing.T) {
	t.Parallel()
	first := func(errs ...error) func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
		return func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			if number <= len(errs) {
				if errs[number-1] == nil {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, errs[number-1]
			}
			return reply("ok"), nil
		}
	}
	for name, test := range map[string]struct {
		config   string
		unary    func(context.Context, int, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error)
		attempts int
		code     codes.Code
	}{
		"the first success counts":                 {hedging(3, "0.02s", "", `"UNAVAILABLE"`), first(nil, nil), 3, codes.OK},
		"a code that is not fatal starts the next": {hedging(3, "10s", "", `"UNAVAILABLE"`), first(errUnavailable, errUnavailable), 3, codes.OK},
		"any code can be not fatal":                {hedging(3, "10s", "", `"NOT_FOUND"`), first(status.Error(codes.NotFound, "")), 2, codes.OK},
		"a fatal code ends the call":               {hedging(3, "10s", "", `"UNAVAILABLE"`), first(errInternal), 1, codes.Internal},
		"also Unavailable, if it is not listed":    {hedging(3, "10s", "", ``), first(errUnavailable), 1, codes.Unavailable},
		"all fail":                                 {hedging(3, "10s", "", `"UNAVAILABLE"`), always(errUnavailable), 3, codes.Unavailable},
		"maxAttempts above 5 is 5":                 {hedging(50, "10s", "", `"UNAVAILABLE"`), always(errUnavailable), 5, codes.Unavailable},
		"a delay of 0 sends all at once":           {hedging(3, "0s", "", `"UNAVAILABLE"`), first(nil, nil), 3, codes.OK},
		"throttled: no further attempts":           {hedging(5, "10s", `,"retryThrottling":{"maxTokens":2,"tokenRatio":1}`, `"UNAVAILABLE"`), always(errUnavailable), 1, codes.Unavailable},
		"a pushback below 0 stops":                 {hedging(3, "10s", "", `"UNAVAILABLE"`), pushing(errUnavailable, "-1"), 1, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, &service{unary: test.unary}, setting{source: config(t, test.config)})
			_, err := b.call(within(t))
			require.Equal(t, test.code, status.Code(err))
			require.Equal(t, test.attempts, b.count())
		})
	}
	t.Run("a pushback says when the next is sent", func(t *testing.T) {
		b := start(t, &service{unary: pushing(errUnavailable, "150")}, setting{source: config(t, hedging(3, "10s", "", `"UNAVAILABLE"`))})
		_, err := b.call(within(t))
		require.NoError(t, err)
		require.GreaterOrEqual(t, b.gaps()[0], 140*time.Millisecond)
	})
	t.Run("a pushback says when the next is sent, and the others follow it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // elsewhere one attempt could be held up on its way, and the next one not
			const ms = time.Millisecond
			var mu sync.Mutex
			var sent []time.Duration
			begin := time.Now()
			// All three that follow are ready to be sent long before.
			ours := policygrpc.UnaryClient(config(t, hedging(4, "0.1s", "", `"UNAVAILABLE"`)))
			err := ours(t.Context(), unaryMethod, &testgrpc.SimpleRequest{}, &testgrpc.SimpleResponse{}, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
				mu.Lock()
				sent = append(sent, time.Since(begin))
				number := len(sent)
				mu.Unlock()
				switch number {
				case 1:
					for _, opt := range opts {
						if trailer, ok := opt.(grpc.TrailerCallOption); ok {
							*trailer.TrailerAddr = metadata.Pairs("grpc-retry-pushback-ms", "250")
						}
					}
					return errUnavailable
				case 3:
					return nil
				}
				<-ctx.Done()
				return status.FromContextError(ctx.Err()).Err()
			})
			require.NoError(t, err)
			require.Equal(t, []time.Duration{0, 250 * ms, 350 * ms}, sent)
		})
	})
	t.Run("a failure is followed at once, also where the deadline comes before the delay", func(t *testing.T) {
		b := start(t, &service{unary: answers(errUnavailable)}, setting{source: config(t, hedging(2, "60s", "", `"UNAVAILABLE"`))})
		_, err := b.call(within(t))
		require.NoError(t, err)
	})
	t.Run("a failure without one is followed at once all the same", func(t *testing.T) {
		s := &service{}
		s.unary = func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			if number == 1 {
				_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "10"))
			}
			if number < 4 {
				return nil, errUnavailable
			}
			return reply("fourth"), nil
		}
		b := start(t, s, setting{source: config(t, hedging(4, "10s", "", `"UNAVAILABLE"`))})
		answer, err := b.call(within(t))
		require.NoError(t, err)
		require.Equal(t, "fourth", body(answer))
	})
	t.Run("a pushback below 0 stops what waits for another one", func(t *testing.T) {
		s := &service{}
		before, second, first := 0, make(chan struct{}), make(chan struct{})
		s.unary = func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			switch number {
			case 1: // the third attempt waits for this one
				<-second
				defer close(first)
				_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "8000"))
			case 2: // and must not be made because of this one
				close(second)
				<-first
				time.Sleep(100 * time.Millisecond)
				before = s.count() // two, unless the machine is very slow
				_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
			}
			return nil, errUnavailable
		}
		b := start(t, s, setting{source: config(t, hedging(5, "0.2s", "", `"UNAVAILABLE"`))})
		begin := time.Now()
		_, err := b.call(within(t))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Less(t, time.Since(begin), 8*time.Second, "and at once")
		require.Equal(t, before, b.count())
	})
	t.Run("an attempt that was sent before goes on after a pushback below 0", func(t *testing.T) {
		s := &service{}
		both := make(chan struct{})
		s.unary = func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
			if number == 2 {
				close(both)
				_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
				return nil, errUnavailable
			}
			<-both
			time.Sleep(100 * time.Millisecond)
			return reply("first"), nil
		}
		b := start(t, s, setting{source: config(t, hedging(5, "1.5s", "", `"UNAVAILABLE"`))})
		answer, err := b.call(within(t))
		require.NoError(t, err)
		require.Equal(t, "first", body(answer))
		require.Equal(t, 2, b.count())
	})
}

func TestFault197_AServiceConfigCannotRaiseTheAttemptsBeyondFive(t *testing.T) {
	for _, n := range []int{5, 6, 1000, 1 << 30} {
		b := start(t, &service{unary: always(errUnavailable)}, setting{source: config(t, retrying(n, "0.001s", "0.001s", 1, "", "UNAVAILABLE"))})
		_, err := b.call(within(t))
		require.Error(t, err)
		require.Equal(t, 5, b.count())
	}
}

func TestG4_Fault210_UG8_RetriesOfAServiceConfigBeneath(t *testing.T) {
	json := retrying(4, "0.001s", "0.001s", 1, "", "UNAVAILABLE")
	beneath := []grpc.DialOption{grpc.WithDefaultServiceConfig(json)}
	for name, test := range map[string]struct {
		set      setting
		attempts int
		told     int
	}{
		"they multiply":                 {setting{dial: beneath, source: resilience.Compose(quick(3))}, 12, 0},
		"refused":                       {setting{dial: beneath, source: resilience.Compose(quick(3))}, 4, 1},
		"disabled":                      {setting{dial: append([]grpc.DialOption{grpc.WithDisableRetry()}, beneath...), source: resilience.Compose(quick(3))}, 3, 0},
		"disabled, and the config ours": {setting{dial: append([]grpc.DialOption{grpc.WithDisableRetry()}, beneath...), source: config(t, json)}, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var told []error
			if test.told > 0 {
				test.set.options = []policygrpc.Option{policygrpc.RefuseServiceConfigRetry(func(err error) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, err)
				})}
			}
			var previous [][]string
			s := &service{}
			s.unary = func(ctx context.Context, _ int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				mu.Lock()
				defer mu.Unlock()
				previous = append(previous, md["grpc-previous-rpc-attempts"])
				return nil, errUnavailable
			}
			b := start(t, s, test.set)
			var call policygrpc.Call
			for range 2 {
				_, err := b.call(within(t), policygrpc.Info(&call))
				require.Equal(t, codes.Unavailable, status.Code(err))
			}
			require.Equal(t, 2*test.attempts, b.count())
			mu.Lock()
			defer mu.Unlock()
			require.Len(t, told, test.told, "once")
			if test.told > 0 {
				require.ErrorIs(t, told[0], policygrpc.ErrServiceConfigRetry)
				require.ErrorContains(t, told[0], unaryMethod)
				require.ErrorIs(t, call.Reason, policygrpc.ErrServiceConfigRetry)
			}
			if name != "they multiply" {
				for i, values := range previous[:test.attempts] {
					if i == 0 {
						require.Empty(t, values)
					} else {
						require.Equal(t, []string{fmt.Sprint(i)}, values, "once, and right")
					}
				}
			}
		})
	}
	t.Run("it is found after a success too", func(t *testing.T) {
		told := 0
		b := start(t, &service{unary: answers()}, setting{dial: beneath, source: resilience.Compose(quick(3)),
			options: []policygrpc.Option{policygrpc.RefuseServiceConfigRetry(func(error) { told++ })}})
		for range 2 {
			_, err := b.call(within(t))
			require.NoError(t, err)
		}
		require.Equal(t, 1, told)
	})
	t.Run("of methods without end, of the first 1000", func(t *testing.T) { // where calls are passed on, others choose their names
		told := 0
		b := start(t, &service{unary: answers()}, setting{dial: beneath})
		_, err := b.call(within(t)) // the connection has its config
		require.NoError(t, err)
		ours := policygrpc.UnaryClient(resilience.Compose(quick(3)), policygrpc.RefuseServiceConfigRetry(func(error) { told++ }))
		for i := range 3000 {
			require.NoError(t, ours(t.Context(), fmt.Sprintf("/any.Service/%d", i), nil, nil, b.connection,
				func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }))
		}
		require.Equal(t, 1000, told)
	})
	t.Run("nobody is told", func(t *testing.T) {
		b := start(t, &service{unary: always(errUnavailable)}, setting{dial: beneath, source: resilience.Compose(quick(3)),
			options: []policygrpc.Option{policygrpc.RefuseServiceConfigRetry(nil)}})
		_, err := b.call(within(t))
		require.Error(t, err)
		require.Equal(t, 4, b.count())
	})
}

// The timeout of a method bounds the whole call, as where gRPC itself retries, and not each attempt.
func TestG12_A6_TheTimeoutOfAServiceConfigBoundsTheCall(t *testing.T) {
	t.Parallel()
	const methods = `{"name":[{"service":"grpc.testing.TestService"}]`
	const timeoutOf = methods + `,"timeout":"2s"`
	const retries = `,"retryPolicy":{"maxAttempts":5,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":[14]}`
	const hedges = `,"hedgingPolicy":{"maxAttempts":2,"hedgingDelay":"0.05s","nonFatalStatusCodes":[14]}`
	for name, policies := range map[string]string{"retry": retries, "hedge": hedges, "neither": ""} {
		json := `{"methodConfig":[` + methods + `,"timeout":"10s"` + policies + `}]}` // enough, however busy the machine is
		for beside, set := range map[string]setting{
			"ours":                       {source: config(t, json)},
			"ours, and gRPC has it too":  {source: config(t, json), dial: []grpc.DialOption{grpc.WithDisableRetry(), grpc.WithDefaultServiceConfig(json)}},
			"ours, and a longer timeout": {source: config(t, json, timeout.Total(time.Minute))},
			"gRPC itself":                {dial: []grpc.DialOption{grpc.WithDefaultServiceConfig(json)}},
		} {
			t.Run(name+", "+beside, func(t *testing.T) {
				t.Parallel()
				left := make(chan time.Duration, 5) // at the beginning of each attempt
				b := start(t, &service{unary: func(ctx context.Context, number int, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
					deadline, _ := ctx.Deadline()
					left <- time.Until(deadline)
					if number > 1 {
						return reply("ok"), nil
					}
					time.Sleep(100 * time.Millisecond)
					return nil, errUnavailable
				}}, set)
				_, err := b.call(within(t))
				require.LessOrEqual(t, <-left, 10*time.Second)
				if policies == retries {
					require.NoError(t, err)
					require.LessOrEqual(t, <-left, 9900*time.Millisecond, "what the first attempt has taken is gone")
				}
			})
		}
	}
	// A timeout of null is none, as for gRPC.
	none, err := policygrpc.FromServiceConfig(`{"methodConfig":[{"name":[{}],"timeout":null` + retries + `}]}`)
	require.NoError(t, err)
	require.Equal(t, "retry 5", none.PipelineFor(unaryMethod).String())
	// Failures start extra attempts before the delay does: the last one need not be within the timeout by the delay alone.
	late := config(t, `{"methodConfig":[{"name":[{}],"timeout":"1s","hedgingPolicy":{"maxAttempts":4,"hedgingDelay":"0.5s","nonFatalStatusCodes":[14]}}]}`)
	require.Contains(t, late.PipelineFor(unaryMethod).String(), "total timeout 1s > hedge 3 after 500ms")
	// A total timeout of the layers that is shorter counts.
	source := config(t, `{"methodConfig":[`+timeoutOf+retries+`}]}`, timeout.Total(2*time.Second))
	require.Equal(t, "total timeout 2s > retry 5", source.PipelineFor(unaryMethod).String())
	require.Len(t, source.Pipelines(), 2)
	_, err = policygrpc.FromServiceConfig(`{"methodConfig":[`+timeoutOf+retries+`}]}`, timeout.PerAttempt(3*time.Second))
	require.ErrorContains(t, err, "methodConfig[0].retryPolicy: resilience.Compose: attempt timeout 3s: must be below the total timeout 2s around it")
	for timeout, says := range map[string]string{`"0s"`: "methodConfig[0].timeout: must be positive", `"1"`: `methodConfig[0].timeout "1": must be a duration`} {
		_, err := policygrpc.FromServiceConfig(`{"methodConfig":[{"name":[{}],"timeout":` + timeout + `}]}`)
		require.ErrorContains(t, err, says)
	}
}

func TestAServiceConfigWithLayers(t *testing.T) {
	t.Parallel()
	db := breaker.New(breaker.ConsecutiveFailures(3), breaker.OpenFor(time.Hour))
	source := config(t, retrying(5, "0.001s", "0.001s", 1, "", "UNAVAILABLE", "DEADLINE_EXCEEDED"), db, timeout.PerAttempt(500*time.Millisecond))
	b := start(t, &service{unary: sleeping}, setting{source: source})
	b.connect(t)
	_, err := b.call(within(t))
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	require.ErrorIs(t, err, breaker.ErrOpen, "the retry asks the breaker")
	require.Equal(t, 3, b.count())
	require.Equal(t, breaker.Open, db.Snapshot().State)
}

func TestAServiceConfigRetriesStreams(t *testing.T) {
	s := &service{output: func(number int, _ *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
		if number < 3 {
			return errUnavailable
		}
		return outputs(stream, "a")
	}}
	b := start(t, s, setting{source: config(t, retrying(4, "0.001s", "0.001s", 1, "", "UNAVAILABLE"))})
	stream, err := b.client.StreamingOutputCall(within(t), &testgrpc.StreamingOutputCallRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, io.EOF, err)
	require.Equal(t, 3, b.count())
}
