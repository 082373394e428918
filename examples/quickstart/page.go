package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policystatus"
)

// slower returns the phases, each several times as long: for people who watch.
func slower(phases []phase, times time.Duration) []phase {
	longer := make([]phase, len(phases))
	for i, phase := range phases {
		phase.lasts *= times
		longer[i] = phase
	}
	return longer
}

// runWithPage is run with a live page about both arms, which stays until ctx ends.
func runWithPage(ctx context.Context, w io.Writer, phases []phase, interval, reportEvery time.Duration) error {
	e, err := newExperiment(w, phases)
	if err != nil {
		return err
	}
	defer e.stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	page := policystatus.New(policystatus.Title("quickstart"), policystatus.Control(func(r *http.Request) (string, error) {
		// The page is on loopback, for one person. A service must look at credentials here.
		if r.Host != address {
			return "", errors.New("not the address of the page")
		}
		return "you", nil
	}))
	e.show(page)
	server := &http.Server{Handler: page, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() {
		page.Close()
		_ = server.Close()
		<-served
	}()

	e.timeline.say("page", "http://%s/", address)
	e.send(ctx, interval, reportEvery)
	printTable(w, phases, e.arms())
	if ctx.Err() == nil {
		e.timeline.say("page", "http://%s/ stays until you press Ctrl-C", address)
	}
	<-ctx.Done()
	return nil
}

// show puts both arms on a page. A pipeline that extends another one shares its policies; one without policies only
// counts calls.
func (e *experiment) show(page *policystatus.Page) {
	e.use(resilience.Compose(e.backend, resilience.Name("pipeline"), resilience.Observe(page)))
	byHand, get := resilience.Compose(resilience.Name("loop by hand")), e.loop.get
	e.loop.get = func(ctx context.Context, path string) (*reply, error) {
		return resilience.Do(ctx, byHand, func(ctx context.Context) (*reply, error) { return get(ctx, path) })
	}
	page.Add(byHand, e.backend)
}
