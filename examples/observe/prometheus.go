package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/adapters/policyprom"
)

// scraped is the second way to look: states, values, limits and counters, which are read when Prometheus scrapes, and
// histograms of durations, which each call fills.
type scraped struct {
	registry  *prometheus.Registry
	durations *policyprom.Durations
}

func newScraped() (*scraped, error) {
	s := &scraped{registry: prometheus.NewRegistry(), durations: policyprom.NewDurations()}
	return s, s.registry.Register(s.durations)
}

// add registers a pipeline.
func (s *scraped) add(pipeline resilience.Source) error {
	return s.registry.Register(policyprom.NewCollector(policyprom.Pipelines(pipeline)))
}

// ServeHTTP serves /metrics.
func (s *scraped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
