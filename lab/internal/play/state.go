package play

import (
	"math"
	"strconv"
	"strings"
)

// Seconds is how long a run lasts, in virtual time.
const Seconds = 60

// Levels is the number of steps between no trouble and full trouble.
const Levels = 20

// The choices of parameters that are one.
const (
	Open   = iota // of Load: calls come by their own clock
	Closed        // clients call, wait for the answer, think, and call again
	Crowds        // many call at once, every ten seconds
)

const (
	Fixed       = iota // of Shape: every request takes the same time
	Exponential        // many are short
	Lognormal          // some are very long: sigma is 1
)

const (
	Fails = iota // of Trouble: requests fail
	Slows        // requests take longer, up to [Slowest] times
)

// Slowest is the factor by which requests are slower at full trouble.
const Slowest = 20

const (
	NoJitter = iota // of Jitter
	FullJitter
	EqualJitter
	DecorrelatedJitter
)

const (
	NoBudget = iota // of RetryBudget and HedgeBudget
	DefaultBudget
	TenPercent // and nothing besides
)

const (
	Inside  = iota // of the places: where Compose puts it
	Outside        // outside of the retry, at the front door
)

// State is what the controls of the page say. All numbers lie within the bounds of their [Param].
type State struct {
	Lesson, Step float64 // what the page shows: 0 is the sandbox

	Seed           float64
	Load           float64
	Rate           float64 // calls per second
	Clients, Think float64
	Shape, Service float64
	Slots, Queue   float64 // 0 slots: any number
	Trouble        float64

	Timeline [Seconds]uint8 // the trouble in each second, of Levels

	Sides [2]Side // A and B
}

// Side is a pipeline. Times are in ms; what is not 0 is on.
type Side struct {
	Total, TotalTime float64

	Retry, Attempts, Delay, Jitter, RetryBudget float64
	Hedge, After, Extra, HedgeBudget            float64

	Breaker, FailureRate, MinimumCalls, OpenFor, BreakerPlace float64
	Throttle, K                                               float64
	Limit, PerSecond, Burst, MaxWait, LimitPlace              float64
	Bulkhead, AtOnce, Waiting, QueueTime, BulkheadPlace       float64

	Attempt, AttemptTime float64
}

// Param describes a number of a state: the page makes a control of it.
type Param struct {
	Key     string   `json:"key"` // in the address
	Label   string   `json:"label"`
	Unit    string   `json:"unit,omitempty"`
	Zero    string   `json:"zero,omitempty"` // what 0 means, if it is special
	Low     float64  `json:"low"`
	High    float64  `json:"high"`
	Step    float64  `json:"step"`
	Default float64  `json:"default"`
	Log     bool     `json:"log,omitempty"`     // a slider of ratios
	Choices []string `json:"choices,omitempty"` // of numbers from 0
	Switch  bool     `json:"switch,omitempty"`  // 0 or 1: whether a policy is on
	Group   string   `json:"group"`

	field func(*State) *float64
}

// Params returns the parameters of a state, in order. The timeline is none of them.
func Params() []Param { return params }

var params = allParams()

