package engine

import "github.com/go-resilience/resilience/policy"

// kinds is a set of kinds of event.
type kinds uint16

func (k kinds) has(kind policy.EventKind) bool { return k&(1<<kind) != 0 }

const (
	allKinds   = ^kinds(0)
	timedKinds = kinds(1<<policy.EventAttempt | 1<<policy.EventCall) // a permit times EventSettled itself
)

// observe asks the observers which kinds of event they need.
func (p *Plan) observe() {
	p.wanted = make([]kinds, len(p.Observers))
	for i, observer := range p.Observers {
		p.wanted[i] = kindsOf(observer)
		p.kinds |= p.wanted[i]
	}
	if p.kinds != 0 && p.kinds&timedKinds == 0 {
		p.quiet = &trace{plan: p, attempt: 1}
	}
}

func kindsOf(observer policy.Observer) (k kinds) {
	choosy, ok := observer.(policy.KindObserver)
	if !ok {
		return allKinds
	}
	for _, kind := range choosy.ObservedKinds() {
		k |= 1 << kind
	}
	return k
}
