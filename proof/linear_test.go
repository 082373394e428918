package proof

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
)

// A history is linearizable when its operations, which overlapped, could have happened one after the other in the model,
// each between its call and its return. The operations run on real threads, in a bubble whose clock stands still while
// they do; that time passes is an operation of its own, with nobody else around.

const (
	clients = 6
	phases  = 4
	steps   = 6 // of a client in a phase
	rounds  = 1000
)

// history is what happened, by a clock that only counts.
type history struct {
	clock      atomic.Int64
	mu         sync.Mutex
	operations []porcupine.Operation
}

func (h *history) do(client int, input any, f func() any) {
	call := h.clock.Add(1)
	output := f()
	end := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: input, Call: call, Output: output, Return: end})
}

// experiment is a system under test in one round.
type experiment struct {
	model porcupine.Model
	step  func(h *history, client int, random *rand.Rand) // one operation
	pass  func(h *history)                                // time passes; nil if it does not matter

	prepare func(operations []porcupine.Operation) // before they are checked; nil for nothing
}

// linearizable makes histories, and returns how many operations it checked and the first history that no order of the
// model explains.
func linearizable(t *testing.T, rounds int, start func() experiment) (checked int, violation []porcupine.Operation) {
	for round := range rounds {
		var h history
		var e experiment
		synctest.Test(t, func(t *testing.T) {
			e = start()
			for range phases {
				var running sync.WaitGroup
				var ready atomic.Int64
				for client := range clients {
					running.Go(func() {
						random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
						for ready.Add(1); ready.Load() < clients; { // so that they really overlap
							runtime.Gosched()
						}
						for range steps {
							e.step(&h, client, random)
						}
					})
				}
				running.Wait()
				if e.pass != nil {
					e.pass(&h)
				}
			}
		})
		checked += len(h.operations)
		if e.prepare != nil {
			e.prepare(h.operations)
		}
		switch porcupine.CheckOperationsTimeout(e.model, h.operations, 2*time.Minute) {
		case porcupine.Illegal:
			return checked, h.operations
		case porcupine.Unknown:
			t.Fatalf("round %d: not decided in time", round)
		}
	}
	return checked, nil
}

func requireLinearizable(t *testing.T, start func() experiment) {
	t.Helper()
	histories := testsize.Pick(rounds/4, rounds)
	checked, violation := linearizable(t, histories, start)
	require.True(t, violation == nil, "no order of the model explains this history")
	require.Greater(t, checked, histories*clients*phases, "hardly anything was checked")
	t.Logf("%d operations in %d histories", checked, histories)
}

func requireCaught(t *testing.T, start func() experiment) {
	t.Helper()
	_, violation := linearizable(t, rounds, start)
	require.NotNil(t, violation, "a wrong one was not caught")
}

// The bulkhead.

type (
	acquire  struct{ weight int }
	release  struct{ weight int }
	resize   struct{ limit int }
	look     struct{}
	slots    struct{ inFlight, limit int }
	weighted struct{}
)

var bulkheadModel = porcupine.Model{
	Init: func() any { return slots{0, 3} },
	Step: func(state, input, output any) (bool, any) {
		s := state.(slots)
		switch in := input.(type) {
		case acquire:
			fits := in.weight <= s.limit-s.inFlight
			if fits {
				s.inFlight += in.weight
			}
			return output.(bool) == fits, s
		case release:
			s.inFlight -= in.weight
			return s.inFlight >= 0, s
		case resize:
			s.limit = in.limit
			return true, s
		}
		return output.(slots) == s, s
	},
}

// slotSystem is a bulkhead, or what claims to be one.
type slotSystem interface {
	policy.Guard
	Reconfigure(limit int, options ...bulkhead.Option) error
	Snapshot() bulkhead.Snapshot
}

func weigh(ctx context.Context) int { return ctx.Value(weighted{}).(int) }

