package policyconfig

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-resilience/resilience/policy"
)

// kind is a kind of layer, as the file, the schema and the Go source know it. All three are made from these tables.
type kind struct {
	name         string // also the package
	doc          string
	constructors []*option // exactly one is used; the arguments of one without a key stand in the layer itself
	options      []*option
	named        bool // has a Name
	shadowing    bool // has a mode
	keyed        bool // is a guard, which can stand per key
	room         room // makes and changes them
}

// option is an option or a constructor of a kind.
type option struct {
	key   string // its name in Go, in camelCase
	words string // in sentences; "" for the key in words
	doc   string
	// The arguments, for data: none for an option that is given or not.
	args []argument
	// The field of Registry, for code. list: several names can be given.
	code string
	list bool
	// only names the constructors that it goes with; nil for all.
	only []string
	// otherwise is the default of a single argument, in words; "" if there is none.
	otherwise string
	// replaces says that the policy cannot take on another value while it runs: it is made anew.
	replaces bool
	// apply returns the option of the package.
	apply func(actual) any
}

// argument is an argument of an option.
type argument struct {
	name     string
	typ      valueType
	low      float64 // nanoseconds for a duration
	high     float64
	above    bool // low itself is not allowed
	optional bool
	choices  []string // of a text
	infinite bool     // "+Inf" is allowed
}

type valueType uint8

const (
	isDuration valueType = iota
	isInteger
	isNumber
	isText
)

// actual is what an option was given.
type actual struct {
	args []any // time.Duration, int, float64, string; nil for an optional one that is missing
	code []any
}

func (a actual) duration(i int) time.Duration { d, _ := a.args[i].(time.Duration); return d }
func (a actual) integer(i int) int            { return a.args[i].(int) }
func (a actual) number(i int) float64         { return a.args[i].(float64) }
func (a actual) text(i int) string            { return a.args[i].(string) }

func duration(name string, low time.Duration) argument {
	return argument{name: name, typ: isDuration, low: float64(low), high: math.Inf(1)}
}

func positive(name string) argument {
	return argument{name: name, typ: isDuration, above: true, high: math.Inf(1)}
}

func integer(name string, low, high float64) argument {
	return argument{name: name, typ: isInteger, low: low, high: high}
}

func float(name string, low, high float64) argument {
	return argument{name: name, typ: isNumber, low: low, high: high}
}

var most = math.Inf(1)

// name is the option's name in Go.
func (o *option) name() string {
	if o.key == "" {
		return "New"
	}
	return strings.ToUpper(o.key[:1]) + o.key[1:]
}

// say returns the option in words.
func (o *option) say() string {
	if o.words != "" {
		return o.words
	}
	return inWords(o.key)
}

// inWords turns "maxRetryAfter" into "max retry after".
func inWords(key string) string {
	var b strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func (o *option) goesWith(constructor *option) bool {
	if o.only == nil || constructor == nil {
		return true
	}
	for _, key := range o.only {
		if key == constructor.key {
			return true
		}
	}
	return false
}

// allowed returns the range of the argument in words: "must be a duration from 1ms".
func (a argument) allowed() string {
	var what string
	switch a.typ {
	case isDuration:
		what = `a duration with a unit, such as "250ms"`
	case isInteger:
		what = "a whole number"
	case isNumber:
		what = "a number"
	case isText:
		if a.choices != nil {
			return fmt.Sprintf("must be one of %q", a.choices)
		}
		return fmt.Sprintf("must be a text of at most %d printable characters", maxName)
	}
	bound := func(f float64) string {
		if a.typ == isDuration {
			return time.Duration(f).String()
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if a.typ == isNumber && a.low > 0 && a.low < 1e-4 {
		bound = func(f float64) string { return fmt.Sprint(f) }
	}
	switch {
	case a.infinite:
		what += fmt.Sprintf(", 0, from %v to %v, or \"+Inf\" for no limit", a.low, a.high)
	case a.above && math.IsInf(a.high, 1):
		what += ", above " + bound(a.low)
	case a.above:
		what += ", above " + bound(a.low) + " and at most " + bound(a.high)
	case math.IsInf(a.high, 1):
		what += ", at least " + bound(a.low)
	default:
		what += ", from " + bound(a.low) + " to " + bound(a.high)
	}
	return "must be " + what
}

// holds reports whether a number, or a duration in nanoseconds, is in the range.
func (a argument) holds(f float64) bool {
	if a.infinite && (f == 0 || math.IsInf(f, 1)) {
		return true
	}
	return f >= a.low && f <= a.high && !(a.above && f == a.low) && !math.IsInf(f, 0)
}

// read returns the value of an argument, and false when it is not one; then the problem was noted.
func (a argument) read(n *node, found *problems) (any, bool) {
	refuse := func() (any, bool) {
		found.at(n, "%s: %s", n.shown(), a.allowed())
		return nil, false
	}
	wanted := text
	if a.typ == isInteger || a.typ == isNumber {
		wanted = number
	}
	if n.kind != wanted && n.kind != setting && !(a.infinite && n.kind == text) {
		return refuse()
	}
	switch a.typ {
	case isDuration:
		d, err := time.ParseDuration(n.text)
		if err != nil || strings.TrimLeft(n.text, "+-0.") == "" || !a.holds(float64(d)) {
			return refuse()
		}
		return d, true
	case isInteger:
		i, ok := n.integer()
		if !ok || !a.holds(float64(i)) {
			return refuse()
		}
		return i, true
	case isNumber:
		if a.infinite && n.text == "+Inf" {
			return math.Inf(1), true
		}
		if n.kind == text || strings.Trim(n.text, "0123456789+-.eE") != "" || !json.Valid([]byte(n.text)) {
			return refuse()
		}
		f, err := strconv.ParseFloat(n.text, 64)
		if err != nil || !a.holds(f) || math.IsInf(f, 0) {
			return refuse()
		}
		if f == 0 {
			f = 0 // and not -0
		}
		return f, true
	}
	for _, choice := range a.choices {
		if n.text == choice {
			return n.text, true
		}
	}
	if a.choices != nil {
		found.at(n, "%s: not known%s", n.shown(), found.nearest(n.text, a.choices))
		return nil, false
	}
	if n.text != "" && !isName(n.text) {
		return refuse()
	}
	return n.text, true
}

// integer returns the whole number that n stands for. In a file 3.0 and 1e+06 are whole numbers, as to JSON Schema: tools
// that copy a file, Helm among them, write them so.
func (n *node) integer() (int, bool) {
	if !json.Valid([]byte(n.text)) {
		return 0, false
	}
	if i, err := strconv.ParseInt(n.text, 10, strconv.IntSize); err == nil {
		return int(i), true
	}
	const exact = 1 << 53
	f, err := strconv.ParseFloat(n.text, 64)
	if n.kind != number || err != nil || math.Trunc(f) != f || math.Abs(f) > min(exact, math.MaxInt) {
		return 0, false
	}
	return int(f), true
}

// stages are the stages by their names in camelCase.
var stages = func() map[string]policy.Stage {
	stages := make(map[string]policy.Stage)
	for _, stage := range []policy.Stage{
		policy.StageFallback, policy.StageShed, policy.StageTotalTimeout, policy.StageRetry, policy.StageHedge,
		policy.StageBreaker, policy.StageRateLimit, policy.StageBulkhead, policy.StageAttemptTimeout, policy.StageChaos,
	} {
		stages[stageName(stage)] = stage
	}
	return stages
}()

// stageName returns "totalTimeout" for "total timeout".
func stageName(stage policy.Stage) string {
	words := strings.Fields(stage.String())
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}
