package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policyhttp"
)

// arm is one of the two ways to call, with its own server and what its callers have seen.
type arm struct {
	name   string
	server *server
	client *client
	get    func(ctx context.Context, path string) (*reply, error)

	mu    sync.Mutex
	calls []call
}

// call is what one caller has seen.
type call struct {
	phase   int // in which it began
	latency time.Duration
	failed  bool
}

// newArm starts an arm with its own server. timeout is the HTTP client's, 0 for none.
func newArm(name string, phases []phase, timeout time.Duration) (*arm, error) {
	server, err := startServer(phases)
	if err != nil {
		return nil, err
	}
	return &arm{name: name, server: server, client: newClient(server.url, timeout)}, nil
}

func (a *arm) stop() {
	a.client.http.CloseIdleConnections()
	a.server.stop()
}

// call makes one call and records its outcome.
func (a *arm) call(phase int, path string) {
	start := time.Now()
	_, err := a.get(context.Background(), path)
	made := call{phase: phase, latency: time.Since(start), failed: err != nil}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, made)
}

// ended returns the calls that have ended so far. They are never changed.
func (a *arm) ended() []call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[:len(a.calls):len(a.calls)]
}

// callsOf returns the calls that began in a phase, or in the whole run, and have ended.
func (a *arm) callsOf(phase int) (calls []call) {
	for _, call := range a.ended() {
		if call.phase == phase || phase == wholeRun {
			calls = append(calls, call)
		}
	}
	return calls
}

// asleep returns the time that the callers have spent in calls, but not in requests: asleep before a retry, or queued in
// the bulkhead.
func (a *arm) asleep() time.Duration {
	asleep := -time.Duration(a.client.inside.Load())
	for _, call := range a.ended() {
		asleep += call.latency
	}
	return max(0, asleep)
}

// run makes the experiment: one call for each arm every interval, phase by phase, whatever the servers do. It prints a line
// for each arm every reportEvery, and a table at the end.
func run(w io.Writer, phases []phase, interval, reportEvery time.Duration) error {
	e, err := newExperiment(w, phases)
	if err != nil {
		return err
	}
	defer e.stop()
	e.send(context.Background(), interval, reportEvery)
	printTable(w, phases, e.arms())
	return nil
}

// experiment is the two arms and the timeline that they appear on.
type experiment struct {
	phases   []phase
	timeline *timeline
	loop     *arm
	pipeline *arm
	backend  *resilience.Pipeline
	heard    *tally // what the pipeline says about itself
}

func newExperiment(w io.Writer, phases []phase) (*experiment, error) {
	byHand, err := newArm("loop", phases, limit)
	if err != nil {
		return nil, err
	}
	byHand.get = (&loop{client: byHand.client}).get

	composed, err := newArm("pipeline", phases, 0) // the pipeline has a timeout of its own
	if err != nil {
		byHand.stop()
		return nil, err
	}
	e := &experiment{phases: phases, timeline: newTimeline(w), loop: byHand, pipeline: composed, heard: &tally{}}
	composed.get = composed.client.get
	e.use(newPipeline(e.heard, e.timeline.changed))
	e.timeline.say(byHand.name, "client timeout %v, %d tries, sleep %v and doubling", limit, attempts, firstDelay)
	e.timeline.say(composed.name, "%v", e.backend)
	return e, nil
}

// use lets the pipeline's arm send its requests through backend.
func (e *experiment) use(backend *resilience.Pipeline) {
	client := e.pipeline.client
	client.http.Transport = policyhttp.NewTransport(&client.meter, backend)
	e.backend = backend
}

func (e *experiment) arms() []*arm { return []*arm{e.loop, e.pipeline} }

func (e *experiment) stop() {
	for _, arm := range e.arms() {
		arm.stop()
	}
}

// send sends the traffic of all phases, or stops when ctx ends, and waits until every call has ended.
func (e *experiment) send(ctx context.Context, interval, reportEvery time.Duration) {
	done, reported := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(reported)
		e.report(reportEvery, done)
	}()

	var calls sync.WaitGroup
	next := time.Now()
	number := 0
	for index, phase := range e.phases {
		e.timeline.say("server", "---- %s ----", phase.name)
		for _, arm := range e.arms() {
			arm.server.enter(index)
		}
		for end := next.Add(phase.lasts); next.Before(end) && ctx.Err() == nil; next = next.Add(interval) {
			time.Sleep(time.Until(next))
			number++
			path := fmt.Sprintf("/users/%d", number)
			if number%10 == 0 {
				path = fmt.Sprintf("/missing/%d", number) // answered with 404, which is no failure
			}
			for _, arm := range e.arms() {
				calls.Go(func() { arm.call(index, path) })
			}
		}
	}
	calls.Wait()
	close(done)
	<-reported
}

// report prints lines until done is closed, and a last one for what came after the one before.
func (e *experiment) report(every time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var loop, pipeline reader
	for running := true; running; {
		select {
		case <-ticker.C:
		case <-done:
			running = false
		}
		e.timeline.say(e.loop.name, "%s", loop.news(e.loop))
		e.timeline.say(e.pipeline.name, "%s", pipeline.news(e.pipeline))
		if news := e.heard.news(); news != "" {
			e.timeline.say("", "%s", news)
		}
	}
}
