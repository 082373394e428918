package policyslog_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyslog"
)

func TestABadOptionIsRefusedByName(t *testing.T) {
	for problem, opt := range map[string]policyslog.Option{
		"Level: there is no event 0":                            policyslog.Level(0, slog.LevelInfo),
		"Level: there is no event 99":                           policyslog.Level(99, slog.LevelInfo),
		"Off: there is no event 8":                              policyslog.Off(policy.EventSettled + 1),
		"ChangeLevel: there is no state 9":                      policyslog.ChangeLevel(9, slog.LevelInfo),
		"RefusalsEvery(0s): must be between 1ms and 1h":         policyslog.RefusalsEvery(0),
		"RefusalsEvery(-1s): must be between 1ms and 1h":        policyslog.RefusalsEvery(-time.Second),
		"RefusalsEvery(1h0m0.000000001s): must be between 1ms ": policyslog.RefusalsEvery(time.Hour + 1),
		"option 1 is nil":                                       nil,
	} {
		err := policyslog.Validate(opt)
		require.ErrorContains(t, err, problem)
		require.PanicsWithError(t, err.Error(), func() { policyslog.New(nil, opt) })
	}
	require.ErrorContains(t, policyslog.Validate(policyslog.RefusalsEvery(0), policyslog.Level(0, 0)), "; ", "all at once")
	require.NoError(t, policyslog.Validate())
	require.NoError(t, policyslog.Validate(policyslog.Level(policy.EventSettled, 0), policyslog.RefusalsEvery(time.Hour),
		policyslog.ChangeLevel(breaker.ForcedClosed, 0), policyslog.Group("")))
}

func TestObservedKindsAreTheCallersToChange(t *testing.T) {
	log := policyslog.New(slog.New(slog.DiscardHandler))
	log.ObservedKinds()[0] = 99
	require.Equal(t, []policy.EventKind{policy.EventRejected, policy.EventRetry, policy.EventWait, policy.EventStopped, policy.EventSettled},
		log.ObservedKinds())
}
