package keyed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/keyed"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
)

func setting(name, argument string, value any) policy.Setting {
	return policy.Setting{Name: name, Args: []policy.Argument{{Name: argument, Value: value}}}
}

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(1), keyed.Max(4), keyed.MaxKeyLength(20))
		values := make([]*slots, 4)
		for i := range values {
			values[i] = r.Get(numbered(i))
		}
		values[2].down.Store(true)
		before := r.Snapshot()

		for _, bad := range [][]keyed.Option{
			{keyed.Max(0)}, {keyed.Max(9), keyed.Idle(-1)}, {keyed.MaxKeyLength(0)}, {nil},
			{keyed.IdleIf[*slots](nil)}, {keyed.IdleIf(func(int) bool { return true })},
		} {
			require.Error(t, r.Reconfigure(bad...))
			require.Equal(t, before, r.Snapshot(), "nothing was changed")
		}

		require.NoError(t, r.Reconfigure(keyed.Max(6), keyed.MaxKeyLength(5)))
		require.Same(t, values[1], r.Get(numbered(1)))
		require.Same(t, r.Overflow(), r.Get("longer than 5"))
		require.Same(t, values[3], r.Get(numbered(3)), "a longer key keeps its place")
		r.Get("a")
		r.Get("b")
		require.Equal(t, 6, r.Len())

		require.NoError(t, r.Reconfigure(keyed.Max(1)))
		require.Same(t, values[2], r.Get(numbered(2)), "the value that is needed stays")
		require.Equal(t, 1, r.Len())
		require.EqualValues(t, 5, r.Snapshot().Evicted)
		require.Same(t, r.Overflow(), r.Get("c"))

		require.NoError(t, r.Reconfigure())
		require.Equal(t, 10_000, r.Snapshot().Max, "the default")
		require.Equal(t, []policy.Setting{{Name: "New", Code: true}}, r.Report().Settings)
	})
}

// Values that are needed keep their places above a lowered Max; new keys let the number shrink as values become idle.
func TestReconfigureShrinksAsValuesBecomeIdle(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(10))
	values := make([]*slots, 10)
	for i := range values {
		values[i] = r.Get(numbered(i))
		values[i].down.Store(true)
	}
	require.NoError(t, r.Reconfigure(keyed.Max(3)))
	require.Equal(t, 10, r.Len())
	require.Same(t, r.Overflow(), r.Get("new"))
	for _, value := range values {
		value.down.Store(false)
	}
	for i := range 7 {
		require.Same(t, r.Overflow(), r.Get("new"))
		require.Equal(t, 9-i, r.Len())
	}
	require.Equal(t, "new", r.Get("new").key)
	require.Equal(t, 3, r.Len())
}

func TestReconfigureOfIdleBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(1))
		a := r.Get("a")
		time.Sleep(1000 * time.Hour)
		require.NoError(t, r.Reconfigure(keyed.Idle(time.Hour)))
		use := func(d time.Duration) {
			for range d / time.Minute {
				time.Sleep(time.Minute)
				r.Get("b")
			}
		}
		use(59 * time.Minute)
		require.Zero(t, r.Snapshot().Expired, "not before its time")
		require.NoError(t, r.Reconfigure(keyed.Idle(time.Minute*10)))
		use(9 * time.Minute)
		require.Zero(t, r.Snapshot().Expired)
		use(11 * time.Minute)
		require.EqualValues(t, 1, r.Snapshot().Expired)
		require.NotSame(t, a, r.Get("a"))
		require.NoError(t, r.Reconfigure())
		use(1000 * time.Minute)
		require.EqualValues(t, 1, r.Snapshot().Expired, "never, by default")
	})
}

func TestReconfigureWithIdleIf(t *testing.T) {
	var never atomic.Bool
	r := keyed.New(newSlots(1), keyed.Max(1))
	r.Get("a").down.Store(true)
	require.NoError(t, r.Reconfigure(keyed.Max(1), keyed.IdleIf(func(*slots) bool { return !never.Load() })))
	require.Equal(t, "b", r.Get("b").key, "the function overrules the method")
	require.NoError(t, r.Reconfigure(keyed.Max(1)))
	require.Equal(t, []policy.Setting{{Name: "New", Code: true}, {Name: "IdleIf", Code: true}, setting("Max", "keys", 1)}, r.Report().Settings)
	never.Store(true)
	require.Same(t, r.Overflow(), r.Get("c"), "it stays")
}