func allParams() []Param {
	number := func(key, label, unit string, low, high, value float64, field func(*State) *float64) Param {
		return Param{Key: key, Label: label, Unit: unit, Low: low, High: high, Default: value, Step: 1, Log: low > 0 && high/low >= 50, field: field}
	}
	choice := func(key, label string, value float64, field func(*State) *float64, choices ...string) Param {
		return Param{Key: key, Label: label, High: float64(len(choices) - 1), Step: 1, Default: value, Choices: choices, field: field}
	}
	zero := func(text string, p Param) Param {
		p.Zero = text
		return p
	}
	group := func(name string, list ...Param) []Param {
		for i := range list {
			list[i].Group = name
		}
		return list
	}
	all := group("page",
		number("lesson", "Lesson", "", 0, 9, 0, func(s *State) *float64 { return &s.Lesson }),
		number("step", "Step", "", 0, 9, 0, func(s *State) *float64 { return &s.Step }),
	)
	all = append(all, group("load",
		choice("load", "Who calls", Open, func(s *State) *float64 { return &s.Load }, "the world: calls come by chance", "clients: each waits for its answer", "crowds: all at once, every 10 s"),
		number("rate", "Calls", "per second", 1, 500, 50, func(s *State) *float64 { return &s.Rate }),
		number("clients", "Clients", "", 1, 500, 20, func(s *State) *float64 { return &s.Clients }),
		number("think", "A client thinks for", "ms", 10, 5000, 200, func(s *State) *float64 { return &s.Think }),
		number("seed", "Luck, number", "", 1, 999, 1, func(s *State) *float64 { return &s.Seed }),
	)...)
	all = append(all, group("service",
		number("service", "A request takes", "ms on average", 1, 2000, 50, func(s *State) *float64 { return &s.Service }),
		choice("shape", "Its times are", Exponential, func(s *State) *float64 { return &s.Shape }, "all the same", "exponential", "lognormal, with a long tail"),
		zero("any number", number("slots", "Requests served at a time", "", 0, 200, 10, func(s *State) *float64 { return &s.Slots })),
		number("queue", "Requests that may wait", "", 0, 1000, 100, func(s *State) *float64 { return &s.Queue }),
		choice("trouble", "In trouble requests", Fails, func(s *State) *float64 { return &s.Trouble }, "fail", "are slow, up to 20 times"),
	)...)
	for i, name := range []string{"a", "b"} {
		side := func(field func(*Side) *float64) func(*State) *float64 {
			return func(s *State) *float64 { return field(&s.Sides[i]) }
		}
		on := func(key, label string, field func(*Side) *float64) Param {
			p := choice(name+"."+key, label, 0, side(field), "off", "on")
			p.Choices, p.Switch = nil, true
			return p
		}
		number := func(key, label, unit string, low, high, value float64, field func(*Side) *float64) Param {
			return number(name+"."+key, label, unit, low, high, value, side(field))
		}
		choice := func(key, label string, value float64, field func(*Side) *float64, choices ...string) Param {
			return choice(name+"."+key, label, value, side(field), choices...)
		}
		place := func(key string, field func(*Side) *float64) Param {
			return choice(key, "Place", Inside, field, "inside the retry, as Compose does", "outside the retry")
		}
		policies := [][]Param{
			group("total",
				on("total", "Total timeout", func(s *Side) *float64 { return &s.Total }),
				number("total.ms", "A call ends after", "ms", 10, 20000, 2000, func(s *Side) *float64 { return &s.TotalTime }),
			),
			group("retry",
				on("retry", "Retry", func(s *Side) *float64 { return &s.Retry }),
				number("attempts", "Attempts", "at most", 2, 8, 3, func(s *Side) *float64 { return &s.Attempts }),
				number("delay", "First delay", "ms", 1, 5000, 100, func(s *Side) *float64 { return &s.Delay }),
				choice("jitter", "Jitter", FullJitter, func(s *Side) *float64 { return &s.Jitter }, "none", "full", "equal", "decorrelated"),
				choice("budget", "Budget", DefaultBudget, func(s *Side) *float64 { return &s.RetryBudget }, "none", "20 % and 10 per second (default)", "10 %"),
			),
			group("hedge",
				on("hedge", "Hedge", func(s *Side) *float64 { return &s.Hedge }),
				number("after", "Next attempt after", "ms", 1, 5000, 150, func(s *Side) *float64 { return &s.After }),
				number("extra", "Extra attempts", "at most", 1, 3, 1, func(s *Side) *float64 { return &s.Extra }),
				choice("hedge.budget", "Budget", DefaultBudget, func(s *Side) *float64 { return &s.HedgeBudget }, "none", "10 % and 10 per second (default)", "10 %"),
			),
			group("breaker",
				on("breaker", "Breaker", func(s *Side) *float64 { return &s.Breaker }),
				number("failures", "Opens at failures of", "%", 5, 100, 50, func(s *Side) *float64 { return &s.FailureRate }),
				number("calls", "of at least", "attempts", 1, 200, 20, func(s *Side) *float64 { return &s.MinimumCalls }),
				number("open", "Stays open for", "ms", 100, 30000, 5000, func(s *Side) *float64 { return &s.OpenFor }),
				place("breaker.place", func(s *Side) *float64 { return &s.BreakerPlace }),
			),
			group("throttle",
				on("throttle", "Throttle", func(s *Side) *float64 { return &s.Throttle }),
				number("k", "Attempts for each accepted", "", 1.1, 5, 2, func(s *Side) *float64 { return &s.K }),
			),
			group("limit",
				on("limit", "Rate limit", func(s *Side) *float64 { return &s.Limit }),
				number("persecond", "Attempts", "per second", 1, 1000, 100, func(s *Side) *float64 { return &s.PerSecond }),
				number("burst", "Burst", "", 1, 200, 10, func(s *Side) *float64 { return &s.Burst }),
				zero("not at all", number("wait", "Waits up to", "ms", 0, 5000, 0, func(s *Side) *float64 { return &s.MaxWait })),
				place("limit.place", func(s *Side) *float64 { return &s.LimitPlace }),
			),
			group("bulkhead",
				on("bulkhead", "Bulkhead", func(s *Side) *float64 { return &s.Bulkhead }),
				number("atonce", "Attempts at a time", "", 1, 200, 10, func(s *Side) *float64 { return &s.AtOnce }),
				number("waiting", "May wait", "", 0, 500, 0, func(s *Side) *float64 { return &s.Waiting }),
				number("queue.ms", "Waits up to", "ms", 1, 5000, 100, func(s *Side) *float64 { return &s.QueueTime }),
				place("bulkhead.place", func(s *Side) *float64 { return &s.BulkheadPlace }),
			),
			group("attempt",
				on("attempt", "Attempt timeout", func(s *Side) *float64 { return &s.Attempt }),
				number("attempt.ms", "An attempt ends after", "ms", 1, 10000, 500, func(s *Side) *float64 { return &s.AttemptTime }),
			),
		}
		for _, policy := range policies {
			for i := range policy {
				policy[i].Group = name + "." + policy[i].Group
				if strings.HasSuffix(policy[i].Key, ".k") {
					policy[i].Step = .1
				}
			}
			all = append(all, policy...)
		}
	}
	return all
}

