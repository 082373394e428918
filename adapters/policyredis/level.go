package policyredis

import (
	"context"
	"fmt"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Level is what is in a shared bucket at one moment.
type Level struct {
	Tokens int           // how many are in the bucket
	Burst  int           // how many a full bucket holds
	Wait   time.Duration // until an attempt of the cost asked about would be admitted; 0: now
	Full   time.Duration // until the bucket is full, if no more is taken
}

// peek asks what an attempt that costs 1 would get now, and writes nothing.
func (c *core) peek(ctx context.Context, cfg *config, t target) (Level, error) {
	if err := policy.ContextError(ctx); err != nil {
		return Level{}, err
	}
	level := Level{Burst: cfg.burst}
	a, err := c.ask(ctx, cfg, t, cfg.quota.peekQuestion(cfg.quota.token))
	if err != nil {
		if err := policy.ContextError(ctx); err != nil {
			return level, err
		}
		return level, fmt.Errorf("policyredis: %w: %w", ErrStore, err)
	}
	level.Tokens, level.Wait, level.Full = cfg.quota.tokens(a.debt), time.Duration(a.wait), time.Duration(a.debt)
	return level, nil
}
