// Package engine runs a call through its layers. It is the one place where admitted guards are settled.
//
// A [Plan] is a list of nodes, outermost first: runs of guards, repeaters, wrappers, and at the end the operation. [run] is
// the step into a node, whatever it is. Unless the context has ended, it goes on with
//
//	guarded    admits a run of guards, runs the next node, settles the guards     guard.go
//	repeated   runs the next node for each attempt, and asks the repeater         repeat.go
//	wrapped    lets a wrapper run the next node as often as it wants              wrap.go
//	traced     calls the operation, where the call is timed or stays open         trace.go
//
// or calls the operation itself. This is a call through retry(breaker(timeout(op))) that succeeds at its second attempt:
//
//	Do
//	  run, repeated
//	    run, guarded                   breaker.Admit, timeout.Admit
//	      run                          op returns an error
//	      held.settle                  timeout.Settle, breaker.Settle
//	    node.deposit                   the call pays into the budget of the retry
//	    retryLoop
//	      retrying.untilDue
//	        gates.ready                would the breaker refuse?
//	                                   retry.Next answers Again, after a wait
//	        gates.sleep
//	        gates.ready                and now?
//	      run, guarded                 breaker.Admit, timeout.Admit
//	        run, furtherAttempt.enter  op returns a value
//	        held.succeed               timeout.Settle, breaker.Settle
//	                                   retry.Next is told of the success
//
// Each step returns a value and an ending. These settle guards, and what they tell them:
//
//	held.succeed        the attempt has succeeded                      success
//	held.settle         it has failed, or was refused inside           its ending
//	held.unwind         a panic or runtime.Goexit passes through:
//	                    while they were being admitted                 NotCalled
//	                    later                                          Panicked, or what exit.go says
//	openResult.keep     it has succeeded, and its result stays open    nothing yet, and later
//	openResult.release  the permit is settled                          what its owner says
//	openResult.abandon  the result has got no owner                    success
//	acquisition         one of its guards has refused the others       NotCalled, with the refusal
//
// The words of the package, in the order of reading:
//
//	plan            a pipeline made ready to run                                                plan.go
//	node            one step on the way to the operation                                        plan.go
//	ending          how the operation, or the part of a pipeline around it, has ended           ending.go
//	held            the guards of one node that have admitted and are not settled yet           guard.go
//	gates           the layers inside a repeater that can be asked whether they would admit     gates.go
//	retrying        a call after its first failure                                              repeat.go
//	furtherAttempt  one of its attempts after the first: context and operation                  repeat.go
//	race            the attempts of a wrapper, which may run at the same time                   race.go
//	standing        what they have come to so far                                               race.go
//	result          what one of them came to                                                    race.go
//	judge           whom a wrapper asks what the errors of its attempts mean                    judge.go
//	openResult      what outlives an operation until its permit is settled                      open.go
//	kept            a guard that stays admitted for that long                                   open.go
//	answer          what a failed attempt leaves to be read, such as the body of a 503          answer.go
//	acquisition     an open result without an operation                                         acquire.go
//	trace           what goes along with an attempt for events, or for a result that stays open trace.go
//	timed           said of a call whose times an observer wants                                trace.go
//	exit            what guards are told when runtime.Goexit passes through                     exit.go
//	watch           what counts how a call ends, and tells observers                            watch.go
package engine