func slotExperiment(model porcupine.Model, system slotSystem, resizes bool) experiment {
	held := make([][]*policy.Permit, clients)
	weights := make([][]int, clients)
	return experiment{model: model, step: func(h *history, client int, random *rand.Rand) {
		last := len(held[client]) - 1
		switch draw := random.IntN(10); {
		case draw == 0:
			h.do(client, look{}, func() any {
				s := system.Snapshot()
				return slots{s.InFlight, s.Limit}
			})
		case draw == 1 && resizes:
			limit := 2 + random.IntN(3)
			h.do(client, resize{limit}, func() any { return system.Reconfigure(limit) })
		case draw < 6 && last >= 0:
			h.do(client, release{weights[client][last]}, func() any { return held[client][last].Done(nil) })
			held[client], weights[client] = held[client][:last], weights[client][:last]
		default:
			weight := 1 + random.IntN(2)
			h.do(client, acquire{weight}, func() any {
				permit, err := policy.Acquire(context.WithValue(context.Background(), weighted{}, weight), system)
				if err == nil {
					held[client], weights[client] = append(held[client], permit), append(weights[client], weight)
				}
				return err == nil
			})
		}
	}}
}

func TestLinearizableBulkhead(t *testing.T) {
	requireLinearizable(t, func() experiment {
		return slotExperiment(bulkheadModel, bulkhead.New(3, bulkhead.WeightOf(weigh)), true)
	})
}

// With a queue that is long enough nobody is refused: an attempt takes effect when it gets its slots.
func TestLinearizableBulkheadWithAQueue(t *testing.T) {
	requireLinearizable(t, func() experiment {
		b := bulkhead.New(3, bulkhead.Queue(clients, time.Hour))
		return experiment{model: bulkheadModel, step: func(h *history, client int, random *rand.Rand) {
			var permit *policy.Permit
			h.do(client, acquire{1}, func() any {
				var err error
				permit, err = policy.Acquire(context.Background(), b)
				return err == nil
			})
			if random.IntN(2) == 0 {
				h.do(client, look{}, func() any { s := b.Snapshot(); return slots{s.InFlight, s.Limit} })
			}
			h.do(client, release{1}, func() any { return permit.Done(nil) })
		}}
	})
}

// checkThenAct is a bulkhead that looks first and takes afterwards.
type checkThenAct struct {
	inFlight, limit atomic.Int64
}

func (*checkThenAct) Stage() policy.Stage { return policy.StageBulkhead }
func (c *checkThenAct) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	weight := int64(weigh(ctx))
	if c.inFlight.Load()+weight > c.limit.Load() {
		return nil, policy.Ticket{}, &policy.Rejection{}
	}
	runtime.Gosched()
	c.inFlight.Add(weight)
	return ctx, policy.Ticket{Number: weight}, nil
}
func (c *checkThenAct) Settle(_ context.Context, ticket policy.Ticket, _ policy.Outcome) {
	c.inFlight.Add(-ticket.Number)
}
func (c *checkThenAct) Reconfigure(limit int, _ ...bulkhead.Option) error {
	c.limit.Store(int64(limit))
	return nil
}
func (c *checkThenAct) Snapshot() bulkhead.Snapshot {
	return bulkhead.Snapshot{InFlight: int(c.inFlight.Load()), Limit: int(c.limit.Load())}
}

// forgetful is a bulkhead that loses a slot when its limit changes.
type forgetful struct{ *bulkhead.Bulkhead }

func (f forgetful) Reconfigure(limit int, options ...bulkhead.Option) error {
	_, _, _ = f.Admit(context.WithValue(context.Background(), weighted{}, 1))
	return f.Bulkhead.Reconfigure(limit, options...)
}

func TestLinearizableCatchesWrongBulkheads(t *testing.T) {
	t.Run("check, then act", func(t *testing.T) {
		requireCaught(t, func() experiment {
			c := &checkThenAct{}
			c.limit.Store(3)
			return slotExperiment(bulkheadModel, c, false)
		})
	})
	t.Run("a slot lost", func(t *testing.T) {
		requireCaught(t, func() experiment {
			return slotExperiment(bulkheadModel, forgetful{bulkhead.New(3, bulkhead.WeightOf(weigh))}, true)
		})
	})
}

