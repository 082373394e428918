package bubble_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/bubble"
)

func TestTimeIsVirtual(t *testing.T) {
	began := time.Now()
	var slept time.Duration
	require.NoError(t, bubble.Run(func() {
		start := time.Now()
		time.Sleep(1000 * time.Hour)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		<-ctx.Done()
		slept = time.Since(start)
	}))
	require.Equal(t, 1001*time.Hour, slept)
	require.Less(t, time.Since(began), time.Minute)
}

func TestBubblesSideBySide(t *testing.T) {
	var all sync.WaitGroup
	errs := make([]error, 8)
	slept := make([]time.Duration, 8)
	for i := range errs {
		all.Go(func() {
			errs[i] = bubble.Run(func() {
				start := time.Now()
				for range 100 {
					time.Sleep(time.Duration(i+1) * time.Second)
				}
				slept[i] = time.Since(start)
			})
		})
	}
	all.Wait()
	for i := range errs {
		require.NoError(t, errs[i])
		require.Equal(t, time.Duration(100*(i+1))*time.Second, slept[i])
	}
}

func TestFailuresAreErrors(t *testing.T) {
	cases := map[string]struct {
		f    func()
		want string
	}{
		"panic":    {func() { panic("boom") }, "panic: boom"},
		"error":    {func() { panic(errors.New("bang")) }, "panic: bang"},
		"Goexit":   {runtime.Goexit, bubble.ErrExit.Error()},
		"deadlock": {func() { select {} }, "deadlock"},
		"leak": {func() {
			go func() { select {} }()
		}, "blocked goroutines remain"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, bubble.Run(c.f), c.want)
			require.NoError(t, bubble.Run(func() { time.Sleep(time.Second) }), "the next run is not affected")
		})
	}
}
