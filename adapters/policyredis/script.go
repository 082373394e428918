package policyredis

import (
	"crypto/sha1" //nolint:gosec // it is the name that Redis gives to a script
	"encoding/hex"
	"fmt"
	"strconv"
)

// script decides in one round trip, on the server's clock, in whole nanoseconds, which a double holds exactly up to 2⁵³.
//
// It is the generic cell rate algorithm (ITU-T I.371) in its form as a leaky bucket. The key holds a moment of the server's
// clock and the debt of that moment: how long it would have taken until the bucket is full again. The debt falls by one
// nanosecond in each. A token adds one unit to it, and it never exceeds the capacity, burst units. The key lives as long as
// there is debt: a key that is gone is a full bucket.
//
// Moment and debt are kept apart so that a clock that goes back, as after a failover, mints nothing and freezes nothing: the
// debt then stands still until it is written with the new clock, which happens at once, also when the answer is no.
//
// Arguments: the capacity; the least to take, and the most, in whole units if there is room for them; the unit. A most of 0
// writes nothing. A negative least and most give back, also to a bucket that has become smaller since. A second key, which
// lives for a minute, then keeps a client that does not hear the answer, and sends the script again, from giving back twice.
//
// The answer is the debt before it took anything, or, when it refuses, the wait as a negative number.
const script = `local time = redis.call('TIME')
local second, micro = tonumber(time[1]), tonumber(time[2])
local capacity, least, most, unit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if KEYS[2] and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', 60000) then return 0 end
local debt, write = 0, false
local stored = redis.call('GET', KEYS[1])
if stored then
  local s, u, d = string.match(stored, '^(%d+) (%d+) (%d+)$')
  if not s then return redis.error_reply('ERR policyredis: the key holds something else') end
  local passed = (second - tonumber(s)) * 1000000000 + (micro - tonumber(u)) * 1000
  debt = math.max(0, tonumber(d) - math.max(0, passed))
  write = passed < 0 and most ~= 0
end
local answer = debt
if least > 0 and debt + least > capacity then
  answer = capacity - debt - least
elseif most ~= 0 then
  debt = math.max(0, debt + math.max(least, math.min(most, math.floor((capacity - debt) / unit) * unit)))
  write = true
end
if write and debt > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', second, micro, debt), 'PX', math.ceil(debt / 1000000) + 1)
elseif write then
  redis.call('DEL', KEYS[1])
end
return answer
`

// scriptName is what EVALSHA calls the script by.
var scriptName = func() string {
	sum := sha1.Sum([]byte(script)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}()

// question is what the script is asked.
type question struct{ capacity, least, most, unit amount }

// arguments returns the question as the script reads it. They are text, which every client sends as it is.
func (q question) arguments() []any {
	text := func(a amount) any { return strconv.FormatInt(int64(a), 10) }
	return []any{text(q.capacity), text(q.least), text(q.most), text(q.unit)}
}

// The four questions are told apart by least and most:
//
//	                     least    most    what the script does
//	takeQuestion         > 0      least   takes that, or refuses it where it does not fit
//	takeUpToQuestion     > 0      more    the same, and takes up to most, in whole units, where they fit
//	giveBackQuestion     < 0      least   takes that off the debt, as far as there is debt
//	peekQuestion         > 0      0       says whether least would be refused, and writes nothing

func (q *quota) takeQuestion(a amount) question {
	return question{capacity: q.capacity, least: a, most: a, unit: q.token}
}

func (q *quota) takeUpToQuestion(least, most amount) question {
	return question{capacity: q.capacity, least: least, most: most, unit: q.token}
}

func (q *quota) giveBackQuestion(a amount) question {
	return question{capacity: q.capacity, least: -a, most: -a, unit: q.token}
}

func (q *quota) peekQuestion(a amount) question {
	return question{capacity: q.capacity, least: a, most: 0, unit: q.token}
}

// arguments returns a question as the script reads it.
func (q *quota) arguments(asked question) []any {
	if asked == q.takeOne {
		return q.takeOneArguments
	}
	return asked.arguments()
}

// writes reports whether the script may write to answer.
func (q question) writes() bool { return q.most != 0 }

// givesBack reports whether it is a giveBackQuestion. When it is asked a second time, the script answers without looking.
func (q question) givesBack() bool { return q.least < 0 }

// takes returns how much the script takes from a bucket with a debt when it does not refuse: less than 0 when that goes back.
func (q question) takes(debt amount) amount {
	if !q.writes() {
		return 0
	}
	return max(q.least, min(q.most, (q.capacity-debt)/q.unit*q.unit))
}

// answer is what the script says.
type answer struct {
	debt  amount // before anything was taken
	taken amount // in addition to it; 0 when it refuses
	wait  amount // until the least would be there; 0 when it does not refuse
}

// answerTo reads a reply. Anything but an integer that the script can answer to this question is an error: a bad reply never
// admits.
func (q question) answerTo(reply any) (answer, error) {
	integer, ok := reply.(int64)
	n := amount(integer)
	switch {
	case !ok:
		return answer{}, fmt.Errorf("%w: %T instead of an integer", errReply, reply)
	case n < -2*maxCapacity || n > maxCapacity || q.least > 0 && n > q.capacity-q.least:
		return answer{}, fmt.Errorf("%w: %d is out of range", errReply, n)
	case n < 0 && q.givesBack():
		return answer{}, fmt.Errorf("%w: %d refuses what goes back", errReply, n)
	case n < 0:
		return answer{debt: q.capacity - q.least - n, wait: -n}, nil
	}
	return answer{debt: n, taken: q.takes(n)}, nil
}