// clamp returns the number nearest to v that the parameter can have; the default for what is no number.
func (p *Param) clamp(v float64) float64 {
	if math.IsNaN(v) {
		return p.Default
	}
	v = math.Round(max(p.Low, min(p.High, v))/p.Step) * p.Step
	return math.Round(v*1000) / 1000
}

// New returns the state that the page begins with.
func New() *State {
	s := &State{}
	for i := range params {
		*params[i].field(s) = params[i].Default
	}
	return s
}

// longest is how much of an address is read: several times what a state can need.
const longest = 8192

// Decode returns the state of an address: what comes after its "#". It takes whatever it gets: what it does not know has no
// meaning, and what lies out of bounds is brought within them.
func Decode(address string) *State {
	s := New()
	address = strings.TrimPrefix(address[:min(len(address), longest)], "#")
	for item := range strings.SplitSeq(address, "&") {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			continue
		}
		if key == timelineKey {
			s.Timeline = decodeTimeline(value)
			continue
		}
		i, ok := byKey[key]
		if !ok {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil || math.IsInf(v, 0) {
			*params[i].field(s) = params[i].clamp(v)
		}
	}
	return s
}

// Encode returns the address of a state: what differs from the state that the page begins with.
func (s *State) Encode() string {
	var b strings.Builder
	add := func(key, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(value)
	}
	for i := range params {
		if v := *params[i].field(s); v != params[i].Default {
			add(params[i].Key, strconv.FormatFloat(v, 'f', -1, 64))
		}
	}
	if s.Timeline != ([Seconds]uint8{}) {
		add(timelineKey, s.encodeTimeline())
	}
	return b.String()
}

// Values returns the numbers of a state, in the order of [Params].
func (s *State) Values() []float64 {
	values := make([]float64, len(params))
	for i := range params {
		values[i] = *params[i].field(s)
	}
	return values
}

var byKey = func() map[string]int {
	m := make(map[string]int, len(params))
	for i := range params {
		m[params[i].Key] = i
	}
	return m
}()

// timelineKey is that of the timeline, which is written as levels, "a" for none to "u" for full trouble, each after the
// number of seconds that it lasts: "20a10m" is trouble of 60 % from 20 s to 30 s.
const timelineKey = "t"

func decodeTimeline(text string) (timeline [Seconds]uint8) {
	at, count := 0, -1
	for i := 0; i < len(text) && at < Seconds; i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			count = min(Seconds, max(count, 0)*10+int(c-'0'))
		case c >= 'a' && c <= 'a'+Levels:
			if count < 0 {
				count = 1
			}
			for range min(count, Seconds-at) {
				timeline[at] = c - 'a'
				at++
			}
			count = -1
		default:
			return timeline
		}
	}
	return timeline
}

func (s *State) encodeTimeline() string {
	last := Seconds
	for s.Timeline[last-1] == 0 {
		last--
	}
	var b strings.Builder
	for from := 0; from < last; {
		until := from + 1
		for until < last && s.Timeline[until] == s.Timeline[from] {
			until++
		}
		if until > from+1 {
			b.WriteString(strconv.Itoa(until - from))
		}
		b.WriteByte('a' + s.Timeline[from])
		from = until
	}
	return b.String()
}

// trouble returns how much of it there is at a second, from 0 to 1.
func (s *State) trouble(second int) float64 {
	if second < 0 || second >= Seconds {
		return 0
	}
	return float64(s.Timeline[second]) / Levels
}
