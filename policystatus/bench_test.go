package policystatus_test

import (
	"context"
	"testing"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policystatus"
)

// What the page costs a call that nothing refuses. A pipeline with a name counts its calls, page or no page.
func BenchmarkSuccess(b *testing.B) {
	page, name := policystatus.New(), resilience.Name("users")
	for i, layers := range [][]policy.Layer{{name}, {name, resilience.Observe(page)}, nil, {resilience.Observe(page)}} {
		b.Run([]string{"named/without", "named/with", "unnamed/without", "unnamed/with"}[i], func(b *testing.B) {
			backend := resilience.Compose(append(layers, breaker.New())...)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				_ = backend.Run(ctx, ok)
			}
		})
	}
}

func BenchmarkRefusal(b *testing.B) {
	page := policystatus.New()
	for i, layers := range [][]policy.Layer{nil, {resilience.Observe(page)}} {
		b.Run([]string{"without", "with"}[i], func(b *testing.B) {
			db := breaker.New()
			db.ForceOpen()
			backend := resilience.Compose(append(layers, db)...)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				_ = backend.Run(ctx, ok)
			}
		})
	}
}

func BenchmarkPage(b *testing.B) {
	u := newUsers()
	u.trip()
	b.ReportAllocs()
	for b.Loop() {
		get(u.page, "/")
	}
}

// A call pays for the page when it is refused, and even then without an allocation.
func TestFault232_ThePageAllocatesNothingOnTheCall(t *testing.T) {
	u := newUsers()
	ctx := context.Background()
	good := testing.AllocsPerRun(1000, func() { _ = u.backend.Run(ctx, ok) })
	plain := resilience.Compose(u.breaker)
	u.breaker.ForceOpen()
	observed := resilience.Compose(u.breaker, resilience.Observe(u.page))
	_ = observed.Run(ctx, ok)
	without := testing.AllocsPerRun(1000, func() { _ = plain.Run(ctx, ok) })
	with := testing.AllocsPerRun(1000, func() { _ = observed.Run(ctx, ok) })
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if with != without {
		t.Errorf("a refusal: %v allocations with the page, %v without", with, without)
	}
	u.breaker.Reset()
	unobserved := resilience.Compose(u.backend.Layers()...)
	if want := testing.AllocsPerRun(1000, func() { _ = unobserved.Run(ctx, ok) }); good != want {
		t.Errorf("a success: %v allocations with the page, %v without", good, want)
	}
}
