package policystatus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/ratelimit"
)

// byHeader lets in whoever says so, for tests.
func byHeader(r *http.Request) (string, error) {
	if actor := r.Header.Get("X-Actor"); actor != "" {
		return actor, nil
	}
	return "", errors.New("no credentials")
}

// audit keeps the acts.
type audit struct {
	mu   sync.Mutex
	acts []policystatus.Act
}

func (a *audit) tell(act policystatus.Act) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acts = append(a.acts, act)
}

func (a *audit) list() []policystatus.Act {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]policystatus.Act(nil), a.acts...)
}

// controlled is a service whose page can act.
func controlled(t *testing.T) (*users, *audit) {
	t.Helper()
	a := &audit{}
	u := newUsers(policystatus.Control(byHeader), policystatus.Audit(a.tell))
	t.Cleanup(u.page.Close)
	return u, a
}

// post sends a form as alice, from the page itself unless a header says something else.
func post(handler http.Handler, form map[string]string, header ...string) answer {
	values := make(url.Values)
	for name, value := range map[string]string{"pipeline": "users", "layer": "breaker", "reason": "deploy"} {
		values.Set(name, value)
	}
	for name, value := range form {
		values.Set(name, value)
	}
	r := httptest.NewRequest(http.MethodPost, "http://status.internal/?", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Actor", "alice")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return answer{w, w.Body.String()}
}

func seen(t *testing.T, handler http.Handler) string {
	t.Helper()
	return read(t, handler).Pipelines[0].Layers[2].Seen
}

func TestT4_ControlIsOffByDefault(t *testing.T) {
	u := newUsers()
	a := post(u.page, map[string]string{"action": "force-open"})
	require.Equal(t, http.StatusMethodNotAllowed, a.Code)
	require.Equal(t, breaker.Closed, u.breaker.State())
	require.False(t, read(t, u.page).Control)
	require.Empty(t, read(t, u.page).Pipelines[0].Layers[2].Actions)
}

// A forced state ends while nobody looks.
func TestT4_AForcedStateEndsByItself(t *testing.T) {
	for action, state := range map[string]breaker.State{"force-open": breaker.ForcedOpen, "force-closed": breaker.ForcedClosed} {
		for given, lasts := range map[string]time.Duration{"": 15 * time.Minute, "10m": 10 * time.Minute, "24h": 24 * time.Hour, "1s": time.Second} {
			t.Run(action+" "+given, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					u, audit := controlled(t)
					a := post(u.page, map[string]string{"action": action, "for": given})
					require.Equal(t, http.StatusSeeOther, a.Code)
					require.Equal(t, "?", a.Header().Get("Location"))
					require.Equal(t, state, u.breaker.State())
					time.Sleep(lasts - time.Nanosecond)
					require.Equal(t, state, u.breaker.State())
					time.Sleep(time.Nanosecond)
					synctest.Wait()
					require.Equal(t, breaker.Closed, u.breaker.State())

					acts := audit.list()
					require.Len(t, acts, 2)
					require.Equal(t, policystatus.Act{
						Number: 1, Time: acts[0].Time, Action: action, Actor: "alice", Reason: "deploy", Pipeline: "users", Layer: "breaker",
						Kind: "breaker", Name: "users-db", Until: acts[0].Time.Add(lasts),
					}, acts[0])
					require.Equal(t, "end", acts[1].Action)
					require.Empty(t, acts[1].Actor)
					require.Equal(t, action+" by alice (deploy): its time was over", acts[1].Reason)
				})
			})
		}
	}
}

func TestT4_WhatIsForcedIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := controlled(t)
		post(u.page, map[string]string{"action": "force-open", "for": "10m", "reason": "<b>deploy</b>"})
		time.Sleep(time.Minute)
		d := read(t, u.page)
		require.Contains(t, d.Refusing[0].Text, "alice forced it open: <b>deploy</b>.")
		require.Contains(t, d.Refusing[0].Text, "stays so until 00:10:00 UTC, for 9 min more. It closes by itself then. Ask alice before you reset it.")
		require.Equal(t, "alice", d.Pipelines[0].Layers[2].Forced[0].Actor)
		html := get(u.page, "/").body
		has(t, html, "alice forced it open: &lt;b&gt;deploy&lt;/b&gt;.</strong> It ends by itself at")
		has(t, html, "alice: force-open until 00:10:00 UTC: &lt;b&gt;deploy&lt;/b&gt;")
	})
}

