package theory

// ErlangB returns the share of arrivals that find all c servers busy and are lost, when the offered load is a Erlang
// (arrival rate times mean service time). It holds for every distribution of service times (M/G/c/c).
//
// A. K. Erlang, 1917; computed by the recurrence B(i) = a·B(i-1) / (i + a·B(i-1)).
func ErlangB(c int, a float64) float64 {
	b := 1.0
	for i := 1; i <= c; i++ {
		b = a * b / (float64(i) + a*b)
	}
	return b
}

// ErlangC returns the share of arrivals that have to wait in M/M/c with an unbounded queue. a must be below c.
func ErlangC(c int, a float64) float64 {
	b := ErlangB(c, a)
	return b / (1 - a/float64(c)*(1-b))
}

// MeanWait returns the mean wait of an arrival at M/M/c whose mean service time is 1.
func MeanWait(c int, a float64) float64 { return ErlangC(c, a) / (float64(c) - a) }

// DeterministicWait returns the mean wait at M/D/1 with a service time of 1/rate, such as a token bucket of burst 1,
// when arrivals come at the given rate.
func DeterministicWait(arrivals, rate float64) float64 {
	rho := arrivals / rate
	return rho / (2 * rate * (1 - rho))
}
