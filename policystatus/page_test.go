package policystatus_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
	"github.com/go-resilience/resilience/ratelimit"
)

func TestT1_OneHandlerWithoutAnythingFromOutside(t *testing.T) {
	u := newUsers()
	a := get(u.page, "/")
	require.Equal(t, http.StatusOK, a.Code)
	require.Equal(t, "text/html; charset=utf-8", a.Header().Get("Content-Type"))

	csp := a.Header().Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'")
	require.NotContains(t, csp, "unsafe")
	for name, within := range map[string]string{"script-src": "script", "style-src": "style"} {
		blocks := regexp.MustCompile(`(?s)<`+within+`>(.*?)</`+within+`>`).FindAllStringSubmatch(a.body, -1)
		require.Len(t, blocks, 1)
		sum := sha256.Sum256([]byte(blocks[0][1]))
		require.Contains(t, csp, name+" 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	require.NotRegexp(t, `(src|href)="?(https?:)?//`, a.body)
	require.NotRegexp(t, `@import|url\(`, a.body)
	require.NotRegexp(t, ` (style|on[a-z]+)=`, a.body, "the policy would block it")
	has(t, a.body, `<noscript><meta http-equiv="refresh" content="5"></noscript>`)
	for _, header := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"} {
		require.NotEmpty(t, a.Header().Get(header), header)
	}
	require.Equal(t, "same-origin", a.Header().Get("Referrer-Policy"), "with no-referrer the origin of the page's own form is null")
}

func TestT1_MountedAnywhere(t *testing.T) {
	u := newUsers()
	mux := http.NewServeMux()
	mux.Handle("/status", u.page)
	mux.Handle("/debug/resilience/", http.StripPrefix("/debug/resilience", u.page))
	for _, target := range []string{"/status", "/debug/resilience/"} {
		a := get(mux, target)
		require.Equal(t, http.StatusOK, a.Code, target)
		for _, match := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
			require.Regexp(t, `^[?#]`, match[1], "a link that depends on where the page is mounted")
		}
		has(t, get(mux, target+"?view=explain").body, "refusals by code")
	}
	has(t, get(mux, "/debug/resilience/explain").body, "refusals by code")
}

func TestMethodsAndViews(t *testing.T) {
	u := newUsers()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		a := request(u.page, method, "/")
		require.Equal(t, http.StatusMethodNotAllowed, a.Code, method)
		require.Equal(t, "GET, HEAD", a.Header().Get("Allow"))
	}
	a := request(u.page, http.MethodHead, "/")
	require.Equal(t, http.StatusOK, a.Code)
	require.Empty(t, a.body)
	require.Equal(t, "text/event-stream", request(u.page, http.MethodHead, "/?format=events").Header().Get("Content-Type"))
	require.Equal(t, http.StatusNotFound, get(u.page, "/?view=nothing").Code)
	require.Equal(t, http.StatusNotFound, get(u.page, "/?view=control").Code, "control is off")
	lacks(t, get(u.page, "/").body, "?view=control")
}

func TestAnEmptyPage(t *testing.T) {
	page := policystatus.New()
	a := get(page, "/")
	require.Equal(t, http.StatusOK, a.Code)
	has(t, a.body, "No pipeline was added to this page.")
	has(t, a.body, "Nothing refuses calls.")
	has(t, get(page, "/?format=json").body, `"pipelines": []`)
}