func TestT4_Reset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, audit := controlled(t)
		u.trip()
		require.Equal(t, http.StatusSeeOther, post(u.page, map[string]string{"action": "reset"}).Code)
		require.Equal(t, breaker.Closed, u.breaker.State())
		post(u.page, map[string]string{"action": "force-open"})
		post(u.page, map[string]string{"action": "reset"})
		require.Equal(t, breaker.Closed, u.breaker.State())
		u.breaker.ForceOpen() // by the service itself
		time.Sleep(time.Hour)
		require.Equal(t, breaker.ForcedOpen, u.breaker.State(), "the end of what was reset does nothing")
		require.Len(t, audit.list(), 3)
	})
}

// A second act takes the place of the first one: its end counts.
func TestT4_OneForcedStateAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, audit := controlled(t)
		post(u.page, map[string]string{"action": "force-open", "for": "10m"})
		time.Sleep(5 * time.Minute)
		post(u.page, map[string]string{"action": "force-closed", "for": "10m"})
		time.Sleep(6 * time.Minute)
		require.Equal(t, breaker.ForcedClosed, u.breaker.State())
		post(u.page, map[string]string{"action": "force-closed", "for": "10m", "reason": "longer"})
		time.Sleep(9 * time.Minute)
		require.Equal(t, breaker.ForcedClosed, u.breaker.State())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, breaker.Closed, u.breaker.State())
		require.Len(t, audit.list(), 4)
	})
}

// What the service itself has done is not undone.
func TestT4_TheEndRespectsTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, audit := controlled(t)
		u.breaker.ForceClosed()
		time.Sleep(time.Second)
		post(u.page, map[string]string{"action": "force-open", "for": "10m"})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, breaker.ForcedClosed, u.breaker.State(), "as the service had it before")

		u.breaker.Reset()
		post(u.page, map[string]string{"action": "force-open", "for": "10m"})
		time.Sleep(time.Minute)
		u.breaker.ForceClosed()
		time.Sleep(time.Hour)
		require.Equal(t, breaker.ForcedClosed, u.breaker.State(), "as the service has it since")
		acts := audit.list()
		require.Equal(t, "the service has changed it since", acts[len(acts)-1].Error)
	})
}

func TestT4_ShadowEndsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := controlled(t)
		form := func(action string) map[string]string {
			return map[string]string{"layer": "bulkhead", "action": action, "for": "10m"}
		}
		shadow := func() bool { return read(t, u.page).Pipelines[0].Layers[3].Shadow }
		require.Equal(t, http.StatusSeeOther, post(u.page, form("shadow")).Code)
		require.True(t, shadow())
		require.Equal(t, http.StatusBadRequest, post(u.page, form("shadow")).Code, "it is in shadow already")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.False(t, shadow())

		post(u.page, form("shadow"))
		require.Equal(t, http.StatusSeeOther, post(u.page, form("enforce")).Code)
		require.False(t, shadow())
		require.Empty(t, read(t, u.page).Pipelines[0].Layers[3].Forced, "what was begun here has ended for good")
		time.Sleep(time.Hour)
		require.False(t, shadow())
	})
}

func TestT4_EnforceOfAConfiguredShadowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New(policystatus.Control(byHeader))
		defer page.Close()
		l := ratelimit.New(1, 1, ratelimit.Shadow())
		page.AddReporter("mail", l)
		form := map[string]string{"pipeline": "mail", "layer": "rate-limiter", "action": "enforce", "for": "1m"}
		require.Equal(t, http.StatusSeeOther, post(page, form).Code)
		require.False(t, l.Snapshot().Shadow)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, l.Snapshot().Shadow)
	})
}

