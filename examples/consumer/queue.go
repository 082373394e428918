package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// message is what a queue delivers.
type message struct {
	id         int
	body       string
	deliveries int // how often it was handed out and failed to the end
	cutShort   int // how often it was tried, and the circuit opened before its retries had ended
}

// queue is in memory, and behaves as SQS, Pub/Sub or RabbitMQ do: a message that was received is hidden until it is
// acknowledged, given back, or set aside.
type queue struct {
	waiting chan message

	mu     sync.Mutex
	sent   int
	hidden int // given back, but not to be received yet
	counts counts
}

// counts says how many messages ended in which way.
type counts struct{ acknowledged, givenBack, retriedLater, setAside, waiting int }

func (c counts) String() string {
	return fmt.Sprintf("%d acknowledged, %d given back, %d to be retried later, %d set aside, %d left",
		c.acknowledged, c.givenBack, c.retriedLater, c.setAside, c.waiting)
}

func newQueue() *queue { return &queue{waiting: make(chan message, 10_000)} }

func (q *queue) Send(body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
	q.waiting <- message{id: q.sent, body: body}
}

// Receive waits for a message, until ctx ends.
func (q *queue) Receive(ctx context.Context) (message, error) {
	if ctx.Err() != nil {
		return message{}, context.Cause(ctx) // even if there is a message
	}
	select {
	case m := <-q.waiting:
		return m, nil
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// Acknowledge removes a message that is done.
func (q *queue) Acknowledge(message) { q.count(func(c *counts) { c.acknowledged++ }) }

// GiveBack returns a message that was not tried to the end. It comes again after a delay.
func (q *queue) GiveBack(m message, delay time.Duration) {
	q.count(func(c *counts) { c.givenBack++ })
	q.hide(m, delay)
}

// RetryLater returns a message that failed. It comes again after a delay.
func (q *queue) RetryLater(m message, delay time.Duration) {
	q.count(func(c *counts) { c.retriedLater++ })
	q.hide(m, delay)
}

// hide makes a message visible again after a delay.
func (q *queue) hide(m message, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hidden++
	time.AfterFunc(delay, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.hidden--
		q.waiting <- m
	})
}

// SetAside puts a message that can never succeed into the dead-letter queue, where a person must look at it.
func (q *queue) SetAside(message) { q.count(func(c *counts) { c.setAside++ }) }

func (q *queue) Counts() counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts
	c.waiting = len(q.waiting) + q.hidden
	return c
}

func (q *queue) count(add func(*counts)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	add(&q.counts)
}
