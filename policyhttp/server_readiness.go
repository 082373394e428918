package policyhttp

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/internal/sources"
	"github.com/go-resilience/resilience/policy"
)

// Ready is the handler of a readiness probe, made by [Readiness]. It is safe for concurrent use.
type Ready struct {
	needs    []Need
	draining atomic.Bool
}

// Need is what a process cannot be ready without; it is made by [Needs].
type Need struct {
	source resilience.Source
	names  []string
}

// Readiness returns a handler that answers a readiness probe: 200 until [Ready.Drain] was called.
//
//	ready := policyhttp.Readiness()
//	mux.Handle("/readyz", ready)
//
// An open breaker does not make a process unready: the dependency is down for its siblings too, and with all of them out
// of the balancer there is no answer at all, not even the one that needs no dependency. Where that is wanted, because a
// process can do nothing without the dependency and its siblings can reach another one, name it with [Needs].
//
// The probe must not stand behind a [Handler], which could refuse it. It answers GET and HEAD. Readiness panics with a
// [*policy.ConfigError] when a need is nil or names something that is not there.
func Readiness(needs ...Need) *Ready {
	problems := policy.ConfigError{Policy: "policyhttp.Readiness"}
	for _, need := range needs {
		need.check(&problems)
	}
	if err := problems.Err(); err != nil {
		panic(err)
	}
	return &Ready{needs: needs}
}

// Needs makes a process unready while one of the named layers of source's pipeline, such as breaker.Name("users-db"),
// would refuse an attempt: while a breaker is open, or forced open. A half-open breaker with a free probe does not: traffic
// must come back for it to close.
//
// Each name must belong to a [policy.Gate] of the pipeline that is not per key. If source later comes to a pipeline
// without that gate, it is no longer needed.
func Needs(source resilience.Source, names ...string) Need { return Need{source, names} }

// check notes what is wrong with a need.
func (n Need) check(problems *policy.ConfigError) {
	if sources.IsNil(n.source) {
		problems.Add("Needs: the pipeline is nil")
		return
	}
	if !sources.Check(n.source, n.source.Current(), problems) {
		return
	}
	if len(n.names) == 0 {
		problems.Add("Needs: no name is given")
	}
	for _, name := range n.names {
		if name == "" || len(Need{n.source, []string{name}}.gates()) == 0 {
			problems.Add("Needs: the pipeline has no breaker, and no other gate, with the name %.80q", name)
		}
	}
}

// gates returns the gates with the names in the pipeline in force.
func (n Need) gates() (gates []policy.Gate) {
	pipeline := n.source.Current()
	if pipeline == nil {
		return nil
	}
	for _, layer := range sources.Bare(pipeline.Layers()) {
		gate, ok := layer.(policy.Gate)
		if !ok {
			continue
		}
		if reporter, ok := layer.(policy.Reporter); ok {
			if report := reporter.Report(); report.Kind != kindKeyed && slices.Contains(n.names, report.Name) {
				gates = append(gates, gate)
			}
		}
	}
	return gates
}

// Drain makes the process unready, for good. Call it at the beginning of a shutdown, some seconds before
// [http.Server.Shutdown], so that the balancer stops sending requests first.
func (h *Ready) Drain() { h.draining.Store(true) }

// ServeHTTP answers 200 when the process is ready and 503 when it is not. The body says no more than that.
func (h *Ready) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !h.isReady(r) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "not ready\n")
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func (h *Ready) isReady(r *http.Request) bool {
	if h.draining.Load() {
		return false
	}
	for _, need := range h.needs {
		for _, gate := range need.gates() {
			if gate.Ready(r.Context()) != nil {
				return false
			}
		}
	}
	return true
}
