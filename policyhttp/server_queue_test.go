package policyhttp_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policyhttp"
)

// The bubble of synctest fails when a goroutine is left.
func TestHS2_AClientThatLeavesTheQueueTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1, bulkhead.Queue(10, time.Minute))
		pipeline := resilience.Compose(resilience.Name("front"), slots)
		release := make(chan struct{})
		entered := 0
		b := serveBubble(t, policyhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			entered++
			<-release
		}), pipeline))

		first := make(chan error, 1)
		go func() {
			response, err := b.client.Get("http://front/")
			if err == nil {
				err = response.Body.Close()
			}
			first <- err
		}()
		synctest.Wait()
		require.Equal(t, 1, slots.Snapshot().InFlight)

		ctx, leave := context.WithCancel(t.Context())
		second := make(chan error, 1)
		go func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://front/", nil)
			if err == nil {
				_, err = b.client.Do(request)
			}
			second <- err
		}()
		synctest.Wait()
		require.Equal(t, 1, slots.Snapshot().Waiting)
		leave()
		require.ErrorIs(t, <-second, context.Canceled)
		synctest.Wait()
		require.Zero(t, slots.Snapshot().Waiting, "the place in the queue is free at once")

		close(release)
		require.NoError(t, <-first)
		synctest.Wait()
		require.Equal(t, 1, entered, "the slot was never taken")
		require.Zero(t, slots.Snapshot().InFlight)
		require.Equal(t, uint64(1), pipeline.Report().Calls.Canceled)
		require.Equal(t, uint64(1), pipeline.Report().Calls.Succeeded)
	})
}

// A stream keeps its slot until it ends, and what it flushes arrives meanwhile.
func TestHS3_AStreamKeepsItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := bulkhead.New(1)
		b := serveBubble(t, front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, "data: x\n\n")
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}), slots))
		response, err := b.client.Get("http://front/")
		require.NoError(t, err)
		begin := time.Now()
		event := make([]byte, len("data: x\n\n"))
		for i := range 3 {
			_, err := io.ReadFull(response.Body, event)
			require.NoError(t, err)
			require.Equal(t, time.Duration(i)*time.Second, time.Since(begin))
			require.Equal(t, 1, slots.Snapshot().InFlight)
		}
		_, err = io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		synctest.Wait()
		require.Zero(t, slots.Snapshot().InFlight)
	})
}

func TestHS3_SetWriteDeadlineWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		b := serveBubble(t, front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			controller := http.NewResponseController(w)
			err := controller.SetWriteDeadline(time.Now().Add(time.Second))
			for err == nil { // the client does not read
				if _, err = w.Write(make([]byte, 1<<16)); err == nil {
					err = controller.Flush()
				}
			}
			failed <- err
		}), bulkhead.New(1)))
		conn, err := b.listener.dial(t.Context())
		require.NoError(t, err)
		begin := time.Now()
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		require.ErrorContains(t, <-failed, "timeout")
		require.Equal(t, time.Second, time.Since(begin))
		require.NoError(t, conn.Close())
	})
}
