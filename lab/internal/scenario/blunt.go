package scenario

// Blunt is a check that a change by a fifth of what it measures need not fail.
type Blunt struct {
	Why string

	// A number scatters too much, and what it would cost to measure it better is not worth it where a fifth more or less of a
	// parameter moves it much further. LAB_MUTANTS=usual plays that.
	Param  string
	Factor float64
	part   func(*Lab)
}

// BluntChecks is all checks that are not [Check.Sharp] in a usual run, by the name of the scenario and what is checked.
// TestPagesShowWhatTheCodeDoes requires that it is neither more nor fewer.
var BluntChecks = map[string]Blunt{
	"L5 recovery at s, no retry":                                       {drains, "capacity", .8, runStorm},
	"L5 recovery at s, half the calls, 1 retry":                        {drains, "capacity", .8, runStorm},
	"L5 sent/s from 60 s on, half the calls, 1 retry":                  {drains, "capacity", .8, runStorm},
	"L5 recovery at s, 1 retry, budget 5 %":                            {drains, "capacity", .8, runStorm},
	"L5 slow time: s until the goodput is back":                        {drains, "slowrate", .8, slowTime},
	"L5 slow time: s until the queue is empty":                         {drains, "slowrate", .8, slowTime},
	"L11 overload: p99 in ms, no hedge, utilisation 0.9":               {nearFull, "utilisation", 1.2, overload},
	"L11 overload: p99 in ms, hedged, default budget, utilisation 0.9": {nearFull, "utilisation", 1.2, overload},

	"L5 recovery at s, 1 retry":                                        {Why: edge},
	"L5 recovery at s, 1 retry, budget 10 %":                           {Why: edge},
	"L5 recovery, 1 retry, server drops work of callers who have gone": {Why: fact},
	"L5 recovery within 150 s, 1 retry, 80 calls/s":                    {Why: sweep},
	"L5 recovery within 150 s, 1 retry, 120 calls/s":                   {Why: sweep},
	"L5 recovery within 150 s, 1 retry, 165 calls/s":                   {Why: sweep},
	"L5 spike, no backoff: some runs never recover":                    {Why: fact},
	"L9 runs that never trip, blind retry (breaker), p = 0.05":         {Why: fact},
	"L9 runs that never trip, Compose: retry (breaker), p = 0.05":      {Why: fact},
	"L9 runs that never trip, breaker (retry), p = 0.05":               {Why: fact},

	"L9 flagship: ms wasted per call while dead, Compose: retry (breaker)":    {Why: "less than a millisecond, where the blind one wastes 150: a bound says it"},
	"L9 flagship: attempts at the dead dependency, breaker (retry) ÷ Compose": {Why: bounds},
	"L11 overload: p99 hedged ÷ plain, default budget, utilisation 0.9":       {Why: bounds},
	"L11 overload: p99 hedged ÷ plain, adaptive, utilisation 0.9":             {Why: bounds},
}

const (
	drains   = "a long queue drains by the small difference of two rates: its end scatters by a fifth in a single run"
	nearFull = "the tail of a queue that is nearly full, for 15 s"
	edge     = "a fact; that it becomes one only near the edge, the sweep over the load shows"
	sweep    = "a fact; the three of the sweep enclose half the capacity"
	fact     = "a fact, not a number"
	bounds   = "the quotient of two numbers that are checked by themselves; it only must not turn round"
)