func TestReconfigureUnderLoad(t *testing.T) {
	r := keyed.New(newSlots(1), keyed.Max(50))
	guard := keyed.By(keyOf, r)
	needed := r.Get("needed")
	needed.down.Store(true)
	stop := make(chan struct{})
	var changes, load sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := r.Reconfigure(keyed.Max(1+i%60), keyed.Idle(time.Duration(1+i%3)*time.Microsecond), keyed.MaxKeyLength(6+i%9)); err != nil {
				t.Error(err)
			}
			r.Report()
		}
	})
	for g := range 4 {
		load.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for range 5000 {
				key := numbered(random.IntN(200))
				if value := r.Get(key); value.key != key && value != r.Overflow() {
					t.Errorf("asked for %q, got %q", key, value.key)
				}
				if admitted, ticket, err := guard.Admit(withKey(context.Background(), key)); err == nil {
					guard.Settle(admitted, ticket, policy.Outcome{Kind: policy.Returned})
				}
				if r.Get("needed") != needed {
					t.Error("the value that is needed is gone")
				}
			}
		})
	}
	load.Wait()
	close(stop)
	changes.Wait()
	require.NoError(t, r.Reconfigure(keyed.Max(20)))
	busy := make(map[*slots]bool)
	for i := range 200 { // every place can be had, and no more
		value := r.Get(numbered(i))
		value.down.Store(true)
		busy[value] = true
	}
	require.Equal(t, 20, r.Len())
	require.Len(t, busy, 20, "19 beside the one that is needed, and the overflow value")
	for value := range busy {
		require.Zero(t, value.inFlight.Load())
	}
}

// light is a guard with states.
type light struct {
	*slots
	state string
}

func (l light) Report() policy.Report {
	return policy.Report{Kind: "light", Name: "crossing", State: policy.State{Name: l.state, All: []string{"green", "red"}}}
}

func TestReportCountsKeysByState(t *testing.T) {
	r := keyed.New(func(key string) light { return light{newSlots(1)(key), strings.TrimRight(key, "0123456789")} },
		keyed.Max(8), keyed.Max(9), keyed.Idle(time.Hour), keyed.MaxKeyLength(10))
	for _, key := range []string{"red1", "red2", "yellow", "blue", "7", "green1", "longer than 10", "red3", "red4"} {
		r.Get(key)
	}
	r.Delete("red4")
	before := r.Snapshot()
	report := r.Report()
	require.Equal(t, "keyed", report.Kind)
	require.Equal(t, "crossing", report.Name)
	require.Equal(t, policy.StageBulkhead, report.Stage)
	require.Equal(t, []policy.Setting{
		{Name: "New", Code: true}, setting("Max", "keys", 9), setting("Idle", "d", time.Hour), setting("MaxKeyLength", "bytes", 10),
	}, report.Settings)
	var keys []string
	for _, v := range report.Values {
		if v.Name == "keys" {
			require.Equal(t, policy.Value{Name: "keys", Label: v.Label, Unit: policy.UnitCount, Kind: policy.Gauge, Number: v.Number, Limit: 9}, v)
			keys = append(keys, fmt.Sprint(v.Label, " ", v.Number))
		}
	}
	require.Equal(t, []string{"green 1", "red 3", "blue 1", "total 1", "yellow 1"}, keys)
	for name, want := range map[string]float64{"made": 8, "deleted": 1, "evicted": 0, "expired": 0, "overflowed": 0, "too_long": 1} {
		got, ok := report.Value(name, "")
		require.True(t, ok, name)
		require.Equal(t, want, got.Number, name)
		require.Equal(t, policy.Counter, got.Kind)
	}

	guard := keyed.By(func(context.Context) string { return "yellow" }, r)
	report.Values = append(report.Values, policy.Value{Name: "rejected", Unit: policy.UnitCount, Kind: policy.Counter})
	require.Equal(t, report, guard.Report(), "nothing was refused")
	one, ok := guard.ReportOf("yellow")
	require.True(t, ok)
	require.Equal(t, "yellow", one.State.Name)
	same, ok := guard.ReportFor(t.Context())
	require.True(t, ok)
	require.Equal(t, one, same)
	_, ok = r.ReportOf("not there")
	require.False(t, ok)
	_, ok = r.ReportOf("longer than 10")
	require.False(t, ok)
	require.Equal(t, before, r.Snapshot(), "reading makes no key")
}