// Forced state and mode are two things.
func TestT4_StateAndModeAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := controlled(t)
		post(u.page, map[string]string{"action": "force-open", "for": "10m"})
		post(u.page, map[string]string{"action": "shadow", "for": "5m"})
		s := u.breaker.Snapshot()
		require.True(t, s.Shadow)
		require.Equal(t, breaker.ForcedOpen, s.State)
		require.Len(t, read(t, u.page).Pipelines[0].Layers[2].Forced, 2)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		s = u.breaker.Snapshot()
		require.False(t, s.Shadow)
		require.Equal(t, breaker.ForcedOpen, s.State)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Equal(t, breaker.Closed, u.breaker.State())
	})
}

// An adaptive limit has no shadow, and is not offered one.
func TestT4_AnAdaptiveLimit(t *testing.T) {
	page := policystatus.New(policystatus.Control(byHeader))
	defer page.Close()
	page.AddReporter("adaptive", bulkhead.Adaptive(bulkhead.Vegas(), 1, 10))
	require.Empty(t, read(t, page).Pipelines[0].Layers[0].Actions)
	a := post(page, map[string]string{"pipeline": "adaptive", "layer": "bulkhead", "action": "shadow"})
	require.Equal(t, http.StatusNotFound, a.Code)
}

func TestT4_WhoMayNot(t *testing.T) {
	for name, c := range map[string]struct {
		header []string
		code   int
		told   bool
	}{
		"without authorisation":       {[]string{"X-Actor", ""}, http.StatusForbidden, true},
		"an actor without a name":     {[]string{"X-Actor", "\u202e "}, http.StatusSeeOther, false},
		"from another site":           {[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, false},
		"from another subdomain":      {[]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden, false},
		"another origin":              {[]string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, http.StatusForbidden, false},
		"an opaque origin":            {[]string{"Sec-Fetch-Site", "", "Origin", "null"}, http.StatusForbidden, false},
		"the same origin":             {[]string{"Sec-Fetch-Site", "", "Origin", "http://status.internal"}, http.StatusSeeOther, false},
		"a script, which is no page":  {[]string{"Sec-Fetch-Site", ""}, http.StatusSeeOther, false},
		"not a form":                  {[]string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType, false},
		"JSON":                        {[]string{"Content-Type", "application/json"}, http.StatusUnsupportedMediaType, false},
		"another site, and no rights": {[]string{"Sec-Fetch-Site", "cross-site", "X-Actor", ""}, http.StatusForbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			u, audit := controlled(t)
			a := post(u.page, map[string]string{"action": "force-open"}, c.header...)
			require.Equal(t, c.code, a.Code)
			done := c.code == http.StatusSeeOther
			require.Equal(t, done, u.breaker.State() == breaker.ForcedOpen)
			require.Equal(t, c.told || done, len(audit.list()) == 1)
			if c.told {
				require.Equal(t, "not authorised: no credentials", audit.list()[0].Error)
				require.Contains(t, read(t, u.page).Events[0].Text, "force-open: deploy (not done: not authorised: no credentials)")
				lacks(t, a.body, "no credentials", "the reason is not for the visitor")
			}
		})
	}
}

// Who may not act cannot push out what operators need: the attempts are one event, and the audit hears of each.
func TestT4_AFloodOfAttemptsIsOneEvent(t *testing.T) {
	u, audit := controlled(t)
	require.Equal(t, http.StatusSeeOther, post(u.page, map[string]string{"action": "force-open"}).Code)
	for i := range 150 {
		post(u.page, map[string]string{"action": []string{"reset", "end"}[i%2]}, "X-Actor", "")
	}
	require.Len(t, audit.list(), 151)
	var counts []int
	var shown bool
	for _, e := range read(t, u.page).Events {
		if strings.Contains(e.Text, "not authorised") {
			counts = append(counts, e.Count)
		}
		shown = shown || strings.HasPrefix(e.Text, "alice: force-open")
	}
	require.Equal(t, []int{150}, counts)
	require.True(t, shown)
}

