package play_test

import (
	"testing"

	"github.com/go-resilience/resilience/lab/internal/play"
)

// BenchmarkRun is a minute of the playground, as it is in Go: what the page takes more is the price of WebAssembly.
func BenchmarkRun(b *testing.B) {
	for name, address := range map[string]string{
		"calm":  "",
		"storm": "rate=75&slots=5&queue=500&t=20a5u&a.retry=1&a.budget=0&a.attempt=1",
	} {
		b.Run(name, func(b *testing.B) {
			s := play.Decode(address)
			events := int64(0)
			for b.Loop() {
				events += s.Run(0, play.Watcher{}).Events
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}
