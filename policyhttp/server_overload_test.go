package policyhttp_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// backend is a service of workers that take a random time for each request, first come, first served.
type backend struct {
	workers chan struct{}
	took    func(*rand.Rand) time.Duration

	mu     sync.Mutex
	random *rand.Rand
}

func (b *backend) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	took := b.took(b.random)
	b.mu.Unlock()
	b.workers <- struct{}{}
	time.Sleep(took)
	<-b.workers
	w.WriteHeader(http.StatusNoContent)
}

// measured is what the clients of an experiment saw.
type measured struct {
	good, refused int
	p99           time.Duration // of what was admitted
}

// load sends perSecond requests a second to h, at random times, and counts the answers of the time lasts after warmUp.
func load(h http.Handler, seed uint64, perSecond float64, warmUp, lasts time.Duration) (m measured) {
	random := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	var took []time.Duration
	var group sync.WaitGroup
	begin := time.Now()
	for time.Since(begin) < warmUp+lasts {
		time.Sleep(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
		group.Go(func() {
			start, w := time.Now(), &nullWriter{header: http.Header{}}
			h.ServeHTTP(w, get())
			mu.Lock()
			defer mu.Unlock()
			now := time.Since(begin)
			switch {
			case now < warmUp || now >= warmUp+lasts:
			case w.status == http.StatusNoContent:
				m.good++
				took = append(took, time.Since(start))
			default:
				m.refused++
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	m.p99 = took[len(took)*99/100]
	return m
}

type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(status int)      { w.status = status }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }

// Twice the load that the service can take. Without a door the queue grows for as long as that lasts; with one, the
// service does nearly all it can, and what it admits is nearly as quick as without load. The bounds are those of the
// requirement: 90 % of the capacity, and three times the 99th percentile without load.
//
// AIMD, which is told what latency is wanted, keeps them whatever the service times are like. The other two learn what
// latency is normal, and each misses one bound where its premise does not hold, as their authors describe them:
//
//   - Gradient2 takes a latency that stays for the new normal. As long as the overload lasts, the limit creeps up, and what
//     bounds the latency is the ceiling.
//   - Vegas takes the least latency that it has seen for that without a queue. With service times that vary as much as
//     exponential ones do, the least mean of many windows is below the mean, and the difference is taken for a queue. The
//     latency is as low as can be, and what bounds the loss is the floor.
func TestHS4_TwofoldOverloadInVirtualTime(t *testing.T) {
	const workers, mean = 16, 10 * time.Millisecond
	const capacity = workers * float64(time.Second) / float64(mean)
	exponential := func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
	uniform := func(r *rand.Rand) time.Duration { return mean/2 + time.Duration(r.Int64N(int64(mean))) }
	lasts, seeds := 2*time.Second, uint64(1)
	if testsize.Whole() {
		lasts, seeds = 20*time.Second, 3
	}
	for i, c := range []struct {
		name     string
		took     func(*rand.Rand) time.Duration
		unloaded time.Duration // the 99th percentile
		door     func() []policy.Layer
		expect   expectation
	}{
		{"exponential, AIMD", exponential, unloadedExponential(mean), adaptive(bulkhead.AIMD(5 * mean)), bounds},
		{"exponential, Gradient2", exponential, unloadedExponential(mean), adaptive(bulkhead.Gradient2()), bounds},
		{"exponential, Vegas", exponential, unloadedExponential(mean), adaptive(bulkhead.Vegas()), starved},
		{"uniform, AIMD", uniform, unloadedUniform(mean), adaptive(bulkhead.AIMD(2 * mean)), bounds},
		{"uniform, Gradient2", uniform, unloadedUniform(mean), adaptive(bulkhead.Gradient2()), creeping},
		{"uniform, Vegas", uniform, unloadedUniform(mean), adaptive(bulkhead.Vegas()), bounds},
		{"exponential, no door", exponential, unloadedExponential(mean), func() []policy.Layer { return nil }, growth},
	} {
		if handlerRaced && i > 0 { // the race detector finds no more in the others
			continue
		}
		for seed := range seeds {
			synctest.Test(t, func(t *testing.T) {
				next := &backend{workers: make(chan struct{}, workers), took: c.took, random: rand.New(rand.NewPCG(seed, 2))}
				m := load(policyhttp.Handler(next, resilience.Compose(c.door()...)), seed, 2*capacity, time.Second, lasts)
				t.Logf("%s, seed %d: goodput %.3f of capacity, 99th percentile %.2f times unloaded, %d refused",
					c.name, seed, float64(m.good)/(capacity*lasts.Seconds()), float64(m.p99)/float64(c.unloaded), m.refused)
				if c.expect == growth {
					require.Greater(t, m.p99, 10*c.unloaded, "without a door the queue grows")
					return
				}
				least, most := 0.9, 3*c.unloaded
				switch c.expect {
				case creeping:
					most = c.unloaded + mean*ceiling/workers
				case starved:
					least = 0.9 * floor / workers
				}
				require.GreaterOrEqual(t, float64(m.good), least*capacity*lasts.Seconds(), "goodput")
				require.LessOrEqual(t, m.p99, most, "99th percentile")
				require.NotZero(t, m.refused)
			})
		}
	}
}

// expectation is what must come out of a run.
type expectation int

const (
	bounds   expectation = iota // those of the requirement
	creeping                    // of the latency, the one that the ceiling gives
	starved                     // of the goodput, the one that the floor gives
	growth                      // none
)

// What an adaptive door keeps to.
const floor, ceiling = 4, 200

// adaptive makes a new door for each run.
func adaptive(algorithm bulkhead.Algorithm) func() []policy.Layer {
	return func() []policy.Layer {
		return []policy.Layer{policy.At(policy.StageShed, bulkhead.Adaptive(algorithm, floor, ceiling))}
	}
}

// The 99th percentiles of the service times.
func unloadedExponential(mean time.Duration) time.Duration {
	return time.Duration(math.Log(100) * float64(mean))
}
func unloadedUniform(mean time.Duration) time.Duration { return mean/2 + mean*99/100 }
