package ratelimit

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-resilience/resilience/internal/keytable"
	"github.com/go-resilience/resilience/internal/testsize"
	"github.com/go-resilience/resilience/policy"
)

// gcra is the generic cell rate algorithm in exact fractions: for each key the time, in tokens, at which its bucket will be
// full again, and a ceiling that goes up with time. It knows nothing of units, tables or hashes.
type gcra struct {
	rate, ceiling *big.Rat // tokens per nanosecond; in tokens
	burst         int64
	since         time.Duration // when the ceiling was there
	words         map[string]*big.Rat
}

func newGCRA(perSecond float64, burst int) *gcra {
	g := &gcra{ceiling: big.NewRat(int64(1<<50), 1), words: make(map[string]*big.Rat)}
	g.set(perSecond, burst)
	return g
}

func (g *gcra) set(perSecond float64, burst int) {
	g.rate = new(big.Rat).SetFloat64(perSecond)
	g.rate.Quo(g.rate, big.NewRat(int64(time.Second), 1))
	g.burst = int64(burst)
}

func (g *gcra) ceilingAt(at time.Duration) *big.Rat {
	ceiling := new(big.Rat).Mul(g.rate, big.NewRat(int64(max(0, at-g.since)), 1))
	return ceiling.Add(ceiling, g.ceiling)
}

func (g *gcra) reconfigure(at time.Duration, perSecond float64, burst int) {
	g.ceiling = g.ceilingAt(at)
	g.since = max(at, g.since) + 1 // a change takes a nanosecond
	g.set(perSecond, burst)
}

// from returns the word of a key, or the moment if that is later.
func (g *gcra) from(key string, at time.Duration) *big.Rat {
	from := new(big.Rat).Sub(g.ceilingAt(at), big.NewRat(g.burst, 1))
	if word := g.words[key]; word != nil && word.Cmp(from) > 0 {
		from.Set(word)
	}
	return from
}

// tokens returns how many there are.
func (g *gcra) tokens(key string, at time.Duration) *big.Rat {
	return new(big.Rat).Sub(g.ceilingAt(at), g.from(key, at))
}

func (g *gcra) take(key string, at time.Duration, n int64) bool {
	if g.tokens(key, at).Cmp(big.NewRat(n, 1)) < 0 {
		return false
	}
	g.words[key] = g.from(key, at).Add(g.from(key, at), big.NewRat(n, 1))
	return true
}

// worth returns what n tokens that were taken are worth.
func (g *gcra) worth(n int64, taken, at time.Duration) *big.Rat {
	worth := big.NewRat(n, 1)
	if taken < g.since {
		return new(big.Rat)
	}
	worth.Sub(worth, g.ceilingAt(at)).Add(worth, g.ceilingAt(taken))
	if worth.Sign() < 0 {
		return new(big.Rat)
	}
	return worth
}

type keyAndCost struct {
	key  string
	cost int
}

type perKeyMark struct{}

func keyMark(ctx context.Context) string { return ctx.Value(perKeyMark{}).(keyAndCost).key }
func costOfKey(ctx context.Context) int  { return ctx.Value(perKeyMark{}).(keyAndCost).cost }
func asking(key string, n int) context.Context {
	return context.WithValue(context.Background(), perKeyMark{}, keyAndCost{key, n})
}

// apart returns keys that have nothing in common in the table of p.
func apart(p *PerKey[string], n int) (keys []string) {
	seen := make(map[uint64]bool)
	for i := 0; len(keys) < n; i++ {
		key := string(rune('a'+i%26)) + string(rune('a'+i/26))
		if home := maphash.Comparable(p.seed, key) % 128 / 2; !seen[home] {
			seen[home] = true
			keys = append(keys, key)
		}
	}
	return keys
}

var notCalled = policy.Outcome{Kind: policy.NotCalled}

// Every decision, every time to come back and every refund is that of the exact algorithm.
func TestPerKeyIsExact(t *testing.T) {
	for range testsize.Pick(1, 100) { // each 100 times
		rapid.Check(t, func(r *rapid.T) { exactRun(t, r) })
	}
}

