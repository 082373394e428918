package policyhttp_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp"
)

// backend is a service of workers that take an exponential time for each request, first come, first served.
type backend struct {
	workers chan struct{}
	mean    time.Duration

	mu     sync.Mutex
	random *rand.Rand
}

func (b *backend) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	took := time.Duration(b.random.ExpFloat64() * float64(b.mean))
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

// load sends perSecond requests a second to h, for lasts, at random times, and counts those of the time after warmUp.
func load(h http.Handler, seed uint64, perSecond float64, warmUp, lasts time.Duration) (m measured) {
	random := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	var took []time.Duration
	var group sync.WaitGroup
	begin := time.Now()
	for time.Since(begin) < warmUp+lasts {
		time.Sleep(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
		counts := time.Since(begin) >= warmUp
		group.Go(func() {
			start, w := time.Now(), &nullWriter{header: http.Header{}}
			h.ServeHTTP(w, get())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !counts:
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
// service does nearly all it can, and what it admits is nearly as quick as without load.
//
// The bounds are those of the requirement. The service time is exponential, so its 99th percentile without load is
// ln(100) times the mean.
func TestHS4_TwofoldOverloadInVirtualTime(t *testing.T) {
	const workers, mean = 16, 10 * time.Millisecond
	const capacity = workers * float64(time.Second) / float64(mean)
	unloaded := time.Duration(math.Log(100) * float64(mean))
	lasts, seeds := 2*time.Second, uint64(1)
	if os.Getenv("RESILIENCE_LONG") != "" {
		lasts, seeds = 60*time.Second, 5
	}
	overload := func(t *testing.T, seed uint64, layers ...policy.Layer) measured {
		next := &backend{workers: make(chan struct{}, workers), mean: mean, random: rand.New(rand.NewPCG(seed, 2))}
		m := load(policyhttp.Handler(next, resilience.Compose(layers...)), seed, 2*capacity, time.Second, lasts)
		t.Logf("seed %d, %v: goodput %.3f of capacity, p99 %.2f times unloaded, %d refused",
			seed, layers, float64(m.good)/(capacity*lasts.Seconds()), float64(m.p99)/float64(unloaded), m.refused)
		return m
	}
	for _, algorithm := range []bulkhead.Algorithm{
		bulkhead.AIMD(5 * mean), bulkhead.Gradient2(), bulkhead.Vegas(),
	} {
		for seed := range seeds {
			synctest.Test(t, func(t *testing.T) {
				m := overload(t, seed, policy.At(policy.StageShed, bulkhead.Adaptive(algorithm, 4, 200)))
				require.GreaterOrEqual(t, float64(m.good), 0.9*capacity*lasts.Seconds(), "goodput")
				require.LessOrEqual(t, m.p99, 3*unloaded, "99th percentile")
				require.NotZero(t, m.refused)
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		m := overload(t, 0)
		require.Greater(t, m.p99, 10*unloaded, "without a door the queue grows")
	})
}