func TestReportOfValuesWithoutStates(t *testing.T) {
	r := keyed.New(newSlots(1))
	keys, _ := r.Report().Value("keys", "total")
	require.Zero(t, keys.Number)
	for i := range 1000 {
		r.Get(numbered(i))
	}
	keys, _ = r.Report().Value("keys", "total")
	require.EqualValues(t, 1000, keys.Number)
	_, ok := r.ReportOf(numbered(1))
	require.False(t, ok, "slots are no reporters")
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { r.Report() }), 1.0)

	throttles := keyed.New(func(string) *throttle.Throttle { return throttle.New() })
	throttles.Get("a")
	keys, _ = throttles.Report().Value("keys", "total")
	require.EqualValues(t, 1, keys.Number)
	report, ok := throttles.ReportOf("a")
	require.True(t, ok)
	require.Equal(t, "throttle", report.Kind)
}

// Reading is no use: what was only read about goes first.
func TestReportsCountAsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := keyed.New(newSlots(1), keyed.Idle(time.Hour))
		r.Get("a")
		for range 180 {
			time.Sleep(time.Minute)
			r.Report()
			r.ReportOf("a")
			r.Get("b")
		}
		require.Equal(t, 1, r.Len())
		require.EqualValues(t, 1, r.Snapshot().Expired)
	})
}

func TestFault255_ValuesMustSayWhenTheyAreIdle(t *testing.T) {
	type client struct{ breaker *slots }
	const complaint = "has no method Idle() bool, without which a value that matters could be evicted: add it, or give the option IdleIf"
	newClient := func(key string) *client { return &client{newSlots(1)(key)} }
	require.EqualError(t, keyed.Validate(newClient), "keyed: value type *keyed_test.client: "+complaint)
	require.PanicsWithError(t, "keyed: value type *keyed_test.client: "+complaint, func() { keyed.New(newClient) })
	require.ErrorContains(t, keyed.Validate(func(string) int { return 0 }), "value type int: "+complaint)
	require.ErrorContains(t, keyed.Validate(func(string) policy.Guard { return newSlots(1)("") }), "value type policy.Guard: "+complaint,
		"what the type does not promise, the next value may not keep")

	idle := keyed.IdleIf(func(c *client) bool { return c.breaker.Idle() })
	require.NoError(t, keyed.Validate(newClient, idle))
	require.NoError(t, keyed.Validate(newClient, keyed.IdleIf[*client](nil), idle), "only what results is checked")
	require.ErrorContains(t, keyed.Validate(newClient, idle, keyed.IdleIf[*client](nil)), "IdleIf: the function is nil")
	require.ErrorContains(t, keyed.Validate(newClient, always[client]()),
		"IdleIf: the function is a func(keyed_test.client) bool, but the values are of type *keyed_test.client")

	clients := keyed.New(newClient, idle, keyed.Max(1))
	a := clients.Get("a")
	a.breaker.down.Store(true)
	for i := range 100 {
		require.Same(t, clients.Overflow(), clients.Get(numbered(i)))
	}
	require.Same(t, a, clients.Get("a"), "an open breaker is not evicted")
}

func TestFault258_OnlyTheConfigurationThatResultsIsChecked(t *testing.T) {
	require.NoError(t, keyed.Validate(newSlots(1), keyed.Max(0), keyed.Max(1), keyed.Idle(0), keyed.Idle(1), keyed.MaxKeyLength(0), keyed.MaxKeyLength(1)))
	require.Error(t, keyed.Validate(newSlots(1), keyed.Max(1), keyed.Max(0)))
}

