package policyredis

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-resilience/resilience/internal/option"
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
)

// The bounds of a configuration. Beyond them a double could not hold every number of the script exactly.
const (
	// MaxRate is the largest rate per second. A token then takes a microsecond, which is the resolution of the server's clock.
	MaxRate = 1e6
	// MaxRefill is the longest time that an empty bucket may take to be full again: burst divided by rate.
	MaxRefill = 50 * 24 * time.Hour

	maxCapacity = amount(MaxRefill)

	defaultDeadline = 50 * time.Millisecond
	defaultProbe    = time.Second
	defaultPrefix   = "ratelimit"
	defaultKeys     = 10_000

	maxPrefix = 64
)

// Option configures a [Limiter] or a [PerKey].
type Option func(*config)

// config is a configuration. Once checked, it does not change.
type config struct {
	given     setting.List
	perSecond float64
	burst     int

	name, prefix    string
	deadline, probe time.Duration
	failureMode     Mode
	peers           int
	lotSize         int // of Lots; 0: the store is asked for each attempt
	lotKeep         time.Duration
	shadow          bool
	trusted         bool
	maxKeys         int
	costOf          func(context.Context) int
	onChange        []func(Change)
	onError         func(error)

	generation uint64 // how many configurations of the limiter came before

	quota quota // that rate, burst and peers make
}

// Name names the limiter in its rejections, its [policy.Report] and its changes. By default it has no name. The name is
// not the key: two processes may use one key under different names.
func Name(name string) Option {
	return func(c *config) {
		c.name = name
		c.given.Data("Name", setting.Arg("name", name))
	}
}

// Prefix sets how the names of keys in Redis begin. A key is named prefix:{key}, so that a cluster keeps everything
// about one key on one node. prefix must not be empty, must not be longer than 64 bytes, and must not contain { or }.
// The default is "ratelimit".
func Prefix(prefix string) Option {
	return func(c *config) {
		c.prefix = prefix
		c.given.Data("Prefix", setting.Arg("prefix", prefix))
	}
}

// Deadline bounds how long an attempt waits for the store, whatever the client's own settings are; see also [TrustClient]. It
// must be from 1ms to a minute. The default is 50 ms.
func Deadline(limit time.Duration) Option {
	return func(c *config) {
		c.deadline = limit
		c.given.Data("Deadline", setting.Arg("limit", limit))
	}
}

// TrustClient says that the client always returns soon after the deadline of its context. The limiter then calls it on
// the goroutine of the attempt, which saves two switches between goroutines: on a busy machine they take about as long
// as the client itself. A client that breaks this promise makes attempts wait for as long as it likes; once it has
// returned more than a second late, it is no longer trusted. With a trusted client, an attempt may notice that its
// context was cancelled only at the deadline. For an attempt that has less time than the deadline, the client is still
// called on a separate goroutine.
//
// A go-redis client of a single server is trusted without this option if its ContextTimeoutEnabled is set, unless it has a
// timeout of -2, a CredentialsProvider or a StreamingCredentialsProvider, which do not keep to contexts. By default all
// other clients are called on separate goroutines.
func TrustClient() Option {
	return func(c *config) {
		c.trusted = true
		c.given.Data("TrustClient")
	}
}

// Probe sets how often one attempt asks a store again that does not answer. Up to a tenth is added at random, so that
// processes do not probe together. It must be from 10ms to a day. The default is 1 s.
func Probe(every time.Duration) Option {
	return func(c *config) {
		c.probe = every
		c.given.Data("Probe", setting.Arg("every", every))
	}
}

// FailLocal lets each process keep to its share while the store does not answer: rate and burst divided by peers, which
// is how many processes share the limit. It is the default, with 1 peer. Say how many there are, or each process uses
// the whole limit in an outage.
//
// The local bucket is charged for everything that the store admits, so that no process starts an outage with a full
// burst. The local burst is at least 1 token. An attempt that costs more than it is admitted when the local bucket is
// full.
//
// peers must be at least 1, and not so many that the share would take longer than [MaxRefill] to refill.
func FailLocal(peers int) Option {
	return func(c *config) {
		c.failureMode, c.peers = Local, peers
		c.failWith("FailLocal", setting.Arg("peers", peers))
	}
}

