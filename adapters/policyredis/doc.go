// Package policyredis is a rate limit that many processes share, through Redis 6.2 or later, Valkey, or a Redis Cluster.
//
//	api := policyredis.New(client, "partner-api", 100, 20, policyredis.FailLocal(10)) // 100 per second for all 10 processes
//	backend := resilience.Compose(retry.New(), breaker.New(), api)
//
//	clients := policyredis.NewPerKey(client, 10, 20, tenantOf) // 10 per second for each tenant
//
// client is the one that the application already has, from go-redis, rueidis or valkey-go; see [Scripter]. This package
// links none of them.
//
// # What it promises
//
//   - In each window of length w, the attempts of all processes together take at most burst + rate·w tokens, as long as
//     the store keeps its data: see [docs/redis.md] for what a failover can cost. The server's clock counts; those of
//     the processes do not matter.
//   - Each decision takes one round trip, with an atomic script, and a second one if the server does not know the
//     script, as after a restart.
//   - A decision takes at most the [Deadline], whatever the client's settings; see [TrustClient].
//   - A lost or malformed reply never admits an attempt. Tokens that the server took for it are lost.
//   - A rejection says exactly when to come back, by the server's clock. If coming back is of no use, it names no time.
//   - While the store does not answer, the failure mode decides: [FailLocal], the default, [FailOpen] or [FailClosed].
//     A breaker lets only one attempt in each [Probe] interval wait for the store. [Limiter.Report] says which mode is
//     in force and since when, and [OnChange] reports each change.
//   - Attempts that were admitted but never made, because an inner layer refused them, give their tokens back.
//
// A limiter is not a [policy.Gate]: a lack of tokens says nothing about the health of the dependency.
//
// [docs/redis.md]: https://github.com/go-resilience/resilience/blob/main/docs/redis.md
package policyredis

// These are two calls through limiter(breaker(op)). The store refuses the first one. The second one gets its tokens, and is
// refused by the breaker:
//
//	Limiter.Admit
//	  core.admit
//	    account.spend                what was taken and not used pays first; here it is nothing
//	    core.decide                  its verdict is granted, refused, or undecided
//	      core.askStore              with Lots: askLot, which calls it only if the lot does not suffice
//	        core.ask                 notes what is known of the debt, for account.hear
//	          store.ask
//	            breaker.Admit        open: nobody is asked
//	            places.take          none left: ErrBusy
//	            store.callHere       with a client that is trusted; or else
//	            call.run             on a goroutine of its own, for which call.await waits
//	              store.run          sends EVALSHA, and EVAL if the server does not know the script; reads the reply
//	              store.settle       tells the breaker
//	            core.record          tells the mode
//	              account.hear       compares with what was known
//	    core.refuse                  the verdict is refused: ErrLimited until the tokens are due
//
//	Limiter.Admit
//	  core.admit
//	    account.spend, core.decide   as above; the verdict is granted
//	    share.charge                 the share of the process is charged, too
//	    core.admitWith               the ticket is a receipt of what was taken
//	Limiter.Settle                   NotCalled, as the breaker has refused
//	  core.giveBack                  to the account, for the next attempt, and to the share of the process
//
// While the store does not answer, the verdict is undecided, and core.withoutStore asks the share of the process, or admits or
// refuses everything.
//
// The words of the package, in the order of reading; each has a file of its name, or is in the file of the word above it:
//
//	amount      tokens as time, and so a debt
//	moment      a time by the process's own clock
//	quota       a rate and a burst as amounts
//	core        what a Limiter and a PerKey have in common
//	admission   how a purchase, what an attempt is to take, gets its verdict
//	receipt     what an attempt has taken
//	bucket      what this process keeps of one key: share, account and lot
//	target      a bucket, and what it is called in Redis
//	share       the process's part of the limit, for when the store does not answer
//	account     what the process knows of the debt in Redis, and its refunds
//	refund      what it has taken there for an attempt that was not made
//	lot         what it has taken there for attempts to come
//	script      what decides in Redis; it is asked a question and gives an answer
//	store       the server, behind a deadline and a breaker; it is sent a request
//	call        a call of the client on a goroutine of its own
//	witness     the call that goes on though its caller has left
//	places      for the calls that run
//	mode        who decides, and how that changes
