package play_test

import (
	"testing"

	"github.com/go-resilience/resilience/lab/internal/play"
)

func BenchmarkRun(b *testing.B) {
	for name, address := range map[string]string{
		"nothing": "", "retry+breaker": "t=20a20m&a.retry=1&a.breaker=1&rate=100&a.attempt=1",
	} {
		b.Run(name, func(b *testing.B) {
			s := play.Decode(address)
			for range b.N {
				r := s.Run(0, play.Watcher{})
				b.ReportMetric(float64(r.Events), "events")
				b.ReportMetric(float64(r.Calls), "calls")
			}
		})
	}
}
