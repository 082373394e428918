package policy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Reporter is what a layer implements in addition to say what it is and does, in one form for every page, metric and
// log. Every layer of this module that is a policy does.
type Reporter interface {
	// Report returns one consistent value. It changes nothing, and takes no lock that a call would wait for long.
	Report() Report
}

// StateReporter is what a [Reporter] implements in addition when its state alone costs less than a whole report: those who
// count very many layers by their state ask it.
type StateReporter interface {
	Reporter

	// ReportState returns what Report().State.Name would be.
	ReportState() string
}

// Report is what a layer is and does, at one moment. Its slices must not be changed.
type Report struct {
	Kind     string    `json:"kind"`           // the kind of layer, such as "breaker"
	Name     string    `json:"name,omitempty"` // the name that the layer was given
	Stage    Stage     `json:"stage"`          // where the layer stands
	State    State     `json:"state,omitzero"` // zero for a layer without states
	Shadow   bool      `json:"shadow,omitempty"`
	Settings []Setting `json:"settings,omitempty"` // how it was configured
	Values   []Value   `json:"values,omitempty"`   // what it counts and measures
}

// State is one of several states that a layer can be in, such as "open".
type State struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since,omitzero"` // when the layer entered the state; zero when not known
	Until time.Time `json:"until,omitzero"` // when it will leave the state by itself; zero when not known
	Cause Cause     `json:"cause,omitzero"` // why it is in the state
	// All is every state that the layer can be in, for those who show one value for each.
	All []string `json:"-"`
}

// MarshalJSON writes the fields but All. A time beyond the year 9999, which JSON cannot hold, is left out like one that is not
// known.
func (s State) MarshalJSON() ([]byte, error) {
	type fields State
	for _, at := range []*time.Time{&s.Since, &s.Until} {
		if _, err := at.MarshalText(); err != nil {
			*at = time.Time{}
		}
	}
	return json.Marshal(fields(s))
}

// Cause is why a layer is in its state. [Cause.String] says it in words. It has these forms:
//
//	                                         What   Calls   Minimum   Limit
//	a method, or a rule that counts nothing  ""     0       0         0
//	so many calls in a row                   set    0       0         a number
//	so many of the last calls                set    set     0         a number
//	a share of the last calls                set    set     set       a share
type Cause struct {
	Rule    string  `json:"rule"`              // the option or the method that decided, such as "FailureRate" or "Trip"
	What    string  `json:"what,omitempty"`    // what Bad counts, as a participle: "failed", "were slow"
	Bad     int64   `json:"bad,omitempty"`     // how many
	Calls   int64   `json:"calls,omitempty"`   // of how many; 0: in a row
	Limit   float64 `json:"limit,omitempty"`   // a share of Calls if there is a Minimum, otherwise a number
	Minimum int64   `json:"minimum,omitempty"` // the calls that a share needs at least; 0 if Limit is a number
	Err     error   `json:"-"`                 // the last error that counted, nil if there was none
}

// String returns the cause in words, without a full stop, such as
// "26 of the last 40 calls failed (65 %), the limit is 50 % of at least 20". It is empty when there is no cause.
func (c Cause) String() string {
	switch {
	case c.What == "":
		return c.Rule
	case c.Calls == 0:
		return fmt.Sprintf("%d calls in a row %s, the limit is %v", c.Bad, c.What, c.Limit)
	case c.Minimum == 0:
		return fmt.Sprintf("%d of the last %d calls %s, the limit is %v", c.Bad, c.Calls, c.What, c.Limit)
	}
	return fmt.Sprintf("%d of the last %d calls %s (%.3g %%), the limit is %.3g %% of at least %d",
		c.Bad, c.Calls, c.What, 100*float64(c.Bad)/float64(c.Calls), 100*c.Limit, c.Minimum)
}

// MarshalJSON returns the fields, the words as "text", and as "error" the text of the error, on one line of at most 500 bytes.
func (c Cause) MarshalJSON() ([]byte, error) {
	type fields Cause
	return json.Marshal(struct {
		fields
		Text  string `json:"text"`
		Error string `json:"error,omitempty"`
	}{fields(c), c.String(), lineOf(c.Err)})
}

