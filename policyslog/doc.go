// Package policyslog shows what pipelines do in logs, in expvar and in recordings. It needs the standard library only.
//
//	log := policyslog.New(slog.Default())
//	backend := resilience.Compose(
//		resilience.Name("users"),
//		retry.New(),
//		breaker.New(breaker.Name("users-db"), breaker.OnChange(log.Change)),
//		resilience.Observe(log),
//	)
//	policyslog.Expvar("resilience", backend)
//
// # Logs
//
// A [Log] is an observer of pipelines and a subscriber for changes of breakers. It writes
//
//	WARN   a breaker has opened, and INFO for its other changes: one line each, with the cause and the numbers
//	WARN   a call was given up after retries: one line for each retry that gave up
//	WARN   attempts were refused: at most one line per second and policy, with how many
//	DEBUG  attempts, retries and waits
//
// What the caller cancelled is logged at DEBUG. [Level] and [ChangeLevel] set other levels, and [Off] leaves kinds out.
// Messages are constant, except those about changes of a breaker. Everything is in attributes too, inside the group
// "resilience"; durations and numbers keep their type.
//
// A call that succeeds at its first attempt costs next to nothing, unless the logger was enabled for the level of attempts
// when the Log was made.
//
// # Expvar
//
// [Expvar] publishes the reports of pipelines. They are read on demand; calls pay nothing.
//
// # Recordings
//
// [Record] writes one JSON line for each attempt and each call: for a replay of the traffic against other policies, and for
// any tool that reads JSON. [Line] is the format.
//
// # What waits, and what does not
//
// A log line is written on the goroutine of the call that it is about; a timer writes the lines that count refusals. So
// a call that logs waits for the handler, and a handler that hangs holds that call. Calls that log nothing do not wait,
// nor do refusals after the first in a second. The goroutine that caused a breaker to change waits for the line, as it
// does for every subscriber. A recording is written on a separate goroutine: no call ever waits for the writer. A panic
// in a handler or a writer does not affect calls.
package policyslog
