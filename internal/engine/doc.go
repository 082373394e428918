// Package engine runs a call through its layers. It is the one place where admitted guards are settled.
//
// A [Plan] is a list of nodes, outermost first: runs of guards, repeaters, wrappers, and at the end the operation. [run] is
// the step into a node, whatever it is. Unless the context has ended, it goes on with
//
//	guarded    admits a run of guards, runs the next node, settles the guards     guard.go
//	repeated   runs the next node for each attempt, and asks the repeater         repeat.go
//	wrapped    lets a wrapper run the next node as often as it wants              wrap.go
//	traced     calls the operation, where more than its result is wanted          trace.go
//
// or calls the operation itself. This is a call through retry(breaker(timeout(op))) that succeeds at its second attempt:
//
//	Do
//	  run, repeated
//	    run, guarded                   breaker.Admit, timeout.Admit
//	      run                          op returns an error
//	      held.settle                  timeout.Settle, breaker.Settle
//	    node.deposit                   the call pays into the budget of the retry
//	    repeatedAgain
//	      retrying.decide
//	        gates.ready                would the breaker refuse?
//	                                   retry.Next answers Again, after a wait
//	        gates.sleep
//	        gates.ready                and now?
//	      run, guarded                 breaker.Admit, timeout.Admit
//	        run, retry.enter           op returns a value
//	        held.succeed               timeout.Settle, breaker.Settle
//	                                   retry.Next is told of the success
//
// Each step returns a value and an ending. A panic or runtime.Goexit goes up through the same steps: held.unwind settles the
// guards of each.
//
// The words of the package, in the order of reading:
//
//	ending      how the operation, or the part of a pipeline around it, has ended           ending.go
//	held        the guards of one node that have admitted and are not settled yet           guard.go
//	retrying    a call after its first failure                                              repeat.go
//	retry       one of its further attempts: context and operation                          repeat.go
//	race        the attempts of a wrapper, which may run at the same time                   race.go
//	standing    what they have come to so far                                               race.go
//	result      what one of them came to                                                    race.go
//	trace       what goes along with an attempt for events, or for a result that stays open trace.go
//	exit        what an observer was told of that has then called runtime.Goexit            trace.go
//	watch       what counts how a call ends, and tells observers                            watch.go
//	openResult  what outlives an operation until its permit is settled                      open.go
//	kept        a guard that stays admitted for that long                                   open.go
//	answer      what a failed attempt leaves to be read, such as the body of a 503          answer.go
package engine
