package policygrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"google.golang.org/grpc/codes"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// ServiceConfig holds a pipeline for each method, made from the retry, hedging and throttling policies of a gRPC
// service config. Make it with [FromServiceConfig]. It is safe for concurrent use.
type ServiceConfig struct {
	lines map[string]*line // by "service/method", "service/" and ""
	other *line
	all   []*line
}

// maxAttempts is the most that gRPC proposal A6 allows, whatever the config says.
const maxAttempts = 5

// FromServiceConfig returns pipelines that do what a gRPC service config in JSON says about retrying, hedging and
// throttling, by the rules of gRPC proposal A6. So you can keep your config: dial with grpc.WithDisableRetry, and give
// the result to [UnaryClient] and [StreamClient]. layers, such as a breaker and timeouts, are added to each pipeline,
// so all methods share them. They cannot include a retry or a hedge.
//
//	config, err := policygrpc.FromServiceConfig(json, breaker.New(), timeout.Total(2*time.Second))
//
// The config takes precedence over the defaults of this package: only its retryableStatusCodes are retried, given as
// numbers or as names in any case, and RESOURCE_EXHAUSTED even without a hint. More than 5 attempts count as 5. A
// method without a policy is not retried. A pushback above 30 s ends the call. The timeout of a method bounds the call
// with all its attempts, as timeout.Total does, unless layers hold a total timeout that is not longer. gRPC itself
// handles load balancing and the rest of the config.
//
// For a hedged call, the whole pipeline follows the config: after a code among nonFatalStatusCodes another attempt may
// succeed, any other failure is final. gRPC for Go itself does not hedge.
//
// The error is a [*policy.ConfigError] that lists every problem.
func FromServiceConfig(config string, layers ...policy.Layer) (*ServiceConfig, error) {
	problems := policy.ConfigError{Policy: "policygrpc.FromServiceConfig"}
	var parsed serviceConfigJSON
	decoder := json.NewDecoder(bytes.NewReader([]byte(config)))
	if err := decoder.Decode(&parsed); err != nil {
		problems.Add("%v", err)
		return nil, problems.Err()
	}
	if _, err := decoder.Token(); err != io.EOF { //nolint:errorlint // a Decoder returns the very value
		problems.Add("there is more than one JSON value")
	}
	s := &ServiceConfig{lines: map[string]*line{}}
	throttle := parsed.RetryThrottling.budget(&problems)
	s.other = s.compose(&problems, "", layers)
	for i, method := range parsed.MethodConfig {
		where := fmt.Sprintf("methodConfig[%d]", i)
		l, layers := s.other, method.bounded(&problems, where, layers)
		switch {
		case method.RetryPolicy != nil && method.HedgingPolicy != nil:
			problems.Add("%s: has a retryPolicy and a hedgingPolicy", where)
		case method.RetryPolicy != nil:
			l = s.retrying(&problems, where+".retryPolicy", method.RetryPolicy, throttle, layers)
		case method.HedgingPolicy != nil:
			l = s.hedging(&problems, where+".hedgingPolicy", method.HedgingPolicy, throttle, layers)
		case method.Timeout.duration > 0:
			l = s.compose(&problems, where+".timeout", layers)
		}
		if len(method.Name) == 0 {
			problems.Add("%s: has no name", where)
		}
		for _, name := range method.Name {
			if name.Service == "" && name.Method != "" {
				problems.Add("%s: the name has a method %.80q and no service", where, name.Method)
			}
			key := ""
			if name.Service != "" {
				key = name.Service + "/" + name.Method
			}
			if _, ok := s.lines[key]; ok {
				problems.Add("%s: the name %q occurs twice", where, key)
			}
			s.lines[key] = l
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if l, ok := s.lines[""]; ok {
		s.other = l
	}
	return s, nil
}

// bounded returns layers with a total timeout, if the config has one for the method that is shorter than theirs. gRPC would apply
// it to each attempt, since it does not know that they are of one call.
func (m *methodConfigJSON) bounded(problems *policy.ConfigError, where string, layers []policy.Layer) []policy.Layer {
	if !m.Timeout.given {
		return layers
	}
	before := len(problems.Problems)
	limit := m.Timeout.positive(problems, where+".timeout")
	for _, layer := range layers {
		around, ok := layer.(policy.TimeLimiter)
		if ok && around.Stage() == policy.StageTotalTimeout && around.TimeLimit() <= limit {
			return layers
		}
	}
	if len(problems.Problems) > before {
		return layers
	}
	return append(slices.Clip(layers), timeout.Total(limit))
}

// compose adds a line.
func (s *ServiceConfig) compose(problems *policy.ConfigError, where string, layers []policy.Layer, more ...policy.Layer) *line {
	all := append(append([]policy.Layer(nil), layers...), more...)
	if err := resilience.Validate(all...); err != nil {
		if where != "" {
			where += ": "
		}
		problems.Add("%s%v", where, err)
		return nil
	}
	l := newLine(resilience.Compose(all...))
	l.strict = true
	s.all = append(s.all, l)
	if where == "" && l.repeats {
		problems.Add("the layers hold a retry or a hedge")
	}
	return l
}

func (s *ServiceConfig) retrying(
	problems *policy.ConfigError, where string, p *retryPolicyJSON, throttle *retry.TokenBudget, layers []policy.Layer,
) *line {
	before := len(problems.Problems)
	attempts := attemptsOf(problems, where, p.MaxAttempts)
	initial := p.InitialBackoff.positive(problems, where+".initialBackoff")
	longest := p.MaxBackoff.positive(problems, where+".maxBackoff")
	if !(p.BackoffMultiplier > 0) || math.IsInf(p.BackoffMultiplier, 0) {
		problems.Add("%s.backoffMultiplier %v: must be positive", where, p.BackoffMultiplier)
	}
	retryable := p.RetryableStatusCodes.set(problems, where+".retryableStatusCodes")
	if len(retryable) == 0 {
		problems.Add("%s.retryableStatusCodes: there are none", where)
	}
	if len(problems.Problems) > before {
		return nil
	}
	budget := retry.NoBudget()
	if throttle != nil {
		budget = retry.WithBudget(throttle)
	}
	l := s.compose(problems, where, layers, retry.New(
		retry.Attempts(attempts),
		retry.BackOff(func() backoff.BackOff {
			return &a6Backoff{initial: float64(initial), longest: float64(longest), multiplier: p.BackoffMultiplier}
		}),
		retry.ProportionalJitter(0.2),
		retry.If(func(err error) bool { return retryable[Status(err).Code()] }),
		budget,
	))
	if l != nil {
		l.throttle = throttle
	}
	return l
}

func (s *ServiceConfig) hedging(
	problems *policy.ConfigError, where string, p *hedgingPolicyJSON, throttle *retry.TokenBudget, layers []policy.Layer,
) *line {
	before := len(problems.Problems)
	attempts := attemptsOf(problems, where, p.MaxAttempts)
	if p.HedgingDelay.problem != "" {
		problems.Add("%s.hedgingDelay %s", where, p.HedgingDelay.problem)
	}
	nonFatal := p.NonFatalStatusCodes.set(problems, where+".nonFatalStatusCodes")
	if len(problems.Problems) > before {
		return nil
	}
	budget := policy.Budget(unlimited{})
	if throttle != nil {
		budget = throttle
	}
	delay := max(1, p.HedgingDelay.duration)
	l := s.compose(problems, where, layers,
		hedge.New(hedge.Idempotent(), hedge.Extra(attempts-1), hedge.After(delay), hedge.AfterFailure(), hedge.WithBudget(budget)),
		&pushbackGuard{delay},
		resilience.Classify(func(err error) policy.Class { return hedgeClass(err, nonFatal) }),
	)
	if l != nil {
		l.throttle, l.nonFatal = throttle, nonFatal
	}
	return l
}

// hedgeClass returns the class of an error by what a hedging policy says of its code.
func hedgeClass(err error, nonFatal codeSet) policy.Class {
	class := Classify(err)
	mayMend := class == policy.Transient || class == policy.Throttled
	switch code := Status(err).Code(); {
	case nonFatal[code] && !mayMend:
		return policy.Transient
	case !nonFatal[code] && mayMend:
		return policy.Permanent
	}
	return class
}

// Current returns the pipeline of the methods that the config does not name. It implements [resilience.Source].
func (s *ServiceConfig) Current() *resilience.Pipeline { return s.other.pipeline }

// PipelineFor returns the pipeline of a method. It implements [MethodSource].
func (s *ServiceConfig) PipelineFor(method string) *resilience.Pipeline {
	return s.lineOf(method).pipeline
}

// Pipelines returns all pipelines: first the one without a policy, then one for each methodConfig that has a policy
// or a timeout.
func (s *ServiceConfig) Pipelines() []*resilience.Pipeline {
	pipelines := make([]*resilience.Pipeline, len(s.all))
	for i, l := range s.all {
		pipelines[i] = l.pipeline
	}
	return pipelines
}

// lineOf returns the line of a method: that of its own name counts more than that of its service.
func (s *ServiceConfig) lineOf(method string) *line {
	method = strings.TrimPrefix(method, "/")
	if l, ok := s.lines[method]; ok {
		return l
	}
	if end := strings.LastIndexByte(method, '/'); end >= 0 {
		if l, ok := s.lines[method[:end+1]]; ok {
			return l
		}
	}
	return s.other
}

// a6Backoff is the backoff of gRPC proposal A6 without its jitter: min(initial × multiplier^(n−1), longest).
type a6Backoff struct {
	initial, longest, multiplier float64
	retries                      int // so far
}

func (b *a6Backoff) NextBackOff() time.Duration {
	delay := min(b.initial*math.Pow(b.multiplier, float64(b.retries)), b.longest)
	b.retries++
	return time.Duration(min(delay, float64(math.MaxInt64/2)))
}

func (b *a6Backoff) Reset() { b.retries = 0 }

// unlimited is a budget that allows everything: the number of attempts is the only bound of a hedging policy.
type unlimited struct{}

func (unlimited) Deposit()       {}
func (unlimited) Withdraw() bool { return true }
func (unlimited) Return()        {}

// codeSet is a set of codes.
type codeSet map[codes.Code]bool

// The JSON of a service config, as far as it is about attempts.
type (
	serviceConfigJSON struct {
		MethodConfig    []methodConfigJSON   `json:"methodConfig"`
		RetryThrottling *retryThrottlingJSON `json:"retryThrottling"`
	}
	methodConfigJSON struct {
		Name          []nameJSON         `json:"name"`
		Timeout       durationJSON       `json:"timeout"`
		RetryPolicy   *retryPolicyJSON   `json:"retryPolicy"`
		HedgingPolicy *hedgingPolicyJSON `json:"hedgingPolicy"`
	}
	nameJSON struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryPolicyJSON struct {
		MaxAttempts          float64      `json:"maxAttempts"`
		InitialBackoff       durationJSON `json:"initialBackoff"`
		MaxBackoff           durationJSON `json:"maxBackoff"`
		BackoffMultiplier    float64      `json:"backoffMultiplier"`
		RetryableStatusCodes codesJSON    `json:"retryableStatusCodes"`
	}
	hedgingPolicyJSON struct {
		MaxAttempts         float64      `json:"maxAttempts"`
		HedgingDelay        durationJSON `json:"hedgingDelay"`
		NonFatalStatusCodes codesJSON    `json:"nonFatalStatusCodes"`
	}
	retryThrottlingJSON struct {
		MaxTokens  float64 `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	}
)

func (t *retryThrottlingJSON) budget(problems *policy.ConfigError) *retry.TokenBudget {
	if t == nil {
		return nil
	}
	if t.MaxTokens != math.Trunc(t.MaxTokens) || math.Abs(t.MaxTokens) > 1e6 {
		problems.Add("retryThrottling.maxTokens %v: must be a whole number from 1 to 1000", t.MaxTokens)
		return nil
	}
	if err := retry.ValidateTokenBudget(int(t.MaxTokens), t.TokenRatio); err != nil {
		problems.Add("retryThrottling: %v", err)
		return nil
	}
	return retry.NewTokenBudget(int(t.MaxTokens), t.TokenRatio)
}

// attemptsOf returns how many attempts a policy allows.
func attemptsOf(problems *policy.ConfigError, where string, attempts float64) int {
	if !(attempts >= 2) || attempts != math.Trunc(attempts) {
		problems.Add("%s.maxAttempts %v: must be a whole number of at least 2", where, attempts)
		return 2
	}
	return int(min(attempts, maxAttempts))
}

// durationJSON is a duration as protocol buffers write it in JSON, such as "0.1s".
type durationJSON struct {
	duration time.Duration
	given    bool
	problem  string
}

func (d *durationJSON) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as if it were not there, as in all JSON of protocol buffers
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	d.given = true
	number, ok := strings.CutSuffix(text, "s")
	whole, fraction, dotted := strings.Cut(number, ".")
	if whole == "" && dotted {
		whole = "0" // as gRPC, which writes ".01s" in its own examples
	}
	seconds, err := strconv.ParseUint(whole, 10, 63)
	nanos, err2 := strconv.ParseUint((fraction + "000000000")[:9], 10, 63)
	if !ok || err != nil || err2 != nil || dotted && fraction == "" || len(fraction) > 9 {
		d.problem = fmt.Sprintf("%.40q: must be a duration that is not negative, such as \"0.1s\"", text)
		return nil
	}
	const most = math.MaxInt64 / uint64(time.Second)
	if seconds >= most {
		d.duration = math.MaxInt64
		return nil
	}
	d.duration = time.Duration(seconds)*time.Second + time.Duration(nanos)
	return nil
}

// positive returns the duration, which must be there.
func (d *durationJSON) positive(problems *policy.ConfigError, where string) time.Duration {
	switch {
	case d.problem != "":
		problems.Add("%s %s", where, d.problem)
	case d.duration <= 0:
		problems.Add("%s: must be positive", where)
	}
	return d.duration
}

// codesJSON is a list of codes, by number or by name, in whatever case.
type codesJSON []json.RawMessage

func (c codesJSON) set(problems *policy.ConfigError, where string) codeSet {
	set := make(codeSet, len(c))
	for _, text := range c {
		var code codes.Code
		if err := code.UnmarshalJSON(bytes.ToUpper(text)); err != nil {
			problems.Add("%s: %.40q is not a code", where, text)
		}
		set[code] = true
	}
	return set
}