func TestT4_NoActorNoAct(t *testing.T) {
	page := policystatus.New(policystatus.Control(func(*http.Request) (string, error) { return " ", nil }))
	defer page.Close()
	b := breaker.New()
	page.AddReporter("users", b)
	require.Equal(t, http.StatusInternalServerError, post(page, map[string]string{"action": "force-open"}).Code)
	require.Equal(t, breaker.Closed, b.State())
}

func TestT4_WrongForms(t *testing.T) {
	for name, c := range map[string]struct {
		form map[string]string
		code int
		says string
	}{
		"no reason":           {map[string]string{"reason": " \n"}, http.StatusBadRequest, "Say why"},
		"no action":           {map[string]string{"action": ""}, http.StatusBadRequest, "Choose what to do"},
		"another action":      {map[string]string{"action": "<script>"}, http.StatusBadRequest, "Choose what to do"},
		"not in shadow":       {map[string]string{"action": "enforce"}, http.StatusBadRequest, "Choose what to do"},
		"no such pipeline":    {map[string]string{"pipeline": "orders"}, http.StatusNotFound, "no such policy"},
		"no such layer":       {map[string]string{"layer": "hedge"}, http.StatusNotFound, "no such policy"},
		"nothing to be done":  {map[string]string{"layer": "retry"}, http.StatusNotFound, "no such policy"},
		"too long":            {map[string]string{"for": "24h1s"}, http.StatusBadRequest, "from 1s to 24h"},
		"too short":           {map[string]string{"for": "999ms"}, http.StatusBadRequest, "from 1s to 24h"},
		"negative":            {map[string]string{"for": "-15m"}, http.StatusBadRequest, "from 1s to 24h"},
		"for ever":            {map[string]string{"for": "0"}, http.StatusBadRequest, "from 1s to 24h"},
		"overflow":            {map[string]string{"for": "9999999999999h"}, http.StatusBadRequest, "from 1s to 24h"},
		"no unit":             {map[string]string{"for": "15"}, http.StatusBadRequest, "from 1s to 24h"},
		"seen something else": {map[string]string{"seen": "x.1"}, http.StatusConflict, "configuration has changed"},
		"too large":           {map[string]string{"reason": strings.Repeat("x", 1<<20)}, http.StatusRequestEntityTooLarge, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			u, audit := controlled(t)
			form := map[string]string{"action": "force-open"}
			for k, v := range c.form {
				form[k] = v
			}
			a := post(u.page, form)
			require.Equal(t, c.code, a.Code)
			has(t, a.body, c.says)
			require.Equal(t, breaker.Closed, u.breaker.State())
			require.Empty(t, audit.list())

			a = post(u.page, form, "Accept", "application/json")
			require.Equal(t, c.code, a.Code)
			var problem struct{ Error string }
			require.NoError(t, json.Unmarshal([]byte(a.body), &problem))
			require.Contains(t, problem.Error, c.says)
		})
	}
}

func TestT4_NothingInTheAddressActs(t *testing.T) {
	u, _ := controlled(t)
	const query = "/?pipeline=users&layer=breaker&action=force-open&reason=x"
	require.Equal(t, http.StatusOK, get(u.page, query, "X-Actor", "alice").Code)
	require.Equal(t, http.StatusBadRequest, request(u.page, http.MethodPost, query, "X-Actor", "alice", "Content-Type", "application/x-www-form-urlencoded").Code)
	require.Equal(t, breaker.Closed, u.breaker.State())
}

// The same form twice, as by a double click: one act.
func TestT4_TheSameFormTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, audit := controlled(t)
		form := map[string]string{"action": "force-open", "seen": seen(t, u.page)}
		require.Equal(t, http.StatusSeeOther, post(u.page, form).Code)
		time.Sleep(time.Second)
		require.Equal(t, http.StatusSeeOther, post(u.page, form).Code)
		require.Len(t, audit.list(), 1)
		time.Sleep(15*time.Minute - time.Second)
		synctest.Wait()
		require.Equal(t, breaker.Closed, u.breaker.State(), "the second one has not made it longer")
	})
}

