package deafsleep

import (
	"context"
	clock "time"
)

func renamed(ctx context.Context, time int) error {
	for range time {
		if _, err := fetch(ctx); err == nil {
			return nil
		}
		clock.Sleep(clock.Second) // want "RL1: this retry loop sleeps"
	}
	return nil
}