func TestT2_LayersInOrderWithStateLimitsAndUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		time.Sleep(time.Minute)
		u.trip()
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, u.backend.Run(t.Context(), ok), breaker.ErrOpen)

		d := read(t, u.page)
		require.Len(t, d.Pipelines, 1)
		var order []string
		for _, l := range d.Pipelines[0].Layers {
			order = append(order, l.ID)
		}
		require.Equal(t, []string{"total-timeout", "retry", "breaker", "bulkhead"}, order)
		b := d.Pipelines[0].Layers[2]
		require.Equal(t, "open", b.State.Name)
		require.Equal(t, 2*time.Second, b.State.Until.Sub(d.Time))
		require.Equal(t, map[string]int{"succeeded": 7, "failed": 13, "rejected": 1, "expected": 0, "canceled": 0, "panicked": 0}, d.Pipelines[0].Calls)

		require.Len(t, d.Refusing, 1)
		const want = `Breaker "users-db" refuses every call: 13 of the last 20 calls failed (65 %), the limit is 50 % of at least 20; ` +
			`the last error was: connection refused. It has been open since 00:01:00 UTC, for 3 s, and stays so until 00:01:05 UTC, ` +
			`for 2 s more. Then it tries again with a first call: if that succeeds it closes, if not it stays open. Find out why the ` +
			`dependency fails. If you know that it is well again, reset the breaker: it lets calls through and decides anew. To let every call through whatever happens, force it closed. 1 refusal since 00:01:03 UTC, for 0 s.`
		require.Equal(t, want, d.Refusing[0].Text)

		html := get(u.page, "/").body
		for _, part := range []string{
			`Calls to “users” are refused.`, `Breaker &#34;users-db&#34; refuses every call`, `for <strong>2 s</strong> more`,
			`<span class="badge bad">open</span>`, `0 of 16`, `7 calls succeeded`, `1 refused`, `13 failed`,
			`FailureRate(0.5, 20)`, `<meter min="0" max="16" low="12.8" high="15.984" optimum="0" value="0" aria-label="in flight">`,
		} {
			has(t, html, part)
		}
		time.Sleep(2 * time.Second)
		require.Contains(t, read(t, u.page).Refusing[0].Text, "It has been half-open since 00:01:05 UTC")
		require.NoError(t, u.backend.Run(t.Context(), ok))
		time.Sleep(10 * time.Second)
		has(t, get(u.page, "/").body, "Nothing refuses calls.")
	})
}

// What a layer refuses is shown as long as it happens, also for those whose state does not say so.
func TestT2_WhatRefusesWithoutAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := policystatus.New()
		mail := resilience.Compose(resilience.Name("mail"), ratelimit.New(1, 1, ratelimit.Name("smtp")), resilience.Observe(page))
		page.Add(mail)
		require.NoError(t, mail.Run(t.Context(), ok))
		for range 3 {
			require.Error(t, mail.Run(t.Context(), ok))
		}
		d := read(t, page)
		require.Len(t, d.Refusing, 1)
		require.Equal(t, "mail", d.Refusing[0].Pipeline)
		require.Equal(t, "rate-limiter", d.Refusing[0].Layer)
		require.Equal(t, 3, d.Refusing[0].Count)
		require.Contains(t, d.Refusing[0].Text, `Rate limiter "smtp" refuses calls: calls come faster than the rate allows (rate limit "smtp" 1/s burst 1).`)
		time.Sleep(11 * time.Second)
		require.Empty(t, read(t, page).Refusing)
		require.Len(t, read(t, page).Refusals, 1, "it is still among the last ones")
	})
}

func TestT2_TheLast100Events(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		for i := range 150 {
			time.Sleep(time.Second)
			u.page.Note("users", fmt.Sprintf("note %d", i))
		}
		d := read(t, u.page)
		require.Len(t, d.Events, 100)
		require.Equal(t, "note 149", d.Events[0].Text)
		require.Equal(t, "note 50", d.Events[99].Text)
		require.True(t, slices.IsSortedFunc(d.Events, func(a, b struct {
			Number                      int
			Time                        time.Time
			Kind, Pipeline, Layer, Text string
			Count                       int
		}) int {
			return b.Time.Compare(a.Time)
		}))
	})
}

func TestT2_ChangesAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		require.Empty(t, read(t, u.page).Events, "what is as it was made is no change")
		u.trip()
		time.Sleep(time.Second)
		_ = u.backend.Run(t.Context(), ok)
		time.Sleep(time.Second)
		events := read(t, u.page).Events
		require.Len(t, events, 2)
		require.Equal(t, "refusal", events[0].Kind)
		require.Equal(t, "change", events[1].Kind)
		require.Contains(t, events[1].Text, "closed to open: 13 of the last 20 calls failed (65 %)")
		require.Len(t, read(t, u.page).Events, 2, "reading makes no events")
		u.breaker.Shadow()
		time.Sleep(time.Second)
		require.Equal(t, "shadow began: it refuses nothing", read(t, u.page).Events[0].Text)
		u.breaker.Enforce()
		time.Sleep(time.Second)
		require.Equal(t, "shadow ended: it refuses again", read(t, u.page).Events[0].Text)
	})
}

