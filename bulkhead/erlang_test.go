package bulkhead_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

// The real bulkhead in virtual time against queueing theory: with an endless queue it is M/M/c, without one M/G/c/c.

// erlangB returns the share of arrivals that find all c servers taken, at an offered load of a.
func erlangB(c int, a float64) float64 {
	b := 1.0
	for i := 1; i <= c; i++ {
		b = a * b / (float64(i) + a*b)
	}
	return b
}

// erlangC returns the share of arrivals that wait, with an endless queue.
func erlangC(c int, a float64) float64 {
	b, load := erlangB(c, a), a/float64(c)
	return b / (1 - load*(1-b))
}

// arrivals is how many arrivals a simulation has, and the factor by which its tolerance is wider than that for two
// million of them: RESILIENCE_ARRIVALS sets the number.
func arrivals(t *testing.T) (n int, tolerance float64) {
	if raced {
		t.Skip("a simulation")
	}
	n = 100_000
	if text := os.Getenv("RESILIENCE_ARRIVALS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	return n, max(1, math.Sqrt(2e6/float64(n)))
}

// seconds is a service time or a gap between arrivals, in units of the mean service time.
type seconds func(*rand.Rand) float64

func exponential(r *rand.Rand) float64 { return r.ExpFloat64() }
func fixed(*rand.Rand) float64         { return 1 }
func lognormal(r *rand.Rand) float64   { return math.Exp(r.NormFloat64() - 0.5) } // mean 1, σ 1

// observed is what a simulation has seen, without its first twentieth.
type observed struct {
	waited, wait, refused float64 // shares of arrivals, and the mean wait of all
	inSystem, timeInside  float64 // mean of samples; mean time that an arrival spent waiting or served
	rate                  float64 // arrivals per second that were not refused
}

func simulate(b *bulkhead.Bulkhead, load float64, service seconds, n int) (o observed) {
	const unit = time.Second
	random := rand.New(rand.NewPCG(7, uint64(n)))
	var mu sync.Mutex
	var count, samples float64
	var all sync.WaitGroup
	begin := time.Now()
	for i := range n {
		gap := time.Duration(random.ExpFloat64() / load * float64(unit))
		work := time.Duration(service(random) * float64(unit))
		time.Sleep(gap)
		if i == n/20 {
			begin = time.Now()
		}
		if s := b.Snapshot(); i >= n/20 { // arrivals see time averages
			o.inSystem += float64(s.InFlight + s.Waiting)
			samples++
		}
		all.Go(func() {
			start := time.Now()
			permit, err := policy.Acquire(context.Background(), b)
			wait := time.Since(start)
			if err == nil {
				time.Sleep(work)
				permit.Done(nil)
			}
			if i < n/20 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			count++
			if err != nil {
				o.refused++
				return
			}
			o.wait += wait.Seconds()
			o.timeInside += time.Since(start).Seconds()
			if wait > 0 {
				o.waited++
			}
		})
	}
	elapsed := time.Since(begin).Seconds()
	all.Wait()
	served := count - o.refused
	o.rate = served / elapsed
	o.timeInside /= served
	o.wait /= count
	o.waited /= count
	o.refused /= count
	o.inSystem /= samples
	return o
}

func TestErlangC(t *testing.T) {
	n, wider := arrivals(t)
	tests := []struct {
		c           int
		load        float64
		waits, wait float64 // the figures of the literature, to check the formula
	}{{10, 8, .4092, .2046}, {2, 1.6, .7111, 1.778}, {1, .8, .8000, 4.000}}
	for _, test := range tests[:testsize.Pick(1, len(tests))] {
		t.Run(fmt.Sprintf("%d servers, load %v", test.c, test.load), func(t *testing.T) {
			waits := erlangC(test.c, test.load)
			wait := waits / (float64(test.c) - test.load)
			require.InDelta(t, test.waits, waits, 1e-4)
			require.InDelta(t, test.wait, wait, 1e-3)
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(test.c, bulkhead.Queue(bulkhead.MaxLimit, math.MaxInt64))
				o := simulate(b, test.load, exponential, n)
				t.Logf("%d arrivals: waits %.4f (%.4f), mean wait %.4f (%.4f); in system %.4f, rate × time %.4f", n, o.waited, waits, o.wait, wait, o.inSystem, o.rate*o.timeInside)
				require.InEpsilon(t, waits, o.waited, 0.01*wider)
				require.InEpsilon(t, wait, o.wait, 0.03*wider)
				require.InEpsilon(t, o.rate*o.timeInside, o.inSystem, 0.01*wider, "Little's law")
				require.Zero(t, o.refused)
			})
		})
	}
}

func TestErlangB(t *testing.T) {
	n, wider := arrivals(t)
	tests := []struct {
		c       int
		load    float64
		refused float64
	}{{10, 8, .1217}, {20, 16, .0644}, {100, 95, .0488}}
	for _, test := range tests[:testsize.Pick(1, len(tests))] {
		refused := erlangB(test.c, test.load)
		require.InDelta(t, test.refused, refused, 1e-4)
		for name, service := range map[string]seconds{"exponential": exponential, "fixed": fixed, "lognormal": lognormal} {
			t.Run(fmt.Sprintf("%d servers, load %v, %s", test.c, test.load, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := bulkhead.New(test.c)
					o := simulate(b, test.load, service, n)
					t.Logf("%s, %d arrivals: refused %.4f (%.4f)", name, n, o.refused, refused)
					require.InEpsilon(t, refused, o.refused, 0.02*wider)
					require.Equal(t, test.c, b.Snapshot().PeakInFlight)
				})
			})
		}
	}
}