// Two operators at once: the second one is told what the first has done.
func TestT4_TwoOperatorsAtOnce(t *testing.T) {
	u, audit := controlled(t)
	form := map[string]string{"action": "force-open", "seen": seen(t, u.page)}
	other := map[string]string{"action": "reset", "seen": form["seen"], "reason": "it is well"}
	post(u.page, form)
	a := post(u.page, other, "X-Actor", "bob")
	require.Equal(t, http.StatusConflict, a.Code)
	has(t, a.body, "Somebody was faster: alice: force-open until")
	has(t, a.body, `value="it is well"`, "what was typed is still there")
	require.Equal(t, breaker.ForcedOpen, u.breaker.State())
	require.Len(t, audit.list(), 1)
	other["seen"] = seen(t, u.page)
	require.Equal(t, http.StatusSeeOther, post(u.page, other, "X-Actor", "bob").Code)
	require.Equal(t, breaker.Closed, u.breaker.State())
}

// Many at the same moment: one of them acts, and layer, audit and page agree in the end.
func TestT4_ManyAtTheSameMoment(t *testing.T) {
	u, audit := controlled(t)
	was := seen(t, u.page)
	var wait sync.WaitGroup
	var mu sync.Mutex
	codes := make(map[int]int)
	for i := range 50 {
		wait.Go(func() {
			a := post(u.page, map[string]string{"action": []string{"force-open", "force-closed"}[i%2], "seen": was, "reason": "r"})
			mu.Lock()
			defer mu.Unlock()
			codes[a.Code]++
		})
	}
	wait.Wait()
	acts := audit.list()
	require.Len(t, acts, 1)
	require.Equal(t, 25, codes[http.StatusSeeOther])
	require.Equal(t, 25, codes[http.StatusConflict])
	require.Equal(t, acts[0].Action == "force-open", u.breaker.State() == breaker.ForcedOpen)
}

func TestT4_AReplacedLayerIsNotTakenForTheOldOne(t *testing.T) {
	page := policystatus.New(policystatus.Control(byHeader))
	defer page.Close()
	first, second := breaker.New(), breaker.New()
	handle := &replaced{resilience.Compose(resilience.Name("users"), first)}
	page.Add(handle)
	was := read(t, page).Pipelines[0].Layers[0].Seen
	handle.current = resilience.Compose(resilience.Name("users"), second)
	a := post(page, map[string]string{"action": "force-open", "seen": was})
	require.Equal(t, http.StatusConflict, a.Code)
	require.Equal(t, breaker.Closed, second.State())
}

func TestT4_ASharedBreakerIsForcedOnce(t *testing.T) {
	page := policystatus.New(policystatus.Control(byHeader))
	defer page.Close()
	db := breaker.New(breaker.Name("db"))
	page.Add(resilience.Compose(resilience.Name("reads"), db), resilience.Compose(resilience.Name("writes"), db))
	post(page, map[string]string{"pipeline": "reads", "action": "force-open"})
	d := read(t, page)
	require.Equal(t, d.Pipelines[0].Layers[0].Seen, d.Pipelines[1].Layers[0].Seen)
	require.Len(t, d.Pipelines[1].Layers[0].Forced, 1)
}

// Close leaves nothing forced behind, and nothing can be forced any more.
func TestCloseEndsWhatWasForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, audit := controlled(t)
		post(u.page, map[string]string{"action": "force-open"})
		post(u.page, map[string]string{"layer": "bulkhead", "action": "shadow"})
		time.Sleep(time.Minute)
		u.page.Close()
		u.page.Close()
		require.Equal(t, breaker.Closed, u.breaker.State())
		require.False(t, read(t, u.page).Pipelines[0].Layers[3].Shadow)
		require.Len(t, audit.list(), 4)
		require.Contains(t, audit.list()[3].Reason, "the page was closed")
		require.Equal(t, http.StatusServiceUnavailable, post(u.page, map[string]string{"action": "force-open"}).Code)
		require.Equal(t, http.StatusOK, get(u.page, "/").Code)
		require.Equal(t, http.StatusServiceUnavailable, get(u.page, "/?format=events").Code)
	})
}