// Since when calls are refused is not since when the breaker has opened for the last time.
func TestT2_SinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		u.trip()
		for range 1200 { // one of these is a probe every 5 s
			time.Sleep(50 * time.Millisecond)
			_ = u.backend.Run(t.Context(), fail)
			if time.Now().UnixMilli()%2000 == 0 {
				_ = read(t, u.page)
			}
		}
		d := read(t, u.page)
		require.Equal(t, 1, len(d.Refusing))
		require.Contains(t, d.Refusing[0].Text, "the dependency is not well yet: of the calls that were to find out, 1 of 1 failed")
		require.Regexp(t, `1,1\d\d refusals since 00:00:00 UTC, for 59 s\.$`, d.Refusing[0].Text)
		changes := 0
		for _, e := range d.Events {
			if e.Kind == "change" {
				changes++
				require.Greater(t, e.Count, 8)
			}
		}
		require.Equal(t, 1, changes, "that it opens again and again is one line")
	})
}

func TestShadowRefusesNothing(t *testing.T) {
	u := newUsers()
	u.breaker.Shadow()
	u.breaker.Trip()
	require.Empty(t, read(t, u.page).Refusing)
	has(t, get(u.page, "/").body, "In shadow: it refuses nothing")
}

// The fields of the JSON, for those who read it: a field that goes or changes its type is a new version.
func TestT3_TheSchemaOfTheJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsers()
		_ = read(t, u.page)
		u.trip()
		_ = u.backend.Run(t.Context(), ok)
		var got any
		require.NoError(t, json.Unmarshal([]byte(get(u.page, "/?format=json").body), &got))
		paths := make(map[string]bool)
		schema("", got, paths)
		for _, path := range []string{
			"version number", "title string", "time string", "control bool",
			"refusing[].pipeline string", "refusing[].layer string", "refusing[].text string", "refusing[].count number",
			"refusing[].explanation.code string", "refusing[].explanation.who string", "refusing[].explanation.what string",
			"refusing[].explanation.why string", "refusing[].explanation.since string", "refusing[].explanation.until string",
			"refusing[].explanation.when string", "refusing[].explanation.next string", "refusing[].explanation.do string",
			"pipelines[].id string", "pipelines[].name string", "pipelines[].calls.succeeded number", "pipelines[].calls.rejected number",
			"pipelines[].layers[].id string", "pipelines[].layers[].kind string", "pipelines[].layers[].name string",
			"pipelines[].layers[].stage string", "pipelines[].layers[].refusing bool", "pipelines[].layers[].state.name string",
			"pipelines[].layers[].state.since string", "pipelines[].layers[].state.until string",
			"pipelines[].layers[].state.cause.text string", "pipelines[].layers[].values[].name string",
			"pipelines[].layers[].values[].number number", "pipelines[].layers[].values[].limit number",
			"pipelines[].layers[].settings[].name string",
			"refusals[].number number", "refusals[].code string", "refusals[].pipeline string", "refusals[].kind string",
			"refusals[].name string", "refusals[].first string", "refusals[].last string", "refusals[].count number",
			"refusals[].error string", "refusals[].explanation.why string", "refusals[].facts.state.name string",
			"codes[].code string", "codes[].count number", "codes[].last string",
			"events[].number number", "events[].time string", "events[].kind string", "events[].pipeline string",
			"events[].layer string", "events[].text string", "events[].count number",
		} {
			require.True(t, paths[path], "%s is missing", path)
		}
		require.EqualValues(t, 1, got.(map[string]any)["version"])
	})
}

// schema notes the paths of a JSON value with their types.
func schema(path string, value any, paths map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			schema(strings.TrimPrefix(path+"."+name, "."), inner, paths)
		}
	case []any:
		for _, inner := range value {
			schema(path+"[]", inner, paths)
		}
	case string:
		paths[path+" string"] = true
	case float64:
		paths[path+" number"] = true
	case bool:
		paths[path+" bool"] = true
	}
}