// FailOpen admits everything while the store does not answer. Whoever can slow the store down, or fill its connections, can
// then switch the limit off.
func FailOpen() Option {
	return func(c *config) {
		c.failureMode, c.peers = Open, 1
		c.failWith("FailOpen")
	}
}

// FailClosed refuses everything with [ErrStore] while the store does not answer.
func FailClosed() Option {
	return func(c *config) {
		c.failureMode, c.peers = Closed, 1
		c.failWith("FailClosed")
	}
}

func (c *config) failWith(name string, args ...policy.Argument) {
	c.given = slices.DeleteFunc(c.given, func(s policy.Setting) bool {
		return s.Name == "FailLocal" || s.Name == "FailOpen" || s.Name == "FailClosed"
	})
	c.given.Data(name, args...)
}

// Lots is for very hot keys: the process takes up to n tokens more than an attempt costs, and then admits attempts
// without asking the store, which makes about one round trip for n attempts. Unused tokens go back after keep;
// [Limiter.Drain] gives them back at once. After the store has refused, attempts of at least that cost are refused
// without asking until their tokens are due, but no longer than keep. n must be from 1 to the burst, keep from 1ms to a
// minute. By default the limiter asks for each attempt.
//
// The price is accuracy. In each window at most burst + rate·w attempts begin, plus at most n in each process, which it
// held when the window began. And each process may withhold up to n tokens from the others, for at most keep.
func Lots(n int, keep time.Duration) Option {
	return func(c *config) {
		c.lotSize, c.lotKeep = n, keep
		c.given.Data("Lots", setting.Arg("n", n), setting.Arg("keep", keep))
	}
}

// CostOf sets how many tokens an attempt costs. cost is called once for each attempt, on its own goroutine and under no
// lock, with the attempt's context. The default is 1 for every attempt. An attempt with a cost of 0 takes nothing and
// does not call the store. An attempt with a cost above the burst, or below 0, can never be admitted: it is refused
// with [ratelimit.ErrCost] without a call to the store.
func CostOf(cost func(ctx context.Context) int) Option {
	return func(c *config) {
		c.costOf = cost
		c.given.Code("CostOf")
	}
}

// Shadow makes the limiter refuse nothing and count what it would refuse; see [Limiter.Shadow]. The default is to
// enforce.
func Shadow() Option {
	return func(c *config) {
		c.shadow = true
		c.given.Data("Shadow")
	}
}

// Keys bounds the number of keys for which a [PerKey] keeps a local bucket, from 1 to 10,000,000. Keys that find no
// place share one bucket while the store does not answer; the store still limits each of them separately. A key takes
// about 500 bytes. The default is 10,000. A [Limiter] has one key and refuses the option.
func Keys(n int) Option {
	return func(c *config) {
		c.maxKeys = n
		c.given.Data("Keys", setting.Arg("n", n))
	}
}

// OnChange adds a function that is called for every change of [Mode], in order and one at a time. It runs under no
// lock, on the goroutine of the attempt that caused the change, or on that of the call to the store if the attempt has
// left. It should be fast. A panic in it is dropped.
func OnChange(f func(Change)) Option {
	return func(c *config) {
		c.onChange = append(c.onChange, f)
		c.given.Code("OnChange")
	}
}

// OnError sets a function that is called for every error of the store, on the same goroutines as that of [OnChange].
// While the store's breaker is open, that is once in each [Probe] interval. Errors of a server that works, such as a
// wrong type at the key or a missing permission, do not open it: they come with every attempt. The function must be
// fast and safe for concurrent use. A panic in it is dropped.
func OnError(f func(error)) Option {
	return func(c *config) {
		c.onError = f
		c.given.Code("OnError")
	}
}

// Validate returns the [*policy.ConfigError] that [New] would panic with for a rate, a burst and options, or nil.
func Validate(perSecond float64, burst int, options ...Option) error {
	_, problems := configure(perSecond, burst, options)
	return problems.Err()
}

