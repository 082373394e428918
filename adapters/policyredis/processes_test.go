package policyredis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

// workerVariable makes a process of this test binary a worker, and says what it does.
const workerVariable = "POLICYREDIS_TEST_WORKER"

// job is what a worker does, and worked how that went.
type job struct {
	Addr      string
	PerSecond float64
	Burst     int
	Lot       int
	From, To  time.Time
}

type worked struct {
	Admitted, FellBack uint64
	Calls, Attempts    uint64
}

// work is one process. It attempts from one moment to another, and waits after each refusal for as long as it is told to.
func work(spec string) {
	var j job
	if err := json.Unmarshal([]byte(spec), &j); err != nil {
		panic(err)
	}
	client := redis.NewClient(&redis.Options{Addr: j.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	options := []policyredis.Option{policyredis.FailClosed(), policyredis.Deadline(time.Second)}
	if j.Lot > 0 {
		options = append(options, policyredis.Lots(j.Lot, 100*time.Millisecond))
	}
	l := policyredis.New(client, "shared", j.PerSecond, j.Burst, options...)
	time.Sleep(time.Until(j.From))
	var w worked
	var attempts atomic.Uint64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for time.Now().Before(j.To) {
				attempts.Add(1)
				if err := attempt(l); err != nil {
					wait, _ := policy.RetryAfter(err)
					time.Sleep(min(wait, 10*time.Millisecond))
				}
			}
		})
	}
	group.Wait()
	w.Attempts = attempts.Load()
	if err := l.Drain(context.Background()); err != nil {
		panic(err)
	}
	s := l.Snapshot()
	w.Admitted, w.FellBack, w.Calls = s.Admitted, s.FellBack, s.Calls
	_ = json.NewEncoder(os.Stdout).Encode(w)
}

// TestTenProcessesShareOneKey: at most burst + rate·time in all, and at least 98 % of it.
func TestTenProcessesShareOneKey(t *testing.T) {
	const perSecond, burst = 200, 200
	for _, lot := range []int{0, 10} {
		t.Run(fmt.Sprintf("lots of %d", lot), func(t *testing.T) {
			processes := testsize.Pick(3, 10)
			window := testsize.Pick(time.Second, 10*time.Second)
			server := startServer(t)
			j := job{Addr: server.addr(), PerSecond: perSecond, Burst: burst, Lot: lot}
			j.From = time.Now().Add(testsize.Pick(time.Second, 3*time.Second))
			j.To = j.From.Add(window)
			spec, err := json.Marshal(j)
			require.NoError(t, err)
			binary, err := os.Executable()
			require.NoError(t, err)
			commands, out := make([]*exec.Cmd, processes), make([]bytes.Buffer, processes)
			for i := range commands {
				commands[i] = exec.CommandContext(t.Context(), binary)
				commands[i].Env = append(os.Environ(), workerVariable+"="+string(spec))
				commands[i].Stdout, commands[i].Stderr = &out[i], os.Stderr
				require.NoError(t, commands[i].Start())
			}
			var sum worked
			for i, command := range commands {
				require.NoError(t, command.Wait())
				var w worked
				require.NoError(t, json.Unmarshal(out[i].Bytes(), &w))
				sum.Admitted += w.Admitted
				sum.FellBack += w.FellBack
				sum.Calls += w.Calls
				sum.Attempts += w.Attempts
			}
			took := time.Since(j.From) // all were over by then
			require.Zero(t, sum.FellBack)
			require.LessOrEqual(t, float64(sum.Admitted), burst+perSecond*took.Seconds()+float64(lot*processes))
			// The last attempt can begin just before the end, and a process that is late loses what others take.
			fair := burst + perSecond*window.Seconds()
			require.GreaterOrEqual(t, float64(sum.Admitted), 0.98*fair-float64(lot*processes))
			t.Logf("%d processes, %v: admitted %d of %.0f (%.1f %%), %d attempts, %d calls", processes, window, sum.Admitted, fair,
				100*float64(sum.Admitted)/fair, sum.Attempts, sum.Calls)
		})
	}
}
