package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// Source returns a source of random numbers for a policy, to be given to an option such as retry.Rand. numbers tell
// several of the same purpose apart.
func (w *World) Source(purpose string, numbers ...int) rand.Source {
	key := uint64(0)
	for _, n := range numbers {
		key = mix(key + uint64(n) + 1)
	}
	return rand.NewPCG(stream(w.seed, 0, key, named(purpose)))
}

// Rand is Source as random numbers for the model.
func (w *World) Rand(purpose string, numbers ...int) *rand.Rand {
	return rand.New(w.Source(purpose, numbers...))
}

// named is a purpose as a number.
func named(purpose string) hash {
	name := newHash()
	for i := range len(purpose) {
		name.add(uint64(purpose[i]))
	}
	return name
}

// stream returns the seeds of a stream of random numbers.
func stream(seed, call, number uint64, purpose hash) (uint64, uint64) {
	return mix(seed ^ mix(uint64(purpose))), mix(call) ^ mix(^number)
}

// mix is the finalizer of SplitMix64: it spreads neighbouring numbers over all bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash is FNV-1a over 64-bit words.
type hash uint64

func newHash() hash { return 14695981039346656037 }

func (h *hash) add(words ...uint64) {
	for _, word := range words {
		*h = (*h ^ hash(mix(word))) * 1099511628211
	}
}

// Distribution draws times.
type Distribution func(*rand.Rand) time.Duration

// Fixed is always d.
func Fixed(d time.Duration) Distribution {
	return func(*rand.Rand) time.Duration { return d }
}

// Exponential has the given mean.
func Exponential(mean time.Duration) Distribution {
	return func(r *rand.Rand) time.Duration { return duration(r.ExpFloat64() * float64(mean)) }
}

// Uniform is from low to high.
func Uniform(low, high time.Duration) Distribution {
	return func(r *rand.Rand) time.Duration { return low + duration(r.Float64()*float64(high-low)) }
}

// Lognormal has the given median, and sigma is the standard deviation of its logarithm.
func Lognormal(median time.Duration, sigma float64) Distribution {
	return func(r *rand.Rand) time.Duration { return duration(float64(median) * math.Exp(sigma*r.NormFloat64())) }
}

// Normal is the absolute value of a normal distribution.
func Normal(mean, deviation time.Duration) Distribution {
	return func(r *rand.Rand) time.Duration {
		return duration(math.Abs(float64(mean) + r.NormFloat64()*float64(deviation)))
	}
}

// Either is rare with probability p, otherwise usual.
func Either(p float64, rare, usual Distribution) Distribution {
	return func(r *rand.Rand) time.Duration {
		if r.Float64() < p {
			return rare(r)
		}
		return usual(r)
	}
}

// Sum is one after the other.
func Sum(parts ...Distribution) Distribution {
	return func(r *rand.Rand) (sum time.Duration) {
		for _, part := range parts {
			sum += part(r)
		}
		return sum
	}
}

func duration(nanoseconds float64) time.Duration {
	return time.Duration(math.Round(min(nanoseconds, math.MaxInt64/2)))
}