// The limiter.

type (
	take     struct{ cost, number int } // every one has a number of its own
	giveBack take
	wait     struct{ seconds int }
)

const burst = 4

// bucket is a bucket of tokens. What a token that goes back is worth depends on how full the bucket has been since it was
// taken, see package internal/peaks. What was missing is remembered for the moments before a take, if it was less than
// all takes together are worth; of these moments a later one with as little missing makes an earlier one superfluous. So
// there are never more than there are tokens, and the limiter, which has room for four, is exact.
type bucket struct {
	left, worth int
	moments     int
	missing     [burst + 1]int                  // at those moments, in order
	out         [clients * phases * steps]uint8 // for each take that may go back: 1 + the moments before it
}

func (b *bucket) take(t take) {
	if missing := burst - b.left; missing < b.worth {
		b.worth = missing
		for b.moments > 0 && b.missing[b.moments-1] >= missing {
			b.moments--
			b.missing[b.moments] = 0
		}
		b.missing[b.moments] = missing
		for i := range b.out {
			b.out[i] = min(b.out[i], uint8(b.moments+1))
		}
		b.moments++
	}
	b.left -= t.cost
	b.worth += t.cost
	b.out[t.number] = uint8(b.moments + 1)
}

func (b *bucket) giveBack(t take) {
	since := int(b.out[t.number]) - 1
	worth := t.cost
	for _, missing := range b.missing[since:b.moments] {
		worth = min(worth, missing)
	}
	for i := since; i < b.moments; i++ {
		b.missing[i] -= worth
	}
	b.left = min(burst, b.left+worth)
	b.worth -= worth
	b.out[t.number] = 0
}

var limiterModel = porcupine.Model{
	Init: func() any { return bucket{left: burst} },
	Step: func(state, input, output any) (bool, any) {
		b := state.(bucket)
		switch in := input.(type) {
		case take:
			enough := b.left >= in.cost
			if enough {
				b.take(in)
			}
			return output.(bool) == enough, b
		case giveBack:
			if b.out[in.number] == 0 {
				return false, b
			}
			b.giveBack(take(in))
			return true, b
		case wait:
			b.left = min(burst, b.left+in.seconds)
			return true, b
		}
		return output.(int) == b.left, b
	},
}

func tokenExperiment(l *ratelimit.Limiter, guard policy.Guard) experiment {
	held := make([][]*policy.Permit, clients)
	takes := make([][]take, clients)
	var numbers atomic.Int64
	return experiment{
		model: limiterModel,
		step: func(h *history, client int, random *rand.Rand) {
			last := len(held[client]) - 1
			switch draw := random.IntN(10); {
			case draw == 0:
				h.do(client, look{}, func() any { return int(l.Snapshot().Tokens + 0.5) })
			case draw < 4 && last >= 0:
				h.do(client, giveBack(takes[client][last]), func() any { return held[client][last].Settle(policy.Outcome{Kind: policy.NotCalled}) })
				held[client], takes[client] = held[client][:last], takes[client][:last]
			default:
				t := take{random.IntN(4), int(numbers.Add(1)) - 1}
				h.do(client, t, func() any {
					permit, err := policy.Acquire(context.WithValue(context.Background(), weighted{}, t.cost), guard)
					if err == nil {
						held[client], takes[client] = append(held[client], permit), append(takes[client], t)
					}
					return err == nil
				})
			}
		},
		pass: func(h *history) {
			h.do(clients, wait{2}, func() any { time.Sleep(2 * time.Second); return nil })
		},
	}
}

func TestLinearizableLimiter(t *testing.T) {
	requireLinearizable(t, func() experiment {
		l := ratelimit.New(1, burst, ratelimit.CostOf(weigh))
		return tokenExperiment(l, l)
	})
}

