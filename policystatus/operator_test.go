package policystatus_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/retry"
)

// What an operator who has only the page was misled by, and is no more.

// An operator who lets every call through must see that it worked: what was refused before is no refusal of now.
func TestT2_WhatWasRefusedBeforeIsNotRefusedNow(t *testing.T) {
	for name, let := range map[string]func(u *users){
		"force-closed": func(u *users) { post(u.page, map[string]string{"action": "force-closed"}) },
		"reset":        func(u *users) { post(u.page, map[string]string{"action": "reset"}) },
		"shadow":       func(u *users) { post(u.page, map[string]string{"action": "shadow"}) },
		"it recovers": func(u *users) {
			time.Sleep(6 * time.Second)
			_ = u.backend.Run(context.Background(), ok)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, _ := controlled(t)
				u.trip()
				_ = u.backend.Run(t.Context(), ok)
				require.Len(t, read(t, u.page).Refusing, 1)
				time.Sleep(time.Second)
				let(u)
				require.Empty(t, read(t, u.page).Refusing)
				require.Len(t, read(t, u.page).Refusals, 1, "it is still among the last ones")
				has(t, get(u.page, "/").body, "Nothing refuses calls.")
			})
		})
	}
}

// Nothing refuses calls while a breaker is held closed, but nothing protects them either.
func TestT4_WhatIsHeldByHandComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := controlled(t)
		lacks(t, get(u.page, "/").body, "by hand")
		post(u.page, map[string]string{"action": "force-closed", "reason": "<b>the database is well</b>"})
		time.Sleep(time.Minute)
		body := get(u.page, "/").body
		has(t, body, `<strong>Breaker &#34;users-db&#34; of “users” is held by hand.</strong> Every call passes, by hand, whatever happens. alice forced it closed: &lt;b&gt;the database is well&lt;/b&gt;.`)
		has(t, body, "in 14 min.")
		post(u.page, map[string]string{"action": "force-open"})
		body = get(u.page, "/").body
		lacks(t, body, "is held by hand", "that it refuses, and by whose hand, is said already")
		has(t, body, "Calls to “users” are refused.")
		post(u.page, map[string]string{"action": "reset"})
		u.breaker.ForceClosed()
		has(t, get(u.page, "/").body, "is held by hand.</strong> Every call passes, by hand, whatever happens.")
	})
}

// A bulkhead that was full a moment ago is not explained with the slots that are taken now.
func TestT2_TheFiguresAreThoseOfTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		release := make(chan struct{})
		for range 16 {
			go u.backend.Run(t.Context(), func(context.Context) error { <-release; return nil })
		}
		synctest.Wait()
		require.Error(t, u.backend.Run(t.Context(), ok))
		close(release)
		synctest.Wait()
		d := read(t, u.page)
		require.Len(t, d.Refusing, 1)
		require.Contains(t, d.Refusing[0].Text, "16 of 16 slots are taken")

		body := get(u.page, "/").body
		has(t, body, `<span class="badge warn">accepting</span>`)
		has(t, body, "Calls pass; in the last ten seconds some were refused.")
	})
}

// A retry without a budget refuses no call.
func TestT2_WhatIsNotRetriedIsNotRefused(t *testing.T) {
	page := policystatus.New()
	users := resilience.Compose(resilience.Name("users"), retry.New(retry.WithBudget(retry.NewTokenBudget(1, 0.01)), retry.Constant(time.Millisecond)), resilience.Observe(page))
	page.Add(users)
	for range 3 {
		require.Error(t, users.Run(t.Context(), fail))
	}
	body := get(page, "/").body
	has(t, body, "Calls to “users” are not retried.")
	lacks(t, body, "are refused.")
}

// "65 % of 50 %" was read as a third.
func TestT2_AThresholdIsNoCapacity(t *testing.T) {
	u := newUsers()
	u.trip()
	body := get(u.page, "/").body
	has(t, body, "<dd>65 %, limit 50 %</dd>")
	has(t, body, "<dd>0 of 16</dd>")
}

// An authorize that panics lets nobody in, and the attempt is noted as any other.
func TestT4_AnAuthorizeThatPanics(t *testing.T) {
	a := &audit{}
	u := newUsers(policystatus.Control(func(*http.Request) (string, error) { panic(errors.New("nil session")) }), policystatus.Audit(a.tell))
	defer u.page.Close()
	answer := post(u.page, map[string]string{"action": "force-open"})
	require.Equal(t, http.StatusInternalServerError, answer.Code)
	lacks(t, answer.body, "nil session", "the reason is not for the visitor")
	require.Equal(t, breaker.Closed, u.breaker.State())
	require.Len(t, a.list(), 1)
	require.Equal(t, "the function given to Control panicked: nil session", a.list()[0].Error)
	require.Empty(t, a.list()[0].Actor)
}

// The links of …/explain lead back to the page, wherever it is mounted.
func TestT8_ExplainByItsPathLeadsBack(t *testing.T) {
	u := newUsers()
	for _, target := range []string{"/explain", "/debug/resilience/explain"} {
		body := get(u.page, target).body
		has(t, body, `href="./?">Back to the page`)
		has(t, body, `href="./?format=json">`)
	}
	has(t, get(u.page, "/debug/resilience?view=explain").body, `href="?">Back to the page`)
}
