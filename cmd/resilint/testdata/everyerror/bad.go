package everyerror

import (
	"context"
	"fmt"
	"log"
	"time"
)

func fetch(ctx context.Context) (string, error) { return "", ctx.Err() }

func onlyNil(ctx context.Context) (page string, err error) {
	for range 3 {
		page, err = fetch(ctx) // want "RL4: this loop retries every error: also a cancelled context"
		if err == nil {
			return page, nil
		}
		log.Print(err)
		time.Sleep(time.Second)
	}
	return "", fmt.Errorf("fetch: %w", err)
}
