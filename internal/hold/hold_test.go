package hold_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/go-resilience/resilience/internal/hold"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func derive(ctx context.Context) *hold.Context {
	ctx, cancel := context.WithCancel(ctx)
	return hold.New(ctx, cancel)
}

func TestWhenTheContextEnds(t *testing.T) {
	for name, test := range map[string]struct {
		holds, releasesBefore, succeeds, releasesAfter int
		ended                                          bool
	}{
		"nobody holds it":         {succeeds: 1, ended: true},
		"held":                    {holds: 1, succeeds: 1, ended: false},
		"held, but failed":        {holds: 1, ended: true},
		"released before the end": {holds: 1, releasesBefore: 1, succeeds: 1, ended: true},
		"released after the end":  {holds: 1, succeeds: 1, releasesAfter: 1, ended: true},
		"one of two released":     {holds: 2, succeeds: 1, releasesAfter: 1, ended: false},
		"both released":           {holds: 2, releasesBefore: 1, succeeds: 1, releasesAfter: 1, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := derive(t.Context())
			var releases []func()
			for range test.holds {
				releases = append(releases, hold.Take(c))
			}
			release := func(times int) {
				for range times {
					releases[0]()
					releases[0]() // once more does nothing
					releases = releases[1:]
				}
			}
			release(test.releasesBefore)
			require.NoError(t, c.Err())
			c.Settle(test.succeeds > 0)
			release(test.releasesAfter)
			require.Equal(t, test.ended, c.Err() != nil)
			c.Settle(false)
			require.Error(t, c.Err())
		})
	}
}

type testKey struct{}

func TestAllLevelsAreHeld(t *testing.T) {
	outer := derive(t.Context())
	between, cancel := context.WithTimeout(context.WithValue(outer, testKey{}, "value"), time.Hour)
	defer cancel()
	inner := derive(between)
	require.Equal(t, "value", inner.Value(testKey{}))
	release := hold.Take(inner)
	require.True(t, outer.Held())
	require.True(t, inner.Held())
	inner.Settle(true)
	outer.Settle(true)
	require.NoError(t, inner.Err())
	release()
	require.Error(t, outer.Err())
	require.Error(t, inner.Err())
}

func TestAContextThatNobodyDerived(t *testing.T) {
	hold.Take(t.Context())()
	require.NoError(t, t.Context().Err())
}
