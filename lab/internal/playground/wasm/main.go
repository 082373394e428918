//go:build js && wasm

// Command wasm is what runs in the workers of the playground's page. The page asks for a run by the address of a state, and
// gets it second by second; asking for another one ends it.
package main

import (
	"runtime/debug"
	"syscall/js"

	"github.com/go-resilience/resilience/lab/internal/play"
)

// request is a run that the page wants.
type request struct {
	id      int
	side    int
	address string
}

var (
	global = js.Global()
	clock  = global.Get("performance")
	wanted request
	news   = make(chan struct{}, 1)
	resume = make(chan struct{}, 1) // made outside of all bubbles: while a run waits for it, virtual time stands still
	paused float64                  // when the run last let the page have its say
)

// slice is for how long a run keeps its worker to itself, in ms.
const slice = 8

func main() {
	debug.SetGCPercent(400) // worlds make garbage and are short
	global.Set("ask", js.FuncOf(func(_ js.Value, args []js.Value) any {
		wanted = request{args[0].Int(), args[1].Int(), args[2].String()}
		select {
		case news <- struct{}{}:
		default:
		}
		return nil
	}))
	global.Set("resume", js.FuncOf(func(js.Value, []js.Value) any {
		resume <- struct{}{}
		return nil
	}))
	global.Call("ready")
	for range news {
		run(wanted)
	}
}

func run(r request) {
	s := play.Decode(r.address)
	global.Call("began", r.id, describe(s, r.side))
	paused = now()
	result := s.Run(r.side, play.Watcher{
		Second: func(second int, row *play.Row) { global.Call("second", rowOf(r.id, second, row)...) },
		Wanted: func() bool {
			if now()-paused > slice {
				global.Call("pause")
				<-resume
				paused = now()
			}
			return wanted.id == r.id
		},
	})
	if wanted.id == r.id {
		global.Call("done", r.id, summary(result))
	}
}

func now() float64 { return clock.Call("now").Float() }

// describe is what the page shows before anything has happened.
func describe(s *play.State, side int) map[string]any {
	source, theory := s.Source(side), s.Theory(side)
	return map[string]any{
		"address": s.Encode(), "values": list(s.Values()), "timeline": timeline(s),
		"go": source.Go, "json": source.JSON,
		"succeeded": list(theory.Succeeded[:]), "attempts": list(theory.Attempts[:]), "capacity": theory.Capacity,
		"p50": theory.P50, "p99": theory.P99, "formulas": texts(theory.Formulas),
	}
}

func rowOf(id, second int, row *play.Row) []any {
	strip := make([]any, play.Strip)
	for i, state := range row.Breaker {
		strip[i] = int(state)
	}
	return []any{id, second, row.Succeeded, row.Attempts, row.Waiting, row.P50, row.P99, strip, row.Calls, row.Failed, row.Rejected, row.Active}
}

func summary(r *play.Result) map[string]any {
	problem := ""
	if r.Err != nil {
		problem = r.Err.Error()
	}
	return map[string]any{
		"hash": r.Hash, "events": r.Events, "cut": r.Cut, "refused": r.Refused, "problem": problem, "seconds": len(r.Rows),
		"calls": r.Calls, "succeeded": r.Succeeded, "failed": r.Failed, "rejected": r.Rejected, "attempts": r.Attempts,
		"p50": r.P50, "p90": r.P90, "p99": r.P99, "p999": r.P999,
	}
}

func timeline(s *play.State) []any {
	levels := make([]any, play.Seconds)
	for i, level := range s.Timeline {
		levels[i] = int(level)
	}
	return levels
}

func list(numbers []float64) []any {
	values := make([]any, len(numbers))
	for i, v := range numbers {
		values[i] = v
	}
	return values
}

func texts(lines []string) []any {
	values := make([]any, len(lines))
	for i, line := range lines {
		values[i] = line
	}
	return values
}