func TestFault268_ZeroValuesNameTheConstructor(t *testing.T) {
	var r keyed.Registry[string, *slots]
	for name, use := range map[string]func(){
		"Get":         func() { r.Get("a") },
		"Delete":      func() { r.Delete("a") },
		"All":         func() { r.All() },
		"Overflow":    func() { r.Overflow() },
		"Len":         func() { r.Len() },
		"Snapshot":    func() { r.Snapshot() },
		"Report":      func() { r.Report() },
		"ReportOf":    func() { r.ReportOf("a") },
		"Reconfigure": func() { _ = r.Reconfigure() },
		"String":      func() { _ = r.String() },
		"By":          func() { keyed.By(keyOf, &r) },
	} {
		require.PanicsWithValue(t, "keyed: a Registry must be made with keyed.New", use, name)
	}
	var g keyed.Guard[string, *slots]
	for name, use := range map[string]func(){
		"Admit":     func() { _, _, _ = g.Admit(t.Context()) },
		"AdmitOpen": func() { _, _, _, _ = g.AdmitOpen(t.Context()) },
		"Ready":     func() { _ = g.Ready(t.Context()) },
		"Changed":   func() { g.Changed(t.Context()) },
		"Check":     func() { _ = g.Check(nil, nil) },
		"Stage":     func() { g.Stage() },
		"TimeLimit": func() { g.TimeLimit() },
		"Idle":      func() { g.Idle() },
		"Report":    func() { g.Report() },
		"ReportOf":  func() { g.ReportOf("a") },
		"ReportFor": func() { g.ReportFor(context.Background()) },
		"String":    func() { _ = g.String() },
	} {
		require.PanicsWithValue(t, "keyed: a Guard must be made with keyed.By", use, name)
	}
}

func TestFault280_SnapshotsAreReadable(t *testing.T) {
	snapshot := keyed.Snapshot{Live: 1, Max: 2, Made: 3, Evicted: 4, Expired: 5, Deleted: 6, Overflowed: 7, TooLong: 8}
	text, err := json.Marshal(snapshot)
	require.NoError(t, err)
	require.JSONEq(t, `{"live":1,"max":2,"made":3,"evicted":4,"expired":5,"deleted":6,"overflowed":7,"too_long":8}`, string(text))
	var line strings.Builder
	slog.New(slog.NewTextHandler(&line, nil)).Info("m", "k", snapshot)
	require.Contains(t, line.String(), "k.live=1 k.max=2 k.made=3 k.evicted=4 k.expired=5 k.deleted=6 k.overflowed=7 k.too_long=8")
}

// Two makes that ask for each other's keys wait for ever, as New says, but where they ask through a guard, they wait only
// as long as the context allows, and nothing is stuck afterwards.
func TestFault282_MakesThatWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var guard *keyed.Guard[string, *slots]
		var ended atomic.Int64
		other := map[string]string{"a": "b", "b": "a"}
		r := keyed.New(func(key string) *slots {
			if other[key] != "" && ended.Load() < 2 {
				time.Sleep(time.Millisecond) // both have begun
				ctx, cancel := context.WithTimeout(withKey(context.Background(), other[key]), time.Minute)
				defer cancel()
				if admitted, ticket, err := guard.Admit(ctx); err == nil { // the other has given up first
					guard.Settle(admitted, ticket, policy.Outcome{})
				}
				ended.Add(1)
			}
			return newSlots(1)(key)
		})
		guard = keyed.By(keyOf, r)
		start := time.Now()
		var both sync.WaitGroup
		for key := range other {
			both.Go(func() { r.Get(key) })
		}
		both.Wait()
		require.Equal(t, time.Minute+time.Millisecond, time.Since(start))
		require.Equal(t, 2, r.Len())
	})
}

// The state of a pipeline is that of its breaker.
func TestReportCountsPipelinesByState(t *testing.T) {
	breakers := map[string]*breaker.Breaker{}
	r := keyed.New(func(host string) *resilience.Pipeline {
		breakers[host] = breaker.New()
		return resilience.Compose(retry.New(), policy.At(policy.StageShed, breakers[host]))
	})
	for _, host := range []string{"a", "b", "c"} {
		r.Get(host)
	}
	breakers["b"].Trip()
	report := r.Report()
	for state, want := range map[string]float64{"closed": 2, "open": 1, "half-open": 0, "forced open": 0, "forced closed": 0} {
		keys, ok := report.Value("keys", state)
		require.True(t, ok, state)
		require.Equal(t, want, keys.Number, state)
	}
	_, ok := report.Value("keys", "total")
	require.False(t, ok)
}