func TestT3_JSONByAcceptHeader(t *testing.T) {
	u := newUsers()
	for accept, json := range map[string]bool{
		"application/json": true, "*/*": false, "text/html,application/xhtml+xml,*/*;q=0.8": false,
		"text/html, application/json": false, "application/json, text/html": true, "": false,
	} {
		a := get(u.page, "/", "Accept", accept)
		require.Equal(t, json, strings.HasPrefix(a.Header().Get("Content-Type"), "application/json"), accept)
		require.Equal(t, "Accept", a.Header().Get("Vary"))
	}
	require.Contains(t, request(u.page, http.MethodPut, "/?format=json").body, `"error"`)
}

const markup = `<script>window.pwned=1</script>"'><img src=x onerror=window.pwned=2>&{{.}}` + "\x00\n\u202e"

func TestT6_MarkupInNamesAndErrorsIsText(t *testing.T) {
	page := policystatus.New(policystatus.Title(markup))
	b := breaker.New(breaker.Name(markup), breaker.ConsecutiveFailures(1))
	backend := resilience.Compose(resilience.Name(markup), b, bulkhead.New(1, bulkhead.Name(markup)), resilience.Observe(page))
	page.Add(backend)
	page.Note(markup, markup)
	page.AddReporter(markup, &layer{report: func() policy.Report {
		return policy.Report{
			Kind: markup, Name: markup, State: policy.State{Name: markup, Cause: policy.Cause{Rule: markup, Err: errors.New(markup)}},
			Settings: []policy.Setting{{Name: markup, Args: []policy.Argument{{Name: markup, Value: markup}}}},
			Values:   []policy.Value{{Name: markup, Label: markup, Unit: markup, Number: 1, Limit: 2}},
		}
	}})
	page.AddReporter("panics", &layer{report: func() policy.Report { panic(markup) }})
	_ = backend.Run(t.Context(), func(context.Context) error { return errors.New(markup) })
	_ = backend.Run(t.Context(), ok)
	rejection := &policy.Rejection{Kind: markup, Name: markup, Reason: policy.NewReason(markup, markup)}
	page.Observe(t.Context(), policy.Event{Kind: policy.EventRejected, Pipeline: markup, Outcome: policy.Outcome{Err: rejection}})

	for _, target := range []string{"/", "/?view=explain", "/?view=" + "%3Cscript%3E"} {
		body := get(page, target).body
		require.Equal(t, strings.Count(body, "<script>"), strings.Count(get(policystatus.New(), target).body, "<script>"), target)
		lacks(t, body, "<img", target)
		lacks(t, body, "\x00", target)
		lacks(t, body, "\u202e", target)
	}
	has(t, get(page, "/").body, "&lt;script&gt;window.pwned=1&lt;/script&gt;")
	lacks(t, get(page, "/?format=json").body, "<", "a browser that sniffs finds no tag in the JSON")
}

func TestAHostileFloodIsBounded(t *testing.T) {
	page := policystatus.New()
	long := strings.Repeat("x", 1<<20)
	for i := range 2000 {
		rejection := &policy.Rejection{Kind: "gate", Name: fmt.Sprint(i, long), Reason: policy.NewReason(fmt.Sprint(i, long), long)}
		page.Observe(t.Context(), policy.Event{Kind: policy.EventRejected, Pipeline: fmt.Sprint(i, long), Outcome: policy.Outcome{Err: rejection}})
		if i == 5 {
			long = "x"
		}
	}
	d := read(t, page)
	require.Len(t, d.Refusals, 256)
	require.Len(t, d.Events, 100)
	require.Less(t, len(get(page, "/?format=json").body), 2<<20)
}

// A layer that cannot be read does not hide the others.
func TestAReportThatPanics(t *testing.T) {
	u := newUsers()
	bad := resilience.Compose(resilience.Name("bad"), &layer{report: func() policy.Report { panic("broken") }}, resilience.Observe(u.page))
	u.page.Add(bad)
	d := read(t, u.page)
	require.Equal(t, "its report panicked: broken", d.Pipelines[1].Error)
	require.Len(t, d.Pipelines[0].Layers, 4)
	has(t, get(u.page, "/").body, "its report panicked: broken")
}

// The numbers that JSON does not know.
func TestALimiterWithoutALimit(t *testing.T) {
	page := policystatus.New()
	page.AddReporter("free", ratelimit.New(math.Inf(1), 1))
	require.Equal(t, http.StatusOK, get(page, "/?format=json").Code)
	require.Equal(t, http.StatusOK, get(page, "/").Code)
}

