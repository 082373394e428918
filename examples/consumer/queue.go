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
	deliveries int // how often it was handed out and given back as failed
}

// queue is in memory, and behaves as SQS, Pub/Sub or RabbitMQ do: a message that was received is hidden until it is
// acknowledged, given back, or set aside.
type queue struct {
	waiting chan message

	mu     sync.Mutex
	sent   int
	counts counts
}

// counts is what became of the messages.
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

// Acknowledge: it is done.
func (q *queue) Acknowledge(message) { q.count(func(c *counts) { c.acknowledged++ }) }

// GiveBack: it was not tried, so its deliveries are not counted up.
func (q *queue) GiveBack(m message) {
	q.count(func(c *counts) { c.givenBack++ })
	q.waiting <- m
}

// RetryLater: it failed, and comes again after a delay.
func (q *queue) RetryLater(m message, delay time.Duration) {
	q.count(func(c *counts) { c.retriedLater++ })
	m.deliveries++
	time.AfterFunc(delay, func() { q.waiting <- m })
}

// SetAside: it can never succeed, and a person must look at it (the dead-letter queue).
func (q *queue) SetAside(message) { q.count(func(c *counts) { c.setAside++ }) }

func (q *queue) Counts() counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts
	c.waiting = len(q.waiting)
	return c
}

func (q *queue) count(add func(*counts)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	add(&q.counts)
}
