package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// patience is how long a customer waits for an answer.
const patience = 500 * time.Millisecond

// result is what the customers saw of a phase. The greedy customer is not in the latencies.
type result struct {
	ordinary, greedy tally
}

type tally struct {
	mu                                sync.Mutex
	sent, served, late, limited, shed int
	other                             int
	latencies                         []time.Duration
}

// send sends the requests of a phase, at constant intervals and whatever the answers are, and waits for the answers.
func send(url string, p phase) *result {
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var r result
	var group sync.WaitGroup
	ordinary := []string{"key-of-ada", "key-of-grace", "key-of-joan", "key-of-mary"}
	group.Go(func() {
		each(p.ordinary, p.lasts, func(i int) { r.ordinary.ask(client, url, ordinary[i%len(ordinary)]) })
	})
	group.Go(func() { each(p.greedy, p.lasts, func(int) { r.greedy.ask(client, url, "key-of-max") }) })
	group.Wait()
	return &r
}

// each calls f perSecond times a second, on goroutines of their own, and waits for them.
func each(perSecond int, lasts time.Duration, f func(int)) {
	var group sync.WaitGroup
	defer group.Wait()
	begin := time.Now()
	for i := range int(lasts.Seconds() * float64(perSecond)) {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		group.Go(func() { f(i) })
	}
}

// ask sends one request and records the answer.
func (t *tally) ask(client *http.Client, url, key string) {
	begin := time.Now()
	status := fetch(client, url, key)
	took := time.Since(begin)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	switch status {
	case http.StatusOK:
		t.served++
		t.latencies = append(t.latencies, took)
	case 0:
		t.late++
	case http.StatusTooManyRequests:
		t.limited++
	case http.StatusServiceUnavailable:
		t.shed++
	default:
		t.other++
	}
}

// fetch returns the status of the answer, 0 if there was none in time.
func fetch(client *http.Client, url, key string) int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	request.Header.Set("X-Api-Key", key)
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}

func (r *result) print(out io.Writer, p phase) {
	r.ordinary.print(out, p.name)
	if p.greedy > 0 {
		r.greedy.print(out, "  the greedy one")
	}
}

func (t *tally) print(out io.Writer, name string) {
	slices.Sort(t.latencies)
	share := func(n int) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(max(1, t.sent))) }
	fmt.Fprintf(out, "%-22s%10s%10s%12s%12s%14v%14v\n", name, share(t.served), share(t.late), share(t.limited), share(t.shed),
		t.percentile(50), t.percentile(99))
}

// percentile returns a percentile of the latencies of what was served.
func (t *tally) percentile(p int) time.Duration {
	if len(t.latencies) == 0 {
		return 0
	}
	return t.latencies[(len(t.latencies)-1)*p/100].Round(time.Millisecond)
}