func TestAnAuditThatPanicsChangesNothing(t *testing.T) {
	page := policystatus.New(policystatus.Control(byHeader), policystatus.Audit(func(policystatus.Act) { panic("audit") }))
	defer page.Close()
	b := breaker.New()
	page.AddReporter("users", b)
	require.Equal(t, http.StatusSeeOther, post(page, map[string]string{"action": "force-open"}).Code)
	require.Equal(t, breaker.ForcedOpen, b.State())
}

// While a subscriber of the breaker blocks, a second act waits for its turn, and its operator can leave; reading goes on.
func TestAnActThatBlocksDoesNotBlockThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New(policystatus.Control(byHeader))
		block := make(chan struct{})
		b := breaker.New(breaker.OnChange(func(breaker.Change) { <-block }))
		page.AddReporter("users", b)
		var wait sync.WaitGroup
		wait.Go(func() { post(page, map[string]string{"action": "force-open"}) })
		synctest.Wait()
		require.Equal(t, http.StatusOK, get(page, "/").Code)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("pipeline=users&layer=breaker&action=reset&reason=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Actor", "bob")
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		close(block)
		wait.Wait()
		page.Close()
	})
}

// The control page is a form that works without JavaScript, and does nothing by itself.
func TestT4_TheForm(t *testing.T) {
	u, _ := controlled(t)
	a := get(u.page, "/?view=control&pipeline=users&layer=breaker")
	require.Equal(t, http.StatusOK, a.Code)
	for _, part := range []string{
		`<form method="post" action="?">`, `name="seen" value="` + seen(t, u.page) + `"`, `value="force-open" required`, `<strong>Let every call through</strong>: force it closed`,
		`value="force-closed"`, `value="reset"`, `value="shadow"`, `<option value="15m" selected>`, `name="reason" type="text" required`,
	} {
		has(t, a.body, part)
	}
	lacks(t, a.body, "checked", "nothing is chosen before the operator does")
	lacks(t, a.body, "<script", "it is not reloaded under the operator's hands")
	lacks(t, a.body, "refresh")
	has(t, get(u.page, "/").body, `href="?view=control&amp;pipeline=users&amp;layer=breaker"`)
	require.Equal(t, http.StatusNotFound, get(u.page, "/?view=control&pipeline=users&layer=retry").Code)
}

func TestControlOfAThirdPartysLayer(t *testing.T) {
	page := policystatus.New(policystatus.Control(byHeader))
	defer page.Close()
	page.AddReporter("gate", refusesShadow{})
	a := post(page, map[string]string{"pipeline": "gate", "layer": "gate", "action": "shadow"})
	require.Equal(t, http.StatusConflict, a.Code)
	has(t, a.body, "not today")
}

// refusesShadow is a layer whose methods panic.
type refusesShadow struct{}

func (refusesShadow) Report() policy.Report { return policy.Report{Kind: "gate"} }
func (refusesShadow) Shadow()               { panic("not today") }
func (refusesShadow) Enforce()              {}

func TestWrongControlOptionsPanic(t *testing.T) {
	for want, opts := range map[string][]policystatus.Option{
		"policystatus: Control: the function is nil":                                 {policystatus.Control(nil)},
		"policystatus: Audit: the function is nil":                                   {policystatus.Control(byHeader), policystatus.Audit(nil)},
		"policystatus: Audit: needs Control: without it there are no acts to report": {policystatus.Audit(func(policystatus.Act) {})},
	} {
		require.EqualError(t, policystatus.Validate(opts...), want)
		require.PanicsWithError(t, want, func() { policystatus.New(opts...) })
	}
}
