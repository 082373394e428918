package policystatus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// explanation is why calls are refused, for a reader who does not know the library.
type explanation struct {
	Code  string    `json:"code,omitempty"`
	Who   string    `json:"who"`            // the policy, such as: breaker "users"
	What  string    `json:"what"`           // what it does, such as: refuses every call
	Why   string    `json:"why"`            // without a full stop
	Since time.Time `json:"since,omitzero"` // zero when it is no state
	Until time.Time `json:"until,omitzero"` // zero when it is not known
	When  string    `json:"when,omitempty"` // since and until in words
	Next  string    `json:"next,omitempty"` // what happens by itself, a sentence
	Do    string    `json:"do,omitempty"`   // what an operator can do, sentences
}

// Text returns everything as sentences.
func (e explanation) Text() string {
	text := []string{e.Lead()}
	for _, sentence := range []string{e.When, e.Next, e.Do} {
		if sentence != "" {
			text = append(text, sentence)
		}
	}
	return strings.Join(text, " ")
}

// Lead returns the sentence that says who, what and why.
func (e explanation) Lead() string { return capital(e.Who) + " " + e.What + ": " + e.Why + "." }

// Explain says in plain sentences why a call ended with err: which policy, why, until when, and what an operator can
// do. It is the text that a [Page] shows, as far as the error knows the facts. For nil it returns "". A panic in a
// method of err does no harm.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	f := factsOf(err)
	e := explain(f, time.Now())
	text := e.Text()
	if said := errorText(err); said != "" {
		text += " The error: " + said + "."
	}
	return text
}

// facts is what is known about a refusal.
type facts struct {
	code, kind, name string
	reason           string
	until            time.Time
	described        string         // what the layer says of itself
	report           *policy.Report // of the layer at that moment; nil when there is none
}

// factsOf returns what an error says of itself.
func factsOf(err error) (f facts) {
	defer func() {
		if recover() != nil { // in a method of the error
			f = facts{code: f.code, kind: f.kind, name: f.name}
		}
	}()
	f.code = clean(policy.Code(err), 64)
	if rejection, ok := errors.AsType[*policy.Rejection](err); ok {
		if f.code == "" {
			f.code = "rejected"
		}
		f.kind, f.name, f.until = clean(rejection.Kind, mostName), clean(rejection.Name, mostName), rejection.Until
		if rejection.Reason != nil {
			f.reason = errorText(rejection.Reason)
		}
		return f
	}
	if wait, ok := policy.RetryAfter(err); ok {
		f.until = time.Now().Add(wait)
	}
	f.reason = errorText(err)
	return f
}

// value returns a value of the report.
func (f facts) value(name string) (policy.Value, bool) {
	if f.report == nil {
		return policy.Value{}, false
	}
	v, ok := f.report.Value(name, "")
	return v, ok && !v.Unknown
}

// ofLimit returns "5 of 16", "" when it is not known.
func (f facts) ofLimit(name string) string {
	v, ok := f.value(name)
	if !ok || v.Limit == 0 {
		return ""
	}
	return number(v.Number, v.Unit) + " of " + number(v.Limit, v.Unit)
}

// explain says what the facts mean, as of now.
func explain(f facts, now time.Time) explanation {
	e := explanation{Code: f.code, Until: f.until}
	kind := f.kind
	if kind == "" {
		kind = kindOf(f.code)
	}
	e.Who = layerName(kind, f.name)
	if f.kind == "" && kind != "" && f.name == "" {
		e.Who = "the " + kind
	}
	switch {
	case f.code == "breaker.open":
		explainBreaker(&e, f)
	case f.code == "throttle.throttled":
		e.What = "refuses a share of the calls"
		e.Why = "the dependency has accepted too few of the last calls"
		if share, ok := f.value("probability"); ok {
			e.What = "refuses " + number(share.Number, share.Unit) + " of the calls"
			requests, _ := f.value("requests")
			accepts, _ := f.value("accepts")
			e.Why = fmt.Sprintf("of the last %s calls the dependency has accepted %s",
				number(requests.Number, requests.Unit), number(accepts.Number, accepts.Unit))
		}
		e.Next = "It refuses fewer, and then none, as the dependency accepts more."
		e.Do = "Find out why the dependency is overloaded, and send it less. Shadow lets every call through and only counts."
	case strings.HasPrefix(f.code, "ratelimit."):
		explainLimiter(&e, f)
	case strings.HasPrefix(f.code, "bulkhead."):
		explainBulkhead(&e, f)
	default:
		explainOther(&e, f)
	}
	e.When = when(e, f, now)
	return e
}

// kindOf returns the kind of policy that codes of this family come from.
func kindOf(code string) string {
	switch family, rest, _ := strings.Cut(code, "."); family {
	case "ratelimit":
		return "rate limiter"
	case "breaker", "bulkhead", "throttle", "retry", "hedge", "fallback":
		return family
	case "timeout":
		switch rest {
		case "total", "attempt":
			return rest + " timeout"
		case "abandoned", "max_running":
			return "abandoning timeout"
		}
		return family
	}
	return ""
}