func TestRegistriesAndSharedPolicies(t *testing.T) {
	page := policystatus.New()
	db := breaker.New(breaker.Name("db"))
	reads, writes := resilience.Compose(resilience.Name("reads"), db, resilience.Observe(page)), resilience.Compose(db)
	hosts := keyed.New(func(host string) *breaker.Breaker { return breaker.New(breaker.Name(host)) })
	hosts.Get("<a>").Trip()
	page.Add(reads, writes, reads)
	page.Add(resilience.Compose(resilience.Name("reads"), bulkhead.New(1), bulkhead.New(2)))
	page.AddReporter("hosts", hosts)
	page.AddReporter("hosts", hosts)
	d := read(t, page)
	var ids []string
	for _, p := range d.Pipelines {
		ids = append(ids, p.ID)
	}
	require.Equal(t, []string{"reads", "pipeline 2", "reads (2)", "hosts"}, ids)
	require.Equal(t, "bulkhead", d.Pipelines[2].Layers[0].ID)
	require.Equal(t, "bulkhead-2", d.Pipelines[2].Layers[1].ID)
	has(t, get(page, "/").body, "keys, open")
	lacks(t, get(page, "/?format=json").body, "<a>", "a registry shows no keys")

	db.Trip()
	require.Len(t, read(t, page).Refusing, 2, "it refuses the calls of both pipelines")
}

// source is a pipeline that is replaced while it runs.
type replaced struct{ current *resilience.Pipeline }

func (r *replaced) Current() *resilience.Pipeline { return r.current }

// UM4, for a page: replaced policies keep their place, deleted ones are gone.
func TestUM4_AReplacedPipeline(t *testing.T) {
	page := policystatus.New()
	handle := &replaced{resilience.Compose(resilience.Name("users"), breaker.New(breaker.Name("former")))}
	page.Add(handle)
	has(t, get(page, "/").body, "former")
	handle.current = resilience.Compose(resilience.Name("users"), bulkhead.New(3, bulkhead.Name("new")))
	d := read(t, page)
	require.Len(t, d.Pipelines, 1)
	require.Len(t, d.Pipelines[0].Layers, 1)
	require.Equal(t, "new", d.Pipelines[0].Layers[0].Name)
	lacks(t, get(page, "/").body, "former")
}

// UM2, for a page: the state is read when somebody looks, whoever changed it.
func TestUM2_TheStateIsReadAtTheMoment(t *testing.T) {
	u := newUsers()
	u.breaker.ForceOpen()
	require.Equal(t, "forced open", read(t, u.page).Pipelines[0].Layers[2].State.Name)
	u.breaker.Reset()
	require.Equal(t, "closed", read(t, u.page).Pipelines[0].Layers[2].State.Name)
}

// perKey is a source like that of policyhttp.PerHost.
type perKey struct {
	source   resilience.Source
	registry policy.Reporter
}

func (p perKey) Current() *resilience.Pipeline { return p.source.Current() }
func (p perKey) Report() policy.Report         { return p.registry.Report() }

func TestWrongArgumentsPanic(t *testing.T) {
	var nilPipeline *resilience.Pipeline
	for want, f := range map[string]func(){
		"policystatus: Add: source 1 is nil; Add: source 2 is nil": func() { policystatus.New().Add(nil, nilPipeline) },
		"policystatus: AddReporter: the name is empty":             func() { policystatus.New().AddReporter("", breaker.New()) },
		`policystatus: AddReporter("x"): the reporter is nil`:      func() { policystatus.New().AddReporter("x", nil) },
		"policystatus: Add: source 1, a policystatus_test.perKey, has a pipeline for each key: use AddReporter": func() {
			policystatus.New().Add(perKey{resilience.Compose(), keyed.New(func(string) *breaker.Breaker { return breaker.New() })})
		},
		`policystatus: Title(""): must have from 1 to 100 bytes`: func() { policystatus.New(policystatus.Title("")) },
		"policystatus: MaxViewers(0): must be from 1 to 1000000": func() { policystatus.New(policystatus.MaxViewers(0)) },
		"policystatus: option 1 is nil":                          func() { policystatus.New(nil) },
	} {
		require.PanicsWithError(t, want, f)
	}
	require.NoError(t, policystatus.Validate())
}