// configure returns the configuration that options make, and what is wrong with it.
func configure(perSecond float64, burst int, options []Option) (*config, *policy.ConfigError) {
	problems := &policy.ConfigError{Policy: "policyredis"}
	c := &config{
		perSecond: perSecond, burst: burst, prefix: defaultPrefix, deadline: defaultDeadline, probe: defaultProbe,
		failureMode: Local, peers: 1, maxKeys: defaultKeys,
	}
	c.given.Data("New", setting.Arg("perSecond", perSecond), setting.Arg("burst", burst))
	option.Apply(c, options, problems)
	c.checkQuota(problems)
	c.checkOptions(problems)
	return c, problems
}

// checkSingle notes what a Limiter, unlike a PerKey, refuses.
func (c *config) checkSingle(problems *policy.ConfigError) {
	if c.given.Given("Keys") {
		problems.Add("Keys %d: a Limiter has one key", c.maxKeys)
	}
}

func (c *config) checkOptions(problems *policy.ConfigError) {
	between := func(name string, d, least, most time.Duration) {
		if d < least || d > most {
			problems.Add("%s %v: must be from %v to %v", name, d, least, most)
		}
	}
	between("Deadline", c.deadline, time.Millisecond, time.Minute)
	between("Probe", c.probe, 10*time.Millisecond, 24*time.Hour)
	if c.given.Given("Lots") {
		between("Lots: keep", c.lotKeep, time.Millisecond, time.Minute)
		if c.lotSize < 1 || c.lotSize > c.burst {
			problems.Add("Lots %d: must be from 1 to the burst, %d", c.lotSize, c.burst)
		}
	}
	switch {
	case c.prefix == "":
		problems.Add("Prefix: is empty")
	case len(c.prefix) > maxPrefix || slices.ContainsFunc([]byte(c.prefix), func(b byte) bool { return b == '{' || b == '}' }):
		problems.Add("Prefix %.80q: must have at most %d bytes, and neither { nor }", c.prefix, maxPrefix)
	}
	if c.maxKeys < 1 || c.maxKeys > 10_000_000 {
		problems.Add("Keys %d: must be from 1 to 10,000,000", c.maxKeys)
	}
	if c.given.Given("CostOf") && c.costOf == nil {
		problems.Add("CostOf: the function is nil")
	}
	if c.given.Given("OnError") && c.onError == nil {
		problems.Add("OnError: the function is nil")
	}
	if slices.ContainsFunc(c.onChange, func(f func(Change)) bool { return f == nil }) {
		problems.Add("OnChange: the function is nil")
	}
}

// inherit takes over from the configuration before c what stays if it is not given: functions, and what cannot be changed. It
// notes what was to be changed and cannot be.
func (c *config) inherit(before *config, problems *policy.ConfigError) {
	if c.given.Given("Name") && c.name != before.name {
		problems.Add("Name %.80q: the limiter is %.80q, and a name cannot be changed", c.name, before.name)
	}
	if c.given.Given("Prefix") && c.prefix != before.prefix {
		problems.Add("Prefix %.80q: the keys begin with %.80q, and a prefix cannot be changed", c.prefix, before.prefix)
	}
	if c.given.Given("Keys") && c.maxKeys != before.maxKeys {
		problems.Add("Keys %d: there are places for %d, which cannot be changed", c.maxKeys, before.maxKeys)
	}
	c.generation = before.generation + 1
	stays := func(name string, again Option) {
		if before.given.Given(name) && !c.given.Given(name) {
			again(c)
		}
	}
	stays("Name", Name(before.name))
	stays("Prefix", Prefix(before.prefix))
	stays("Keys", Keys(before.maxKeys))
	stays("CostOf", CostOf(before.costOf))
	stays("OnError", OnError(before.onError))
	stays("OnChange", func(c *config) {
		for _, f := range before.onChange {
			OnChange(f)(c)
		}
	})
}

// costIn returns what the attempt of a context costs.
func (c *config) costIn(ctx context.Context) int {
	if c.costOf == nil {
		return 1
	}
	return c.costOf(ctx)
}

// text describes the limit.
func (c *config) text() string {
	text := "rate limit "
	if c.name != "" {
		text += fmt.Sprintf("%q ", c.name)
	}
	if c.perSecond >= 1 {
		text += strconv.FormatFloat(math.Round(c.perSecond*1000)/1000, 'f', -1, 64) + "/s"
	} else {
		text += fmt.Sprintf("1 per %v", time.Duration(c.quota.token))
	}
	return text + fmt.Sprintf(" burst %d", c.burst)
}