// Setting is an option as it was configured: its name in Go and its arguments. The arguments of the constructor are a
// setting with the name of the constructor, such as "New" or "Total".
type Setting struct {
	Name string     `json:"name"`
	Args []Argument `json:"args,omitempty"`
	Code bool       `json:"code,omitempty"` // the option takes code, a function or another object, and not data: Args is empty
}

// Argument is one argument of a [Setting]. Its value is a bool, int, float64, string or [time.Duration].
type Argument struct {
	Name  string
	Value any
}

// MarshalJSON writes a duration as text, and so a number that is not finite, "+Inf", and whatever a layer of another package
// has put here: what JSON cannot hold would cost the reports of all layers.
func (a Argument) MarshalJSON() ([]byte, error) {
	value := a.Value
	switch v := value.(type) {
	case nil, bool, string, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			value = fmt.Sprintf("%+v", v)
		}
	default:
		value = fmt.Sprint(v)
	}
	return json.Marshal(struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	}{a.Name, value})
}

// ValueKind says how a [Value] behaves in time.
type ValueKind uint8

const (
	// Gauge goes up and down.
	Gauge ValueKind = iota + 1
	// Counter only grows, from 0 when the layer was made.
	Counter
)

// String returns the name of the kind in lower case.
func (k ValueKind) String() string {
	switch k {
	case Gauge:
		return "gauge"
	case Counter:
		return "counter"
	}
	return fmt.Sprintf("value kind %d", uint8(k))
}

// MarshalText returns what String does.
func (k ValueKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// The units of values.
const (
	UnitCount   = "1"
	UnitRatio   = "ratio" // from 0 to 1
	UnitSeconds = "s"
)

// Value is one thing that a layer counts or measures.
//
// Names are in snake case, the same for the same thing in every policy: "rejected" is what the layer refused,
// "shadow_rejected" what it would have refused, "in_flight" what it has admitted and not settled, "queued" what waits.
type Value struct {
	Name    string    `json:"name"`
	Label   string    `json:"label,omitempty"` // tells values of one name apart, such as the state that keys are counted by
	Unit    string    `json:"unit"`
	Kind    ValueKind `json:"kind"`
	Number  float64   `json:"number"`
	Limit   float64   `json:"limit,omitempty"`   // the most that Number can be, or that it may be before the layer acts; 0: none
	Unknown bool      `json:"unknown,omitempty"` // there were too few calls to tell: Number means nothing
}

// MarshalJSON writes a number that is not known, or not finite, as null.
func (v Value) MarshalJSON() ([]byte, error) {
	type fields Value
	number := &v.Number
	if v.Unknown || math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
		number = nil
	}
	if math.IsNaN(v.Limit) || math.IsInf(v.Limit, 0) {
		v.Limit = 0
	}
	return json.Marshal(struct {
		fields
		Number *float64 `json:"number"`
	}{fields(v), number})
}

// Value returns the value of a name and label, and false when the layer has none.
func (r Report) Value(name, label string) (Value, bool) {
	for _, v := range r.Values {
		if v.Name == name && v.Label == label {
			return v, true
		}
	}
	return Value{}, false
}

// LogValue returns kind, name, state and values as a group.
func (r Report) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", r.Kind)}
	if r.Name != "" {
		attrs = append(attrs, slog.String("name", r.Name))
	}
	if r.State.Name != "" {
		attrs = append(attrs, slog.String("state", r.State.Name))
		if cause := r.State.Cause.String(); cause != "" {
			attrs = append(attrs, slog.String("cause", cause))
		}
	}
	if r.Shadow {
		attrs = append(attrs, slog.Bool("shadow", true))
	}
	for _, v := range r.Values {
		name := v.Name
		if v.Label != "" {
			name += "." + v.Label
		}
		if !v.Unknown {
			attrs = append(attrs, slog.Float64(name, v.Number))
		}
	}
	return slog.GroupValue(attrs...)
}
