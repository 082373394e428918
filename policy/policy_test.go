package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errSentinel = errors.New("open")
	errBackend  = errors.New("backend failed")
)

func TestAtTakesTheFirstStage(t *testing.T) {
	require.Equal(t, policy.Stage(1), policy.At(1, layer{}).Stage())
}

func TestAtRefusesNonsense(t *testing.T) {
	for _, c := range []struct {
		stage policy.Stage
		layer policy.Layer
		want  string
	}{
		{10, nil, "policy.At: the layer is nil"},
		{0, layer{}, "policy.At: stage 0: must be positive"},
		{-1, nil, "policy.At: the layer is nil; stage -1: must be positive"},
	} {
		require.PanicsWithError(t, c.want, func() { policy.At(c.stage, c.layer) })
	}
}

type layer struct{}

func (layer) Stage() policy.Stage { return policy.StageChaos }

// A problem can come from a layer's Check, which joins several, and from a name with a line break.
func TestConfigErrorIsOneLine(t *testing.T) {
	problems := policy.ConfigError{Policy: "compose"}
	problems.Add("%v", errors.Join(errors.New("one"), errors.New("two")))
	problems.Add("name %s", "a\u0085b\vc")
	require.EqualError(t, problems.Err(), "compose: one; two; name a; b; c")
}

func TestConfigError(t *testing.T) {
	problems := policy.ConfigError{Policy: "breaker"}
	require.NoError(t, problems.Err())
	problems.Add("Probes(%d): must be positive", 0)
	problems.Add("OpenFor(%v): must be positive", -time.Second)
	err := problems.Err()
	require.EqualError(t, err, "breaker: Probes(0): must be positive; OpenFor(-1s): must be positive")
	problems.Add("later")
	require.Len(t, errorAs[*policy.ConfigError](t, err).Problems, 2)
}

func errorAs[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	require.True(t, ok)
	return e
}
