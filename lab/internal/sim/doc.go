// Package sim is a simulated world in virtual time, in which the library's real policies run: goroutines, contexts,
// timers and locks are the real ones, only the clock is not, and the load and the servers are models.
//
// # A world
//
// [Run] makes a [World] from a seed and runs a model in it. A model composes its pipelines, makes its servers, starts its
// load, and returns; then time begins. [World.Open] is load from outside: calls come by their own clock, whatever
// becomes of them. [World.Go] starts a client that makes one call after the other. Both are actors, and an [Actor] is
// a context: calls are made under it. An operation asks for an actor of its own with [Attempt], so that two attempts of
// one call can be under way at once.
//
// # Turns
//
// A world repeats itself, bit for bit, when it is made again from the same seed. The scheduler sees to that: it wakes
// one actor at a time, in the order of (time, number), and waits until that one blocks again. Whatever an actor does in
// its turn, nobody else does anything meanwhile, so models need no locks.
//
// The policies wait on timers and channels of their own, though, and an actor that comes out of such a wait is out of
// turn. So every method of this package that touches what actors share takes its turn first ([Actor.Turn]). A model
// that keeps shared state of its own must call Turn before it touches it, after any use of a policy.
//
// At one instant the timers of the policies come first, then departures, then arrivals, each by number: when a timeout and
// an answer fall on the same nanosecond, the timeout wins, and a slot that is given back is there for the call that comes.
//
// Two things would escape the scheduler: timers of several policies at the same instant, which fire in an order that the
// runtime draws by chance, and a slot that one attempt gives back, which wakes another in the same turn. So models compose
// their pipelines with [Compose]: it puts a turnstile after each stage. And calls that come at a whole number of
// milliseconds, say, are set apart from each other by some nanoseconds.
//
// # Chance
//
// Every purpose has its own stream of random numbers, made from the seed, the number of the actor and the name of the
// purpose. So two policies that are compared under one seed see the same arrivals and the same luck. Policies get
// theirs with [World.Source].
package sim
