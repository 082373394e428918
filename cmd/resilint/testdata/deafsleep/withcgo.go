package deafsleep

// typedef int number;
import "C"

import (
	"context"
	"time"
)

// what cgo makes of this file is no generated file: there is a finding, but no fix
func withCgo(ctx context.Context) error {
	for range C.number(3) {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		time.Sleep(time.Second) // want "RL1: this retry loop sleeps"
	}
	return nil
}
