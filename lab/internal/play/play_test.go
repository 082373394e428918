package play_test

import (
	"fmt"
	"testing"

	"github.com/go-resilience/resilience/lab/internal/play"
)

func TestX(t *testing.T) {
	s := play.New()
	r := s.Run(0, play.Watcher{})
	fmt.Println(r.Hash, r.Err, r.Cut, r.Calls, r.Succeeded, r.Attempts, r.P50, r.P99, r.Events)
	fmt.Println(s.Source(0))
}