func exactRun(t *testing.T, r *rapid.T) {
	perSecond := rapid.SampledFrom([]float64{1.0 / 1024, 1, 10, 100, 1000, 1e6}).Draw(r, "rate")
	burst := rapid.IntRange(1, 8).Draw(r, "burst")
	steps := rapid.SliceOfN(rapid.IntRange(0, 1<<24), 20, 120).Draw(r, "steps")
	var problem any
	synctest.Test(t, func(*testing.T) {
		defer func() { problem = recover() }()
		p := NewPerKey(perSecond, burst, keyMark, CostOf(costOfKey), Keys(100))
		g := newGCRA(perSecond, burst)
		keys := apart(p, 4)
		type attempt struct {
			key    string
			ticket policy.Ticket
			n      int64
			at     time.Duration
		}
		var open []attempt
		now := time.Duration(0)
		for _, s := range steps {
			what, value := s%8, s/8
			key := keys[value%len(keys)]
			switch value /= len(keys); what {
			case 0, 1, 2, 3:
				n := 1 + value%burst
				ctx, ticket, err := p.Admit(asking(key, n))
				want := g.take(key, now, int64(n))
				if (err == nil) != want {
					panic(errorfAt(now, "%v, but want %v: %v tokens for %d", err, want, g.tokens(key, now), n))
				}
				if err == nil {
					open = append(open, attempt{key, ticket, int64(n), max(now, g.since)})
					_ = ctx
					continue
				}
				wait, ok := policy.RetryAfter(err)
				if !ok || g.tokens(key, now+wait).Cmp(big.NewRat(int64(n), 1)) < 0 ||
					g.tokens(key, now+wait-1).Cmp(big.NewRat(int64(n), 1)) >= 0 && now+wait-1 > g.since {
					panic(errorfAt(now, "come back in %v (%v): %v tokens then", wait, ok, g.tokens(key, now+wait)))
				}
			case 4: // somewhere between nothing and a few tokens
				d := time.Duration(float64(value%4000) / 1000 / perSecond * 1e9)
				time.Sleep(d)
				now += d
			case 5:
				if len(open) == 0 {
					continue
				}
				i := value % len(open)
				a := open[i]
				open = append(open[:i], open[i+1:]...)
				p.Settle(context.Background(), a.ticket, notCalled)
				if worth := g.worth(a.n, a.at, now); worth.Sign() > 0 {
					g.words[a.key].Sub(g.words[a.key], worth)
				}
			case 6:
				if value%8 > 0 {
					continue
				}
				// From the rate of the beginning an eighth to twice as much: the ceiling can be computed without rounding.
				factor := []float64{0.125, 0.25, 0.5, 1, 2}[value/8%5]
				burst = 1 + value/64%8
				if err := p.Reconfigure(perSecond*factor, burst, Keys(100)); err != nil {
					panic(err)
				}
				g.reconfigure(now, perSecond*factor, burst)
			case 7:
				report, _ := p.ReportOf(key)
				want, _ := g.tokens(key, now).Float64()
				if got := report.Values[0].Number; math.Abs(got-want) > 1e-9*(1+want) {
					panic(errorfAt(now, "%v tokens instead of %v", got, want))
				}
			}
		}
	})
	if problem != nil {
		r.Fatal(problem)
	}
}

// Whatever the rates, no more is admitted than the exact algorithm does, and no less but for a rounding far below a token.
func TestPerKeyIsNeverMoreThanExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rates := rapid.OneOf(rapid.Float64Range(1e-3, 1e5), rapid.SampledFrom([]float64{0, MinRate, 1e6}))
		perSecond := rates.Draw(r, "rate")
		burst := rapid.SampledFrom([]int{1, 2, 5, 1000, MaxBurst}).Draw(r, "burst")
		steps := rapid.SliceOfN(rapid.IntRange(0, 1<<24), 20, 80).Draw(r, "steps")
		changes := rapid.SliceOfN(rates, 5, 5).Draw(r, "changes")
		var problem any
		synctest.Test(t, func(*testing.T) {
			defer func() { problem = recover() }()
			p := NewPerKey(perSecond, burst, keyMark, CostOf(costOfKey), Keys(100))
			g := newGCRA(perSecond, burst)
			keys := apart(p, 2)
			now, rounding := time.Duration(0), 1e-6
			for _, s := range steps {
				what, value := s%6, s/6
				key := keys[value%len(keys)]
				switch value /= len(keys); what {
				default:
					n := 1 + value%min(burst, 10)
					_, _, err := p.Admit(asking(key, n))
					had, _ := g.tokens(key, now).Float64()
					if err == nil {
						g.words[key] = g.from(key, now).Add(g.from(key, now), big.NewRat(int64(n), 1))
						if had < float64(n)-rounding {
							panic(errorfAt(now, "%d admitted with %v tokens", n, had))
						}
					} else if had > float64(n)+rounding+perSecond*4e-9 {
						panic(errorfAt(now, "%d refused with %v tokens: %v", n, had, err))
					}
				case 4:
					d := time.Duration(value) * 300
					if perSecond > 0 && value%3 > 0 {
						d = time.Duration(min(float64(value%4000)/1000/perSecond, 3e8) * 1e9)
					}
					time.Sleep(d)
					now += d
				case 5:
					if value%4 > 0 {
						continue
					}
					// The burst only gets smaller: a bucket that is full may be forgotten, and have a larger burst at once.
					perSecond, burst = changes[value/4%5], min(burst, []int{1, 3, 50, 1 << 20}[value/20%4])
					rounding += 1e-6
					if err := p.Reconfigure(perSecond, burst, Keys(100)); err != nil {
						panic(err)
					}
					g.reconfigure(now, perSecond, burst)
				}
				rounding += 1e-9 // what is rounded is rounded for good
			}
		})
		if problem != nil {
			r.Fatal(problem)
		}
	})
}