func explainBreaker(e *explanation, f facts) {
	state := policy.State{Name: "open"}
	if f.report != nil {
		state = f.report.State
	} else if strings.Contains(f.reason, "forced") {
		state.Name = "forced open"
	}
	e.What, e.Since = "refuses every call", state.Since
	if e.Until.IsZero() {
		e.Until = state.Until
	}
	e.Do = "Find out why the dependency fails. If you know that it is well again, reset the breaker: it lets calls " +
		"through and decides anew. To let every call through whatever happens, force it closed."
	switch {
	case state.Name == "forced open":
		e.Until = state.Until
		e.Why = "it was forced open by hand"
		e.Next = "It stays open until it is reset."
		e.Do = "Ask who forced it, and why, before you reset it."
	case state.Name == "half-open" || strings.Contains(f.reason, "probes"):
		e.What = "refuses most calls"
		e.Why = "its open time is over, and it finds out with a few calls whether the dependency is well again"
		e.Next = "If they succeed it closes and every call passes; if they fail it opens again."
	case strings.Contains(f.reason, "recovering"):
		e.What = "refuses some calls"
		e.Why = "the dependency has just recovered, and the load comes back gradually"
		e.Next = "Every call passes when the recovery is over."
		e.Do = "Nothing, if you can wait. To let every call through at once, force it closed."
	default:
		e.Why = "the circuit is open, because too many calls failed"
		if text := causeText(state.Cause); text != "" {
			e.Why = text
		}
		e.Next = "Then it tries again with a first call: if that succeeds it closes, if not it stays open."
	}
}

// causeText returns why a state was entered, in words.
func causeText(c policy.Cause) string {
	switch c.Rule {
	case "":
		return ""
	case "Trip", "ForceOpen", "ForceClosed", "Reset":
		return "by hand: " + c.Rule + " was called"
	case "OpenFor":
		return "its open time was over"
	case "FailedProbes":
		return lastError(fmt.Sprintf("the dependency is not well yet: of the calls that were to find out, %d of %d %s",
			c.Bad, c.Calls, clean(c.What, 40)), c)
	case "Successes":
		return "the calls that were to find out succeeded"
	case "TripWhen":
		return "the rule of TripWhen, which is code of this service, said so"
	}
	text := clean(c.String(), mostText)
	if text == c.Rule {
		text = "by the rule " + text
	}
	return lastError(text, c)
}

// lastError adds the last error that counted.
func lastError(text string, c policy.Cause) string {
	if c.Err != nil {
		text += "; the last error was: " + errorText(c.Err)
	}
	return text
}

func explainLimiter(e *explanation, f facts) {
	e.What = "refuses calls"
	e.Next = "Tokens come back all the time, at the configured rate."
	e.Do = "Slow the callers down, or raise the rate if the dependency allows more. Shadow lets every call through and only counts."
	switch f.code {
	case "ratelimit.deadline":
		e.Why = "the next token would come too late for the deadline of the call"
	case "ratelimit.full":
		e.Why = "too many calls wait for a token already"
		if queued := f.ofLimit("queued"); queued != "" {
			e.Why = queued + " calls wait for a token already"
		}
	case "ratelimit.cost":
		e.Why = "the call costs more tokens than there can ever be, or less than none"
		e.Next = "Such a call never passes."
		e.Do = "Correct what the call costs, or raise the burst."
	case "ratelimit.exhausted":
		e.Why = "no more tokens will come, because the rate is 0 or next to it"
		e.Next = "No call passes until the rate is raised."
		e.Do = "Raise the rate. Shadow lets every call through and only counts."
	default:
		e.Why = "calls come faster than the rate allows"
		if f.described != "" {
			e.Why += " (" + f.described + ")"
		}
		if strings.Contains(f.reason, "longer than allowed") {
			e.Why += ", and would wait for longer than allowed"
		}
	}
}

func explainBulkhead(e *explanation, f facts) {
	e.What = "refuses calls"
	e.Next = "A slot becomes free as soon as a call ends."
	e.Do = "See whether calls take longer than usual: a slow dependency keeps slots taken. " +
		"More slots help only if it can serve more calls at a time. Shadow lets every call through and only counts."
	slots := "all slots are taken"
	if taken := f.ofLimit("in_flight"); taken != "" {
		slots = taken + " slots are taken"
	}
	switch f.code {
	case "bulkhead.queue_full":
		e.Why = slots + ", and all places in the queue"
		if queued := f.ofLimit("queued"); queued != "" {
			e.Why = slots + ", and " + queued + " places in the queue"
		}
	case "bulkhead.queue_timeout":
		e.Why = slots + ", and none became free in the time that a call may wait"
	case "bulkhead.deadline":
		e.Why = slots + ", and none became free before the deadline of the call"
	case "bulkhead.weight":
		e.Why = "the weight of the call is above the limit, or below 1"
		e.Next = "Such a call never passes."
		e.Do = "Correct the weight of the call, or raise the limit."
	case "bulkhead.draining":
		e.What = "refuses every call"
		e.Why = "it is draining, as before the end of the process"
		if f.report != nil {
			e.Since = f.report.State.Since
		}
		e.Next = "It does not admit calls again."
		e.Do = "Send the calls to another instance. If the process was not meant to end, restart it."
	default:
		e.Why = slots
	}
}

