package main

import (
	"context"
	"time"
)

// loop is what people write when a call fails now and then: a few tries, a doubling delay, and a client with a
// timeout. Every line of it is reasonable.
type loop struct{ client *client }

// get is what the pipeline is compared with.
//
//resilint:ignore RL1,RL2,RL4 what the example replaces
func (l *loop) get(ctx context.Context, path string) (*reply, error) {
	var err error
	delay := firstDelay
	for try := 1; try <= attempts; try++ {
		var r *reply
		r, err = l.client.get(ctx, path)
		if err == nil {
			return r, nil
		}
		if try < attempts {
			time.Sleep(delay)
			delay *= 2
		}
	}
	return nil, err
}
