package proof

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/timeout"
)

var (
	errDown    = errors.New("down")
	errIgnored = errors.New("a mistake of the caller")
	errUnclear = errors.New("the classifier panics at this")
)

const (
	panicValue      = "the operation panics"
	panicOfFunction = "a function of the user panics"
)

// outcome is a way in which an attempt can end.
type outcome struct {
	name  string
	inner policy.Layer // what stands between the guard and the operation
	end   func(ctx context.Context) error
	loud  bool // every hook panics
	fails bool // a function that the user gave to the guard panics
	check func(t *testing.T, err error, recovered any, exited bool)
}

var errFurtherIn = errors.New("refused further in")

// refuser is a guard that waits, and then refuses.
type refuser struct{ release <-chan struct{} }

func (*refuser) Stage() policy.Stage { return policy.StageChaos }
func (r *refuser) Admit(context.Context) (context.Context, policy.Ticket, error) {
	<-r.release
	return nil, policy.Ticket{}, &policy.Rejection{Kind: "refuser", Reason: errFurtherIn}
}
func (*refuser) Settle(context.Context, policy.Ticket, policy.Outcome) {}

func returns(want error) func(*testing.T, error, any, bool) {
	return func(t *testing.T, err error, recovered any, exited bool) {
		require.ErrorIs(t, err, want)
		require.Nil(t, recovered)
		require.False(t, exited)
	}
}

// outcomes are the columns of every matrix, in order. "hang" never ends while the matrix is looked at.
func outcomes() []outcome {
	fail := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	return []outcome{
		{name: "ok", end: fail(nil), check: returns(nil)},
		{name: "error", end: fail(errDown), check: returns(errDown)},
		{name: "ignored", end: fail(errIgnored), check: returns(errIgnored)},
		{name: "panic", end: func(context.Context) error { panic(panicValue) }, check: func(t *testing.T, err error, recovered any, exited bool) {
			require.Equal(t, panicValue, recovered)
		}},
		{name: "Goexit", end: func(context.Context) error { runtime.Goexit(); return nil }, check: func(t *testing.T, err error, recovered any, exited bool) {
			require.True(t, exited)
		}},
		{name: "hang", end: fail(nil), check: returns(nil)},
		{name: "cancel", end: waits, check: returns(context.Canceled)},
		{name: "timeout", inner: timeout.PerAttempt(time.Second), end: waits, check: returns(timeout.ErrTimeout)},
		{name: "refused", inner: &refuser{}, end: fail(nil), check: returns(errFurtherIn)},
		{name: "function", end: fail(errUnclear), fails: true, check: func(t *testing.T, err error, recovered any, exited bool) {
			require.Equal(t, panicOfFunction, recovered)
		}},
		{name: "hooks", end: fail(errDown), loud: true, check: returns(errDown)},
	}
}

// subject is a guard, or a wrapper, in one of its states.
type subject struct {
	layer     policy.Layer
	meanwhile func()        // happens while the operation runs
	read      func() string // what the outcome has changed
	rest      func() error  // once everything has ended: is everything in its place?

	check func(t *testing.T, err error, recovered any, exited bool) // of what the caller gets, instead of that of the outcome
}

// matrix is every outcome in every state of a guard. A cell of the table is what read says; one that begins with "R"
// means that the guard refuses, and "-" that the outcome does not exist there.
//
// Every attempt is made twice, with resilience.Do and with resilience.Open, and must come to the same. A result that stays open
// and its permit are looked at more closely by ends.
type matrix struct {
	table  string
	states map[string]func(o outcome) subject
	opened map[string]string // the cells that resilience.Open has otherwise, by state and outcome
}

func (m matrix) run(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(m.table), "\n")
	columns := outcomes()
	for i, cell := range cells(rows[0])[1:] {
		require.Equal(t, columns[i].name, cell, "the head of the table")
	}
	ran := 0
	for _, row := range rows[1:] {
		want := cells(row)
		require.Len(t, want, len(columns)+1, row)
		state := m.states[want[0]]
		require.NotNil(t, state, "there is no state %q", want[0])
		for i := range columns {
			if want[i+1] == "-" {
				continue
			}
			for how, call := range ways {
				want := want[i+1]
				if other, ok := m.opened[cells(row)[0]+"/"+columns[i].name]; ok && how == "Open" {
					want = other
				}
				ran++
				t.Run(cells(row)[0]+"/"+columns[i].name+"/"+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						o := outcomes()[i]
						require.Equal(t, want, m.cell(t, o, state(o), call, strings.HasPrefix(want, "R")))
					})
				})
			}
		}
	}
	require.Len(t, rows, len(m.states)+1, "a state is not in the table")
	t.Logf("%d cells", ran)
}

