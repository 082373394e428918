package policyconfig

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Changes lists what a configuration changes.
type Changes struct {
	// Generation is the number that the configuration has, or would have, in [Set.Generation].
	Generation uint64   `json:"generation"`
	List       []Change `json:"changes"` // budgets, layers, pipelines: each in the order of the file, then what is gone
}

// Empty reports whether nothing changes. A setting that was made by hand and differs from the configuration is not a
// change.
func (c Changes) Empty() bool {
	for _, change := range c.List {
		if change.Kind != Differs {
			return false
		}
	}
	return true
}

// String returns a line for each change, or "no change" if there is none.
func (c Changes) String() string {
	lines := make([]string, len(c.List))
	for i, change := range c.List {
		lines[i] = change.String()
	}
	if c.Empty() {
		lines = append([]string{"no change"}, lines...)
	}
	return strings.Join(lines, "\n")
}

// ChangeKind says what happens to a part of the configuration.
type ChangeKind uint8

const (
	// Added: it was not there before.
	Added ChangeKind = iota + 1
	// Removed: it is no longer there.
	Removed
	// Reconfigured: it has other options and keeps its state.
	Reconfigured
	// Replaced: a new one takes its place and begins anew.
	Replaced
	// Moved: it is the same and stands elsewhere, is enabled or disabled.
	Moved
	// Differs: it was set by hand, and stays so, although the configuration says otherwise.
	Differs
)

var changeKinds = [...]string{"", "added", "removed", "reconfigured", "replaced", "moved", "differs"}

// String returns the name of the kind in lower case.
func (k ChangeKind) String() string {
	if k > 0 && int(k) < len(changeKinds) {
		return changeKinds[k]
	}
	return fmt.Sprintf("change kind %d", uint8(k))
}

// MarshalText returns what String does.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Change is one change. [Change.String] says it in words.
type Change struct {
	Kind    ChangeKind     `json:"kind"`
	Where   string         `json:"where"`             // the pipeline, or "policy db", or "budget api"
	What    string         `json:"what,omitempty"`    // the layer; "" for all of Where
	Pointer string         `json:"pointer,omitempty"` // the JSON pointer in the configuration; "" for what is gone
	Options []OptionChange `json:"options,omitempty"` // of what is reconfigured or replaced
	Why     string         `json:"why,omitempty"`     // a remark
	Kept    string         `json:"kept,omitempty"`    // the state that is kept, such as "open for 3 s more"
	Lost    string         `json:"lost,omitempty"`    // the state that is lost
}

// OptionChange is an option that gets another value.
type OptionChange struct {
	Option string `json:"option"` // as in the file
	Words  string `json:"words"`  // in words
	From   string `json:"from"`
	To     string `json:"to"`
}

// String returns the change in words, such as
//
//	users: breaker open time 5s to 10s, state kept: open for 3 s more
func (c Change) String() string {
	var b strings.Builder
	b.WriteString(c.Where + ": ")
	if c.What != "" {
		b.WriteString(c.What + " ")
	}
	if c.Kind != Reconfigured && c.Kind != Differs && c.Kind != Moved {
		b.WriteString(c.Kind.String())
		if len(c.Options) > 0 {
			b.WriteString(": ")
		}
	}
	for i, o := range c.Options {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.TrimSpace(o.Words + " " + o.From + " to " + o.To))
	}
	if c.Why != "" {
		switch {
		case len(c.Options) > 0 || c.Kind == Replaced:
			b.WriteString(", ")
		case c.Kind == Added || c.Kind == Removed:
			b.WriteString(": ")
		}
		b.WriteString(c.Why)
	}
	if c.Kept != "" {
		b.WriteString(", state kept: " + c.Kept)
	}
	if c.Lost != "" {
		b.WriteString(", state lost: " + c.Lost)
	}
	return b.String()
}

// stateInWords says what a layer holds that a new one would not, "" if there is nothing.
func stateInWords(layer any) string {
	reporter, ok := layer.(policy.Reporter)
	if !ok {
		return ""
	}
	report := reporter.Report()
	var words []string
	switch state := report.State; state.Name {
	case "", "closed", "accepting":
	default:
		word := state.Name
		if left := time.Until(state.Until); !state.Until.IsZero() && left > 0 {
			word += " for " + seconds(left) + " more"
		}
		words = append(words, word)
	}
	value := func(name, format string) {
		if v, ok := report.Value(name, ""); ok && !v.Unknown && v.Number > 0 {
			words = append(words, fmt.Sprintf(format, round(v.Number), round(v.Limit)))
		}
	}
	if v, ok := report.Value("tokens", ""); ok && !v.Unknown && v.Number < v.Limit {
		words = append(words, fmt.Sprintf("%v of %v tokens", round(v.Number), round(v.Limit)))
	}
	value("in_flight", "%[1]v in flight")
	value("queued", "%[1]v waiting")
	value("requests", "%[1]v requests counted")
	if report.Kind == "breaker" {
		words = words[:min(1, len(words))]
		value("window_calls", "%[1]v calls in the window")
	}
	if report.Kind == "keyed" || report.Kind == "rate limiter per key" {
		n := 0.0
		for _, v := range report.Values {
			if v.Name == "keys" {
				n += v.Number
			}
		}
		words = append(words, fmt.Sprintf("%v keys", n))
	}
	return strings.Join(words, ", ")
}

// seconds returns a duration as sentences have it: "3 s", "0.4 s", "2m5s".
func seconds(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return strconv.FormatFloat(math.Ceil(d.Seconds()*10)/10, 'f', -1, 64) + " s"
}

func round(f float64) float64 { return math.Round(f*10) / 10 }
