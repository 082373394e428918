package policygrpc

import (
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/timeout"
)

// ServiceConfig holds a pipeline for each method, made from the retry, hedging and throttling policies of a gRPC
// service config. Make it with [FromServiceConfig]. It is safe for concurrent use.
type ServiceConfig struct {
	routes map[string]*route // by name
	other  *route            // of the methods that have none
	all    []*route
}

// methodConfig is what a service config says about a method, as far as its pipeline does not do it by itself: the
// throttling needs to know how attempts end, and a hedge does not tell it. A retry does, but of a failure only if it may
// be retried.
type methodConfig struct {
	throttle *retry.TokenBudget // nil if there is none
	hedges   bool               // the policy is a hedging policy
	nonFatal codeSet            // of a hedging policy
}

// succeeded tells the throttling of the success of an attempt, if the pipeline does not.
func (m *methodConfig) succeeded() {
	if m.throttle != nil && m.hedges {
		m.throttle.Succeeded()
	}
}

// failed tells the throttling of the failure of an attempt, if the pipeline does not.
func (m *methodConfig) failed(f *failure) {
	if m.throttle != nil && (f.pushback == pushbackStop || m.nonFatal[f.status.Code()]) {
		m.throttle.Failed()
	}
}

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
	root := section{problems: &problems}
	parsed, ok := parseServiceConfig(root, config)
	if !ok {
		return nil, problems.Err()
	}
	s := &ServiceConfig{routes: map[string]*route{}}
	throttle := parsed.RetryThrottling.budget(root.field("retryThrottling"))
	s.other = s.compose(root, methodConfig{}, layers)
	if s.other != nil && s.other.repeats {
		root.add("the layers hold a retry or a hedge")
	}
	for i, method := range parsed.MethodConfig {
		at := root.field(fmt.Sprintf("methodConfig[%d]", i))
		s.name(at, method.Name, s.makeRoute(at, method, throttle, layers))
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if r, ok := s.routes[""]; ok {
		s.other = r
	}
	return s, nil
}

// makeRoute makes the route of the methods that a methodConfig is about.
func (s *ServiceConfig) makeRoute(
	at section, method methodConfigJSON, throttle *retry.TokenBudget, layers []policy.Layer,
) *route {
	layers = method.bounded(at.field("timeout"), layers)
	switch {
	case method.RetryPolicy != nil && method.HedgingPolicy != nil:
		at.add("has a retryPolicy and a hedgingPolicy")
		return nil
	case method.RetryPolicy != nil:
		at := at.field("retryPolicy")
		retrying := method.RetryPolicy.layers(at, throttle)
		if at.isBad() {
			return nil
		}
		return s.compose(at, methodConfig{throttle: throttle}, layers, retrying...)
	case method.HedgingPolicy != nil:
		at := at.field("hedgingPolicy")
		hedging, nonFatal := method.HedgingPolicy.layers(at, throttle)
		if at.isBad() {
			return nil
		}
		return s.compose(at, methodConfig{throttle: throttle, hedges: true, nonFatal: nonFatal}, layers, hedging...)
	case method.Timeout.duration > 0:
		return s.compose(at.field("timeout"), methodConfig{}, layers)
	}
	return s.other
}

// bounded returns layers with the timeout of the config, as one of the whole call, unless they have one that is not
// longer. gRPC would apply it to each attempt, since it does not know that they are of one call.
func (m *methodConfigJSON) bounded(at section, layers []policy.Layer) []policy.Layer {
	if !m.Timeout.given {
		return layers
	}
	limit := m.Timeout.positive(at)
	if at.isBad() {
		return layers
	}
	for _, layer := range layers {
		around, ok := layer.(policy.TimeLimiter)
		if ok && around.Stage() == policy.StageTotalTimeout && around.TimeLimit() <= limit {
			return layers
		}
	}
	return append(slices.Clip(layers), timeout.Total(limit))
}

// compose makes a route, nil if the layers do not fit together.
func (s *ServiceConfig) compose(at section, config methodConfig, layers []policy.Layer, more ...policy.Layer) *route {
	all := slices.Concat(layers, more)
	if err := resilience.Validate(all...); err != nil {
		at.addError(err)
		return nil
	}
	r := newRoute(resilience.Compose(all...))
	r.serviceConfig = &config
	s.all = append(s.all, r)
	return r
}

// name gives a route to the methods with the names of a methodConfig.
func (s *ServiceConfig) name(at section, names []nameJSON, r *route) {
	if len(names) == 0 {
		at.add("has no name")
	}
	for _, name := range names {
		if name.Service == "" && name.Method != "" {
			at.add("the name has a method %.80q and no service", name.Method)
		}
		key := ""
		if name.Service != "" {
			key = name.Service + "/" + name.Method
		}
		if _, ok := s.routes[key]; ok {
			at.add("the name %q occurs twice", key)
		}
		s.routes[key] = r
	}
}

// Current returns the pipeline of the methods that the config does not name. It implements [resilience.Source].
func (s *ServiceConfig) Current() *resilience.Pipeline { return s.other.pipeline }

// PipelineFor returns the pipeline of a method. It implements [MethodSource].
func (s *ServiceConfig) PipelineFor(method string) *resilience.Pipeline {
	return s.routeOf(method).pipeline
}

// Pipelines returns all pipelines: first the one without a policy, then one for each methodConfig that has a policy
// or a timeout.
func (s *ServiceConfig) Pipelines() []*resilience.Pipeline {
	pipelines := make([]*resilience.Pipeline, len(s.all))
	for i, r := range s.all {
		pipelines[i] = r.pipeline
	}
	return pipelines
}

// routeOf implements router.
func (s *ServiceConfig) routeOf(method string) *route {
	if r := byName(s.routes, method); r != nil {
		return r
	}
	return s.other
}

// codeSet is a set of codes.
type codeSet map[codes.Code]bool