func cells(row string) []string {
	all := strings.Split(row, "|")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// way is how an attempt is made.
type way func(ctx context.Context, pipeline *resilience.Pipeline, op func(context.Context) error) error

var ways = map[string]way{
	"Do": func(ctx context.Context, pipeline *resilience.Pipeline, op func(context.Context) error) error {
		return pipeline.Run(ctx, op)
	},
	"Open": func(ctx context.Context, pipeline *resilience.Pipeline, op func(context.Context) error) error {
		entered, permit, err := resilience.Open(ctx, pipeline, func(ctx context.Context) (context.Context, error) {
			return ctx, op(ctx)
		})
		switch {
		case err != nil && permit != nil:
			return fmt.Errorf("a permit beside %w", err)
		case err == nil && permit == nil:
			return errors.New("no permit")
		case permit != nil && permit.Context() != entered:
			return errors.New("the context of the permit is not that of the operation")
		case permit.Done(nil) != (err == nil):
			return errors.New("the first settlement does not count, or that of a nil permit does")
		case permit.Done(nil):
			return errors.New("the second settlement counts")
		}
		return err
	},
}

// cell makes one attempt, and returns what has become of the guard.
func (m matrix) cell(t *testing.T, o outcome, s subject, call way, refused bool) string {
	layers := []policy.Layer{s.layer}
	if o.inner != nil {
		layers = append(layers, o.inner)
	}
	if o.loud {
		layers = append(layers, resilience.Observe(policy.ObserverFunc(func(context.Context, policy.Event) { panic("an observer panics") })))
	}
	pipeline := resilience.Compose(layers...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release, ended := make(chan struct{}), make(chan struct{})
	if r, ok := o.inner.(*refuser); ok {
		r.release = release
	}
	var err error
	var recovered any
	exited := true
	var entered atomic.Bool
	go func() {
		defer close(ended)
		defer func() {
			if recovered = recover(); recovered != nil {
				exited = false
			}
		}()
		err = call(ctx, pipeline, func(ctx context.Context) error {
			entered.Store(true)
			<-release
			return o.end(ctx)
		})
		exited = false
	}()
	synctest.Wait()
	if s.meanwhile != nil {
		s.meanwhile()
	}
	switch o.name {
	case "hang":
		time.Sleep(10 * time.Second)
		got := s.read()
		close(release)
		<-ended
		synctest.Wait() // for what was left behind
		require.NoError(t, s.rest())
		return got
	case "cancel":
		cancel()
	}
	close(release)
	time.Sleep(2 * time.Second) // longer than the timeout further in
	<-ended
	switch {
	case refused:
		require.ErrorIs(t, err, policy.ErrRejected)
		require.False(t, entered.Load(), "refused, but the operation was entered")
	case s.check != nil:
		s.check(t, err, recovered, exited)
	default:
		o.check(t, err, recovered, exited)
	}
	require.NoError(t, s.rest())
	return s.read()
}

func TestMatrixCatchesAWrongCell(t *testing.T) {
	require.Equal(t, []string{"a", "b c", ""}, cells("a| b c |"))
	synctest.Test(t, func(t *testing.T) {
		o := outcomes()[1]
		got := breakerMatrix.cell(t, o, breakerMatrix.states["closed, edge"](o), ways["Open"], false)
		require.NotEqual(t, "closed F", got, "one failure at the edge must open")
		require.Equal(t, "open F", got)
	})
}

// gained names the counts that have grown, by one unless it says otherwise.
func gained(counts map[string][2]uint64) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if count := counts[name]; count[1] != count[0] {
			text += name
			if count[1] != count[0]+1 {
				text += fmt.Sprintf("+%d", count[1]-count[0])
			}
		}
	}
	if text == "" {
		return "."
	}
	return text
}
