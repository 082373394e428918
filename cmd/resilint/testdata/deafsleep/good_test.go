package deafsleep

import (
	"context"
	"testing"
	"time"
)

// tests may wait
func TestThatWaits(t *testing.T) {
	for range 3 {
		if _, err := fetch(t.Context()); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
	_ = context.Background
}
