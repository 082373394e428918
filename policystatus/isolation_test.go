package policystatus_test

import (
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
)

// A page that cannot be made, because a report blocks, holds up those who look and nobody else.
func TestFault231_ABlockedPageChangesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		block := make(chan struct{})
		u.page.AddReporter("stuck", &layer{report: func() policy.Report {
			<-block
			return policy.Report{Kind: "stuck"}
		}})
		var wait sync.WaitGroup
		wait.Go(func() { get(u.page, "/") })
		synctest.Wait()
		start := time.Now()
		u.trip()
		for range 100 {
			require.ErrorIs(t, u.backend.Run(t.Context(), ok), breaker.ErrOpen)
		}
		require.Zero(t, time.Since(start))
		close(block)
		wait.Wait()
		require.Len(t, read(t, u.page).Refusals, 1)
	})
}

// A report that panics while a call is refused changes nothing about the refusal, and the page keeps it.
func TestFault231_AReportThatPanicsChangesNoCall(t *testing.T) {
	u := newUsers()
	refused := &policy.Rejection{Kind: "gate", Reason: policy.NewReason("gate.shut", "shut")}
	backend := resilience.Compose(&layer{err: refused, report: func() policy.Report { panic("report") }}, resilience.Observe(u.page))
	require.Same(t, refused, backend.Run(t.Context(), ok))
	require.Equal(t, "gate.shut", read(t, u.page).Refusals[0].Code)
}

// A viewer whose writer panics or dies takes nothing with it.
func TestFault231_AViewerThatDies(t *testing.T) {
	u := newUsers(policystatus.MaxViewers(2))
	require.Panics(t, func() {
		u.page.ServeHTTP(dying{httptest.NewRecorder()}, httptest.NewRequest("GET", "/?format=events", nil))
	})
	require.NoError(t, u.backend.Run(t.Context(), ok))
	u.trip()
	require.Len(t, read(t, u.page).Refusing, 1)
	for range 3 { // more than there are places for
		func() {
			defer func() { _ = recover() }()
			u.page.ServeHTTP(dying{httptest.NewRecorder()}, httptest.NewRequest("GET", "/?format=events", nil))
		}()
	}
	w := &plain{header: make(map[string][]string)}
	u.page.ServeHTTP(w, httptest.NewRequest("GET", "/?format=events", nil))
	require.Contains(t, w.body.String(), "data: ", "they gave their places back")
}

type dying struct{ *httptest.ResponseRecorder }

func (dying) Write([]byte) (int, error) { panic("dead") }

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	u, _ := controlled(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 50 {
				_ = u.backend.Run(t.Context(), fail)
				u.page.Note("users", "x")
			}
		})
		wait.Go(func() {
			for range 3 {
				get(u.page, "/")
				get(u.page, "/?format=json")
				get(u.page, "/explain")
			}
		})
		wait.Go(func() {
			for _, action := range []string{"force-open", "shadow", "enforce", "force-closed", "reset"} {
				post(u.page, map[string]string{"action": action})
			}
			u.page.Add(u.backend)
		})
	}
	wait.Wait()
	u.page.Close()
	require.NotContains(t, u.breaker.State().String(), "forced")
	require.False(t, u.breaker.Snapshot().Shadow)
}