// generous is a limiter that now and then gives a token back that was spent.
type generous struct {
	*ratelimit.Limiter
	calls atomic.Int64
}

func (g *generous) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	inner, ticket, err := g.Limiter.Admit(ctx)
	if err == nil && g.calls.Add(1)%7 == 0 {
		g.Limiter.Settle(inner, ticket, policy.Outcome{Kind: policy.NotCalled})
	}
	return inner, ticket, err
}

func TestLinearizableCatchesAWrongLimiter(t *testing.T) {
	requireCaught(t, func() experiment {
		l := ratelimit.New(1, burst, ratelimit.CostOf(weigh))
		return tokenExperiment(l, &generous{Limiter: l})
	})
}

// The breaker.

type (
	admit    struct{}
	admitted struct {
		ok, probe  bool
		generation uint64
	}
	settled struct {
		admitted
		slot    int64
		success bool
		late    bool // a success during the settlement of a failure
	}
	command struct{ reset bool }
	seen    struct {
		state      breaker.State
		generation uint64
		requests   uint64
		failures   uint64
	}
	circuit struct {
		seen
		row     int // failures
		probing int64
		passed  int
	}
)

const (
	threshold = 2
	needed    = 2
)

func (c circuit) enter(state breaker.State) circuit {
	c.state, c.row, c.passed, c.probing = state, 0, 0, 0
	c.generation++
	return c
}

// circuitModel: 2 failures in a row, 1 probe at a time, 2 successes close. A lease never ends in it.
//
// A success takes no lock, so one that comes while a failure is being settled can be counted and yet be too late to break
// the row that this failure ends; what is admitted until that failure has been settled is admitted to the old generation.
// This is the only freedom: a success that overlaps no failure breaks the row.
var circuitModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{circuit{seen: seen{generation: 1}}} },
	Step: func(state, input, output any) []any {
		c := state.(circuit)
		legal, next := c.step(input, output)
		if !legal {
			return nil
		}
		states := []any{next}
		if in, ok := input.(settled); ok && in.late && !in.probe && in.generation == c.generation && c.row > 0 {
			next.row = c.row
			states = append(states, next)
		}
		return states
	},
}

// markLate marks the successes that overlap a failure.
func markLate(operations []porcupine.Operation) {
	for i, success := range operations {
		in, ok := success.Input.(settled)
		if !ok || !in.success {
			continue
		}
		for _, failure := range operations {
			if other, ok := failure.Input.(settled); ok && !other.success && failure.Call < success.Return && success.Call < failure.Return {
				in.late = true
			}
		}
		operations[i].Input = in
	}
}

func (c circuit) step(input, output any) (bool, circuit) {
	if c.state == dueState {
		switch input.(type) {
		case admit:
			c = c.enter(breaker.HalfOpen)
		case look:
			want := c.seen
			want.state = breaker.HalfOpen
			return output.(seen) == want, c
		}
	}
	switch in := input.(type) {
	case admit:
		out := output.(admission)
		switch {
		case c.state == breaker.Closed:
			return out.ok && !out.probe && out.generation == c.generation, c
		case c.state == breaker.HalfOpen && c.probing == 0:
			c.requests++
			c.probing = out.slot
			return out.ok && out.probe && out.generation == c.generation, c
		}
		return !out.ok, c
	case settled:
		return true, c.settle(in)
	case command:
		if in.reset {
			return true, c.enter(breaker.Closed)
		}
		return true, c.enter(breaker.Open)
	case wait: // the open time is over; the breaker becomes half-open when the next attempt comes
		if c.state == breaker.Open {
			c.state = dueState
		}
		return true, c
	}
	return output.(seen) == c.seen, c
}

// dueState is an open breaker whose open time is over, in the model.
const dueState = breaker.State(100)

// admission is what an attempt got.
type admission struct {
	admitted
	slot int64
}