type runError struct{ text string }

func (e runError) Error() string { return e.text }

func errorfAt(at time.Duration, format string, args ...any) error {
	return runError{"after " + at.String() + ": " + fmt.Sprintf(format, args...)}
}

// The numbers in the comment of quota.
func TestQuotaByExample(t *testing.T) {
	const token = 80_000_000
	configured := func(perSecond float64, burst int) *config {
		c, err := configurePerKey[string](nil, perSecond, burst, nil)
		require.NoError(t, err)
		return c
	}
	q := firstQuota(configured(100, 5), 0)
	require.EqualValues(t, token, q.token)
	require.EqualValues(t, 5*token, q.full)
	floor := q.ceiling - q.full
	_, outcome := q.table.Take(1, floor, q.ceiling, 3*token)
	require.Equal(t, keytable.Taken, outcome)
	word, _ := q.table.Word(1)
	require.Equal(t, floor+3*token, word)
	require.EqualValues(t, 2*token, q.ceiling-word)
	later := q.ceilingAt(10 * time.Millisecond)
	require.EqualValues(t, token, later-q.ceiling)
	require.EqualValues(t, 3*token, later-word)

	faster := q.after(configured(200, 10), func() time.Duration { return 10 * time.Millisecond })
	require.Same(t, q.table, faster.table)
	require.EqualValues(t, token, faster.token)
	require.EqualValues(t, 16, faster.ceilingAt(10*time.Millisecond+1)-later)
	require.Equal(t, later-q.full-5*token, later-faster.full, "the floor")
	word, _ = faster.table.Word(1)
	require.EqualValues(t, 3*token, faster.ceiling-word)
}

func TestQuotaUnits(t *testing.T) {
	for _, perSecond := range []float64{MinRate, 0.1, 1, 3, 1000, 1e6, 7e8, MaxRate} {
		for _, burst := range []int{1, 10, MaxBurst} {
			c, err := configurePerKey[string](nil, perSecond, burst, nil)
			require.NoError(t, err)
			q := firstQuota(c, 0)
			require.Positive(t, q.token)
			require.LessOrEqual(t, q.full, int64(maxBurstUnits))
			effective := float64(q.speed) / (1 << speedBits) / float64(q.token) * 1e9
			require.LessOrEqual(t, effective, perSecond*(1+1e-15))
			require.GreaterOrEqual(t, effective, perSecond*(1-perSecond/8e9-1e-9-1/float64(q.speed)), "%v %v", perSecond, burst)
			require.Greater(t, q.reach, 20*365*24*time.Hour)
			for _, ceiling := range []int64{q.ceiling, q.ceiling + 1, q.ceiling + q.token, q.ceiling + 12345} {
				at := q.timeTo(ceiling)
				if at >= q.reach {
					continue
				}
				require.GreaterOrEqual(t, q.ceilingAt(at), ceiling)
				if at > 0 {
					require.Less(t, q.ceilingAt(at-1), ceiling)
				}
			}
			require.LessOrEqual(t, q.ceilingAt(q.reach-1), int64(lastCeiling))
		}
	}
}
