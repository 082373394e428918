package play

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/bulkhead"
	"github.com/go-resilience/resilience/hedge"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/ratelimit"
	"github.com/go-resilience/resilience/retry"
	"github.com/go-resilience/resilience/throttle"
	"github.com/go-resilience/resilience/timeout"
)

// Source is a pipeline as it is written.
type Source struct{ Go, JSON string }

// draft is a pipeline that is being written, as what it is, as Go and as JSON.
type draft struct {
	source  func(purpose string) rand.Source // of the chance of policies
	layers  []policy.Layer
	breaker *breaker.Breaker // nil: none
	lines   []written
	imports []string
	budgets []string // of the JSON
}

// written is a layer, or one of its options: how it is written.
type written struct{ code, json string }

// draft makes the layers of a side. Policies take chance from source.
func (s *Side) draft(source func(purpose string) rand.Source) *draft {
	d := &draft{source: source}
	if on(s.Total) {
		limit := ms(s.TotalTime)
		d.add(timeout.Total(limit), "timeout", "timeout.Total("+goTime(limit)+")", Inside, written{"", `"total": ` + jsonTime(limit)})
	}
	if on(s.Retry) {
		d.retry(s)
	}
	if on(s.Hedge) {
		d.hedge(s)
	}
	if on(s.Breaker) {
		rate, calls, open := s.FailureRate/100, int(s.MinimumCalls), ms(s.OpenFor)
		d.breaker = breaker.New(breaker.FailureRate(rate, calls), breaker.OpenFor(open), breaker.Rand(source("breaker")))
		d.add(d.breaker, "breaker", "breaker.New", s.BreakerPlace,
			written{"breaker.FailureRate(" + float(rate) + ", " + strconv.Itoa(calls) + ")", `"failureRate": {"rate": ` + float(rate) + `, "minimumCalls": ` + strconv.Itoa(calls) + "}"},
			written{"breaker.OpenFor(" + goTime(open) + ")", `"openFor": ` + jsonTime(open)})
	}
	if on(s.Throttle) {
		d.add(throttle.New(throttle.K(s.K), throttle.Rand(source("throttle"))), "throttle", "throttle.New", Inside,
			written{"throttle.K(" + float(s.K) + ")", `"k": ` + float(s.K)})
	}
	if on(s.Limit) {
		var options []ratelimit.Option
		texts := []written{{float(s.PerSecond), `"perSecond": ` + float(s.PerSecond)}, {float(s.Burst), `"burst": ` + float(s.Burst)}}
		if wait := ms(s.MaxWait); wait > 0 {
			options = append(options, ratelimit.MaxWait(wait))
			texts = append(texts, written{"ratelimit.MaxWait(" + goTime(wait) + ")", `"maxWait": ` + jsonTime(wait)})
		}
		d.add(ratelimit.New(s.PerSecond, int(s.Burst), options...), "ratelimit", "ratelimit.New", s.LimitPlace, texts...)
	}
	if on(s.Bulkhead) {
		var options []bulkhead.Option
		texts := []written{{float(s.AtOnce), `"limit": ` + float(s.AtOnce)}}
		if length, wait := int(s.Waiting), ms(s.QueueTime); length > 0 {
			options = append(options, bulkhead.Queue(length, wait))
			texts = append(texts, written{"bulkhead.Queue(" + strconv.Itoa(length) + ", " + goTime(wait) + ")",
				`"queue": {"length": ` + strconv.Itoa(length) + `, "wait": ` + jsonTime(wait) + "}"})
		}
		d.add(bulkhead.New(int(s.AtOnce), options...), "bulkhead", "bulkhead.New", s.BulkheadPlace, texts...)
	}
	if on(s.Attempt) {
		limit := ms(s.AttemptTime)
		d.add(timeout.PerAttempt(limit), "timeout", "timeout.PerAttempt("+goTime(limit)+")", Inside, written{"", `"perAttempt": ` + jsonTime(limit)})
	}
	return d
}

func (d *draft) retry(s *Side) {
	delay := ms(s.Delay)
	const longest = 10 * time.Second
	options := []retry.Option{retry.Attempts(int(s.Attempts)), retry.Exponential(delay, longest), retry.Rand(d.source("retry"))}
	texts := []written{
		{"retry.Attempts(" + float(s.Attempts) + ")", `"attempts": ` + float(s.Attempts)},
		{"retry.Exponential(" + goTime(delay) + ", " + goTime(longest) + ")", `"exponential": {"initial": ` + jsonTime(delay) + `, "longest": ` + jsonTime(longest) + "}"},
	}
	switch s.Jitter { // full jitter is the default
	case NoJitter:
		options, texts = append(options, retry.NoJitter()), append(texts, written{"retry.NoJitter()", `"noJitter": true`})
	case EqualJitter:
		options, texts = append(options, retry.EqualJitter()), append(texts, written{"retry.EqualJitter()", `"equalJitter": true`})
	case DecorrelatedJitter:
		options, texts = append(options, retry.DecorrelatedJitter()), append(texts, written{"retry.DecorrelatedJitter()", `"decorrelatedJitter": true`})
	}
	switch s.RetryBudget {
	case NoBudget:
		options, texts = append(options, retry.NoBudget()), append(texts, written{"retry.NoBudget()", `"noBudget": true`})
	case TenPercent:
		options = append(options, retry.WithBudget(retry.NewBudget(.1, 0)))
		texts = append(texts, written{"retry.WithBudget(retry.NewBudget(0.1, 0))", `"withBudget": "retries"`})
		d.budgets = append(d.budgets, `"retries": {"kind": "budget", "ratio": 0.1, "perSecond": 0}`)
	}
	d.add(retry.New(options...), "retry", "retry.New", Inside, texts...)
}