// other is what the codes without facts of their own mean.
var other = map[string]explanation{
	"timeout.total": {
		What: "ended the call", Why: "all attempts and waits together took longer than it allows",
		Do: "Find out why the dependency is slow. A longer timeout makes callers wait for longer.",
	},
	"timeout.attempt": {
		What: "ended the attempt", Why: "it took longer than the timeout allows",
		Do: "Find out why the dependency is slow. A longer timeout makes callers wait for longer.",
	},
	"timeout.abandoned": {
		What: "left the attempt", Why: "it took longer than the timeout allows; the operation may still be running",
		Do: "Find out why the operation hangs, and why it does not end with its context.",
	},
	"timeout.max_running": {
		What: "refuses calls", Why: "too many operations are running, abandoned ones included",
		Next: "Calls pass again when operations end.",
		Do:   "Find out why operations hang. If they never end, only a restart gets rid of them.",
	},
	"retry.budget": {
		What: "makes no more retries", Why: "its budget is spent, because too many calls failed lately",
		Next: "Every call still gets its first attempt; the budget refills with time and with calls.",
		Do:   "Find out why the dependency fails. More retries would add load to it.",
	},
	"retry.exhausted": {
		What: "gave up", Why: "every attempt it may make has failed",
		Do: "Find out why the dependency fails.",
	},
	"retry.final": {
		What: "made no further attempt", Why: "the last error is one that another attempt would not mend",
		Do: "See what the last error says.",
	},
	"retry.deadline": {
		What: "made no further attempt", Why: "the wait before it would outlast the deadline of the call",
		Do: "Find out why attempts fail or are slow, or give the call more time.",
	},
	"retry.after": {
		What: "made no further attempt", Why: "the dependency asked to wait for longer than a retry may",
		Do: "Send the dependency less, or come back later.",
	},
	"retry.not_done": {
		What: "ended the loop", Why: "a pass of it ended without Done, which is a mistake in the code of this service",
		Do: "Correct the loop: every pass must say how it ended.",
	},
	"hedge.lost": {
		What: "ended the attempt", Why: "another attempt of the same call was faster",
		Next: "That is how hedging works: the call has its answer.",
	},
	"fallback.no_last_good": {
		What: "had no answer", Why: "the call failed, and there is no earlier good result that is young enough",
		Do: "Find out why the call failed.",
	},
	"fallback.failed": {
		What: "failed too", Why: "the call failed, and so did the fallback",
		Do: "Find out why the call failed, and then why its fallback did.",
	},
	"fallback.not_open": {
		What: "cannot serve the call", Why: "the results of the policy inside it cannot stay open",
		Do: "Correct the code of this service.",
	},
	"canceled": {
		Who: "the caller", What: "ended the call", Why: "it cancelled the context, as when a client goes away",
		Do: "Nothing, if callers leave on purpose. If they leave because they wait for long, find out why it takes long.",
	},
	"deadline": {
		Who: "the caller", What: "ended the call", Why: "its deadline was over",
		Do: "Find out why the call was slow, or give it more time.",
	},
	"": {
		Who: "the operation", What: "failed", Why: "the dependency returned an error; no policy refused the call",
		Do: "See what the error says.",
	},
}

func explainOther(e *explanation, f facts) {
	known, ok := other[f.code]
	if !ok || f.code == "" && f.kind != "" {
		e.What, e.Why = "refuses calls", "it gave the code "+f.code
		if f.code == "" || f.code == "rejected" {
			e.Why = "it gave no reason"
		}
		if f.reason != "" {
			e.Why = f.reason
		}
		e.Do = "The policy is not one of the library's own: ask those who wrote it."
		if f.kind == "" {
			e.Who, e.What = "a policy", "ended the call"
		}
		return
	}
	e.What, e.Why, e.Next, e.Do = known.What, known.Why, known.Next, known.Do
	if known.Who != "" {
		e.Who = known.Who
	}
	if tokens := f.ofLimit("tokens"); f.code == "retry.budget" && tokens != "" {
		e.Why = "its budget is spent, because too many calls failed lately; it holds " + tokens + " tokens"
	}
}

// when puts since and until into words, as of now.
func when(e explanation, f facts, now time.Time) string {
	state := ""
	if f.report != nil && f.report.State.Name != "" && !e.Since.IsZero() {
		state = f.report.State.Name
	}
	var text string
	switch {
	case state != "":
		text = fmt.Sprintf("It has been %s since %s, for %s", state, clock(e.Since, now), span(now.Sub(e.Since)))
		if e.Until.After(now) {
			text += fmt.Sprintf(", and stays so until %s, for %s more", clock(e.Until, now), span(e.Until.Sub(now)))
		}
	case e.Until.After(now):
		text = fmt.Sprintf("A call passes again at %s, in %s", clock(e.Until, now), span(e.Until.Sub(now)))
	default:
		return ""
	}
	return text + "."
}