func (c circuit) settle(in settled) circuit {
	if in.probe {
		if in.generation != c.generation || in.slot != c.probing {
			return c
		}
		c.probing = 0
		switch {
		case !in.success:
			c.failures++
			return c.enter(breaker.Open)
		case c.passed+1 == needed:
			return c.enter(breaker.Closed)
		}
		c.passed++
		return c
	}
	c.requests++
	if in.generation != c.generation {
		return c
	}
	if in.success {
		c.row = 0
		return c
	}
	c.failures++
	if c.row++; c.row == threshold {
		return c.enter(breaker.Open)
	}
	return c
}

func circuitExperiment(b *breaker.Breaker, guard policy.Guard) experiment {
	type attempt struct {
		admission
		ctx    context.Context
		ticket policy.Ticket
	}
	held := make([][]attempt, clients)
	return experiment{
		model:   circuitModel.ToModel(),
		prepare: markLate,
		step: func(h *history, client int, random *rand.Rand) {
			last := len(held[client]) - 1
			switch draw := random.IntN(20); {
			case draw < 2:
				h.do(client, look{}, func() any {
					s := b.Snapshot()
					return seen{s.State, s.Generation, s.Requests, s.Failures}
				})
			case draw == 2:
				h.do(client, command{true}, func() any { b.Reset(); return nil })
			case draw == 3:
				h.do(client, command{false}, func() any { b.Trip(); return nil })
			case draw < 11 && last >= 0:
				a := held[client][last]
				held[client] = held[client][:last]
				outcome := policy.Outcome{Kind: policy.Returned}
				success := random.IntN(2) == 0
				if !success {
					outcome.Err = errDown
				}
				h.do(client, settled{a.admitted, a.slot, success, false}, func() any { guard.Settle(a.ctx, a.ticket, outcome); return nil })
			default:
				h.do(client, admit{}, func() any {
					ctx, ticket, err := guard.Admit(context.Background())
					if err != nil {
						return admission{}
					}
					a := admission{admitted{true, ticket.Number > 0, ticket.Period}, ticket.Number}
					held[client] = append(held[client], attempt{a, ctx, ticket})
					return a
				})
			}
		},
		pass: func(h *history) {
			h.do(clients, wait{}, func() any { time.Sleep(time.Second); return nil })
		},
	}
}

func newCircuit() *breaker.Breaker {
	return breaker.New(breaker.ConsecutiveFailures(threshold), breaker.OpenFor(time.Second), breaker.Jitter(0),
		breaker.Successes(needed), breaker.ProbeLease(time.Hour))
}

func TestLinearizableBreaker(t *testing.T) {
	requireLinearizable(t, func() experiment {
		b := newCircuit()
		return circuitExperiment(b, b)
	})
}

// sticky is a breaker that counts late outcomes, as if they belonged to what it is now.
type sticky struct{ *breaker.Breaker }

func (s sticky) Settle(ctx context.Context, ticket policy.Ticket, outcome policy.Outcome) {
	if ticket.Number == 0 {
		ticket.Period = s.Snapshot().Generation
	}
	s.Breaker.Settle(ctx, ticket, outcome)
}

// lenient is a breaker that lets every fourth refused attempt through.
type lenient struct {
	*breaker.Breaker
	refused atomic.Int64
}

func (l *lenient) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	inner, ticket, err := l.Breaker.Admit(ctx)
	if err != nil && l.refused.Add(1)%4 == 0 {
		return ctx, policy.Ticket{Period: l.Snapshot().Generation}, nil
	}
	return inner, ticket, err
}

func TestLinearizableCatchesWrongBreakers(t *testing.T) {
	t.Run("late outcomes count", func(t *testing.T) {
		requireCaught(t, func() experiment { b := newCircuit(); return circuitExperiment(b, sticky{b}) })
	})
	t.Run("every fourth refusal is let through", func(t *testing.T) {
		requireCaught(t, func() experiment { b := newCircuit(); return circuitExperiment(b, &lenient{Breaker: b}) })
	})
}