func (d *draft) hedge(s *Side) {
	after, extra := ms(s.After), int(s.Extra)
	options := []hedge.Option{hedge.Idempotent(), hedge.After(after), hedge.Extra(extra)}
	texts := []written{
		{"hedge.Idempotent()", `"idempotent": true`},
		{"hedge.After(" + goTime(after) + ")", `"after": ` + jsonTime(after)},
		{"hedge.Extra(" + strconv.Itoa(extra) + ")", `"extra": ` + strconv.Itoa(extra)},
	}
	switch s.HedgeBudget {
	case NoBudget:
		options, texts = append(options, hedge.Limit(10, 1e9)), append(texts, written{"hedge.Limit(10, 1e9)", `"limit": {"ratio": 10, "perSecond": 1000000000}`})
	case TenPercent:
		options, texts = append(options, hedge.Limit(.1, 0)), append(texts, written{"hedge.Limit(0.1, 0)", `"limit": {"ratio": 0.1, "perSecond": 0}`})
	}
	d.add(hedge.New(options...), "hedge", "hedge.New", Inside, texts...)
}

// add adds a layer. constructor is its name in Go, with its arguments if they are not among the texts.
func (d *draft) add(layer policy.Layer, kind, constructor string, place float64, texts ...written) {
	var code, json []string
	for _, t := range texts {
		if t.code != "" {
			code = append(code, t.code)
		}
		json = append(json, t.json)
	}
	w := written{constructor, `{"kind": "` + kind + `", ` + strings.Join(json, ", ")}
	if !strings.HasSuffix(constructor, ")") {
		w.code += "(" + strings.Join(code, ", ") + ")"
	}
	if place == Outside {
		layer = policy.At(policy.StageShed, layer)
		w.code = "policy.At(policy.StageShed, " + w.code + ")"
		w.json += `, "stage": "shed"`
		d.imports = append(d.imports, "policy")
	}
	w.json += "}"
	d.layers, d.lines, d.imports = append(d.layers, layer), append(d.lines, w), append(d.imports, kind)
}

// Layers returns the layers of a side, as they are written: with chance of their own.
func (s *State) Layers(side int) []policy.Layer { return s.Sides[side].draft(chance).layers }

func chance(string) rand.Source { return rand.NewPCG(rand.Uint64(), rand.Uint64()) }

// Source returns a side as Go and as JSON for package policyconfig.
func (s *State) Source(side int) Source {
	d := s.Sides[side].draft(chance)
	slices.Sort(d.imports)
	const module = "github.com/go-resilience/resilience"
	var code strings.Builder
	code.WriteString("import (\n")
	if strings.Contains(d.goLayers(), "time.") {
		code.WriteString("\t\"time\"\n\n")
	}
	code.WriteString("\t\"" + module + "\"\n")
	for _, name := range slices.Compact(d.imports) {
		code.WriteString("\t\"" + module + "/" + name + "\"\n")
	}
	code.WriteString(")\n\nvar backend = resilience.Compose(")
	code.WriteString(d.goLayers())
	code.WriteString(")\n")

	var json strings.Builder
	json.WriteString("{\n")
	if len(d.budgets) > 0 {
		json.WriteString("  \"budgets\": {" + strings.Join(d.budgets, ", ") + "},\n")
	}
	json.WriteString("  \"pipelines\": {\n    \"backend\": {\n      \"layers\": [")
	for i, line := range d.lines {
		if i > 0 {
			json.WriteString(",")
		}
		json.WriteString("\n        " + line.json)
	}
	if len(d.lines) > 0 {
		json.WriteString("\n      ")
	}
	json.WriteString("]\n    }\n  }\n}\n")
	return Source{Go: code.String(), JSON: json.String()}
}

func (d *draft) goLayers() string {
	var b strings.Builder
	for _, line := range d.lines {
		if len(d.lines) == 1 && strings.HasPrefix(line.code, "timeout.") {
			line.code = strings.Replace(line.code, "*", " * ", 1) // as gofmt has it
		}
		b.WriteString("\n\t" + line.code + ",")
	}
	if len(d.lines) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func on(v float64) bool { return v != 0 }

func ms(v float64) time.Duration { return time.Duration(v) * time.Millisecond }

func float(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// goTime writes a time as Go does: 300*time.Millisecond.
func goTime(d time.Duration) string {
	switch {
	case d == time.Second:
		return "time.Second"
	case d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + "*time.Second"
	case d == time.Millisecond:
		return "time.Millisecond"
	}
	return strconv.Itoa(int(d/time.Millisecond)) + "*time.Millisecond"
}

func jsonTime(d time.Duration) string { return strconv.Quote(d.String()) }
