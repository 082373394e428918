package policyredis_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// leastAttempts is how many attempts each goroutine of a worker makes, so that they take the burst however slow the machine is.
const leastAttempts = 20

// job is what a worker does, and worked how that went.
type job struct {
	Addr      string
	PerSecond float64
	Burst     int
	Lot       int
	Window    time.Duration
}

type worked struct {
	Admitted, FellBack uint64
	Calls, Attempts    uint64
}

// work is one process. It says that it is ready, waits for a line, attempts for a while, and waits after each refusal for as
// long as it is told to.
func work(spec string) {
	var j job
	if err := json.Unmarshal([]byte(spec), &j); err != nil {
		panic(err)
	}
	client := redis.NewClient(&redis.Options{Addr: j.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	options := []policyredis.Option{policyredis.FailClosed(), patient()}
	if j.Lot > 0 {
		options = append(options, policyredis.Lots(j.Lot, 100*time.Millisecond))
	}
	l := policyredis.New(client, "shared", j.PerSecond, j.Burst, options...)
	if _, err := l.Peek(context.Background()); err != nil { // it is connected
		panic(err)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	end := time.Now().Add(j.Window)
	var w worked
	var attempts atomic.Uint64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := 0; n < leastAttempts || time.Now().Before(end); n++ {
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
	for _, lot := range []int{0, 10} {
		t.Run(fmt.Sprintf("lots of %d", lot), func(t *testing.T) {
			if testsize.Whole() {
				t.Parallel() // with the others that wait most of the time
			}
			tenProcesses(t, lot)
		})
	}
}

func tenProcesses(t *testing.T, lot int) {
	processes, burst := testsize.Pick(3, 10), testsize.Pick(100, 200)
	perSecond := testsize.Pick(4.0, 200.0) // in a short run what comes in is within the tolerance
	window := testsize.Pick(400*time.Millisecond, 10*time.Second)
	spec, err := json.Marshal(job{Addr: startServer(t).addr(), PerSecond: perSecond, Burst: burst, Lot: lot, Window: window})
	require.NoError(t, err)
	binary, err := os.Executable()
	require.NoError(t, err)
	commands, in, out := make([]*exec.Cmd, processes), make([]io.Writer, processes), make([]*bufio.Reader, processes)
	for i := range commands {
		command := exec.CommandContext(t.Context(), binary)
		command.Env = append(os.Environ(), workerVariable+"="+string(spec))
		command.Stderr = os.Stderr
		stdin, err := command.StdinPipe()
		require.NoError(t, err)
		stdout, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		commands[i], in[i], out[i] = command, stdin, bufio.NewReader(stdout)
	}
	for i := range commands {
		line, err := out[i].ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
	}
	began := time.Now()
	for i := range commands {
		_, err := io.WriteString(in[i], "\n")
		require.NoError(t, err)
	}
	var sum worked
	for i, command := range commands {
		var w worked
		require.NoError(t, json.NewDecoder(out[i]).Decode(&w))
		require.NoError(t, command.Wait())
		sum.Admitted += w.Admitted
		sum.FellBack += w.FellBack
		sum.Calls += w.Calls
		sum.Attempts += w.Attempts
	}
	took := time.Since(began) // all were over by then
	require.Zero(t, sum.FellBack)
	most, fair := float64(burst)+perSecond*took.Seconds(), float64(burst)+perSecond*window.Seconds()
	require.LessOrEqual(t, float64(sum.Admitted), most+float64(lot*processes))
	// What a process still holds as it ends is lost to the others.
	require.GreaterOrEqual(t, float64(sum.Admitted), 0.98*fair-float64(lot*processes))
	t.Logf("%d processes, %v: admitted %d of %.0f (%.1f %%), %d attempts, %d calls", processes, window, sum.Admitted, fair,
		100*float64(sum.Admitted)/fair, sum.Attempts, sum.Calls)
}
