package policyconfig_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/breaker"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
	"github.com/go-resilience/resilience/retry"
)

// TestF5_Refused: what is no configuration is refused, with where it is and what is allowed.
func TestF5_Refused(t *testing.T) {
	for _, test := range []struct{ name, layers, want string }{
		{"unknown key", `{"kind": "breaker", "openfor": "5s"}`, `1:57: /pipelines/users/layers/0/openfor: "openfor" is not known here: did you mean "openFor"?`},
		{"unknown kind", `{"kind": "rateLimit"}`, `1:46: /pipelines/users/layers/0/kind: "rateLimit": no kind of layer: did you mean "ratelimit"?`},
		{"no kind", `{}`, `1:37: /pipelines/users/layers/0: "kind" is missing: must be one of ["breaker" "bulkhead" "hedge" "layer" "ratelimit" "retry" "throttle" "timeout"]`},
		{"duplicate key", `{"kind": "breaker", "openFor": "5s", "openFor": "6s"}`, `1:74: /pipelines/users/layers/0/openFor: "openFor" stands here twice: first in line 1`},
		{"NaN", `{"kind": "breaker", "jitter": NaN}`, `1:67: NaN: no such value in JSON; a text stands in quotation marks`},
		{"Infinity", `{"kind": "breaker", "jitter": -Infinity}`, `1:68: 'I' where a digit must stand`},
		{"no unit", `{"kind": "breaker", "openFor": "5"}`, `1:68: /pipelines/users/layers/0/openFor: "5": must be a duration with a unit, such as "250ms", at least 1ms`},
		{"a number of what", `{"kind": "breaker", "openFor": 5}`, `1:68: /pipelines/users/layers/0/openFor: 5: must be a duration with a unit, such as "250ms", at least 1ms`},
		{"unit in words", `{"kind": "breaker", "openFor": "5 seconds"}`, `1:68: /pipelines/users/layers/0/openFor: "5 seconds": must be a duration with a unit, such as "250ms", at least 1ms`},
		{"below the range", `{"kind": "breaker", "probes": 0}`, `1:67: /pipelines/users/layers/0/probes: 0: must be a whole number, from 1 to 10000`},
		{"above the range", `{"kind": "breaker", "jitter": 1.5}`, `1:67: /pipelines/users/layers/0/jitter: 1.5: must be a number, from 0 to 1`},
		{"no whole number", `{"kind": "breaker", "probes": 1.5}`, `1:67: /pipelines/users/layers/0/probes: 1.5: must be a whole number, from 1 to 10000`},
		{"huge", `{"kind": "throttle", "k": 1e999}`, `1:63: /pipelines/users/layers/0/k: 1e999: must be a number, at least 1`},
		{"more digits than any number", `{"kind": "throttle", "k": 1` + strings.Repeat("0", 50) + `}`, `1:63: a number of more than 40 characters`},
		{"missing argument", `{"kind": "breaker", "failureRate": {"rate": 0.5}}`, `1:72: /pipelines/users/layers/0/failureRate: "minimumCalls" is missing: must be a whole number, at least 1`},
		{"no constructor", `{"kind": "timeout"}`, `1:37: /pipelines/users/layers/0: what the timeout bounds is missing: must be one of ["total" "perAttempt" "fromLatency" "abandon"]`},
		{"two constructors", `{"kind": "timeout", "total": "1s", "perAttempt": "1s"}`, `1:37: /pipelines/users/layers/0: more than one of ["total" "perAttempt" "fromLatency" "abandon"]: they contradict each other`},
		{"wrong type", `{"kind": "retry", "retryNested": "yes"}`, `1:70: /pipelines/users/layers/0/retryNested: "yes": must be true or false`},
		{"null", `{"kind": "retry", "attempts": null}`, `1:67: /pipelines/users/layers/0/attempts: null: leave the option out; null only takes away what is inherited`},
		{"options that contradict", `{"kind": "breaker", "countWindow": 5}`, `1:72: /pipelines/users/layers/0/countWindow: CountWindow(5): without FailureRate, FailureCount, SlowCalls or TripWhen nothing looks at it`},
		{"layers that contradict", `{"kind": "timeout", "total": "1s"},
{"kind": "timeout", "perAttempt": "2s"}`, `2:1: /pipelines/users/layers/1: attempt timeout 2s: must be below the total timeout 1s around it`},
		{"two problems of one layer", `{"kind": "breaker", "failureCount": 3},
{"kind": "timeout", "perAttempt": "6s"}`, `1:37: /pipelines/users/layers/0: breaker: the window 10s is shorter than twice the attempt timeout 6s; ` +
			`the probe lease 5s is shorter than the attempt timeout 6s: give it ProbeLease(6s) or more`},
		{"no such code", `{"kind": "retry", "if": "temporary"}`, `1:61: /pipelines/users/layers/0/if: "temporary": nothing is registered in Registry.If under this name: there are none`},
		{"no such policy", `{"use": "db"}`, `1:45: /pipelines/users/layers/0/use: "db": no policy of this name: there are none`},
		{"no such stage", `{"kind": "retry", "stage": "sched"}`, `1:64: /pipelines/users/layers/0/stage: "sched": no stage: did you mean "shed"?`},
		{"no such reason", `{"kind": "retry", "retryRejections": ["bulkhead.ful"]}`, `1:75: /pipelines/users/layers/0/retryRejections/0: "bulkhead.ful": nothing is registered in Registry.Rejection under this name: did you mean "bulkhead.full"?`},
		{"option of another constructor", `{"kind": "bulkhead", "limit": 3, "classify": "x"}`, `1:70: /pipelines/users/layers/0/classify: "classify" goes only with ["adaptive"]`},
		{"comment", `// no`, `1:37: a comment, which JSON does not know, where a value must stand`},
		{"trailing comma", `{"kind": "retry"},`, `1:55: a comma before ']'`},
		{"control character", "{\"kind\": \"re\ttry\"}", `1:49: a control character 0x09 inside a text`},
		{"no UTF-8", "{\"kind\": \"\xff\"}", `1:47: byte 0xff, which is not UTF-8, inside a text`},
		{"half a pair", `{"kind": "\ud800"}`, `1:53: half of a surrogate pair inside a text`},
		{"perKey of a retry", `{"kind": "retry", "perKey": {"key": "x"}}`, `1:55: /pipelines/users/layers/0/perKey: "perKey" is not known here`},
		{"AIMD without a target", `{"kind": "bulkhead", "adaptive": {"algorithm": "aimd", "floor": 1, "ceiling": 2}}`, `1:70: /pipelines/users/layers/0/adaptive: "target" is for the algorithm "aimd", which needs it`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := policyconfig.Load([]byte(layersOf(test.layers)), policyconfig.Registry{})
			require.EqualError(t, err, "policyconfig: configuration:"+test.want)
		})
	}
}

// TestF5_AllAtOnce: every problem of a file is listed, in the order of the file.
func TestF5_AllAtOnce(t *testing.T) {
	problems := problemsOf(t, `{
  "polices": {},
  "budgets": {"b": {"kind": "budgt"}},
  "policies": {"db": {"kind": "breaker", "openFor": 5}},
  "pipelines": {
    "users": {"layers": [{"kind": "retry", "attempts": 0, "constant": "x"}, {"use": "bd"}]},
    "orders": {"extends": "user", "layers": [{"kind": "bulkhead"}]}
  }
}`)
	var pointers []string
	for _, p := range problems {
		pointers = append(pointers, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Pointer))
	}
	require.Equal(t, []string{
		"2:3 /polices", "3:29 /budgets/b/kind", "4:53 /policies/db/openFor", "6:56 /pipelines/users/layers/0/attempts",
		"6:71 /pipelines/users/layers/0/constant", "6:85 /pipelines/users/layers/1/use", "7:27 /pipelines/orders/extends",
		"7:46 /pipelines/orders/layers/0",
	}, pointers)
}

func TestF5_WholeFile(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "1:1: the file is empty"},
		{"blank", " \n ", "2:2: the file is empty"},
		{"half written", `{"pipelines": {"users"`, "1:23: the end of the file where a colon must stand"},
		{"trailing data", `{"pipelines": {}} {}`, "1:19: '{' after the end of the configuration"},
		{"no object", `[]`, "1:1: an array: must be an object"},
		{"no pipelines", `{}`, `1:1: "pipelines" is missing`},
		{"pipelines of another type", `{"pipelines": []}`, `1:15: /pipelines: an array: must be an object, with a member for each pipeline`},
		{"UTF-16", "\xff\xfe{\x00}\x00", "1:1: the file is UTF-16: must be UTF-8"},
		{"deep", strings.Repeat("[", 100_000), "1:25: more than 24 objects and arrays in each other"},
		{"large", strings.Repeat(" ", policyconfig.MaxSize+1), "1:1: the file has more than 1048576 bytes"},
		{"many values", `[` + strings.Repeat("0,", 200_000) + `0]`, "1:200000: the file holds more than 100000 values"},
		{"escaped pointer", `{"pipelines": {"a/b~c": 1}}`, `1:25: /pipelines/a~1b~0c: 1: must be an object that says what the pipeline "a/b~c" is`},
		{"leading zero", `{"pipelines": {"a": 01}}`, "1:21: a number that begins with 0"},
		{"characters, not bytes", `{"pipelines": {"ü": 1}}`, `1:21: /pipelines/ü: 1: must be an object that says what the pipeline "ü" is`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := policyconfig.Load([]byte(test.file), policyconfig.Registry{})
			require.EqualError(t, err, "policyconfig: configuration:"+test.want)
		})
	}
	t.Run("byte order mark", func(t *testing.T) { load(t, "\ufeff"+layersOf(`{"kind": "retry"}`)) })
	t.Run("no more than 100 problems", func(t *testing.T) {
		_, err := policyconfig.Load([]byte(`{"pipelines": {`+many(1000, `"#": 0`)+`}}`), policyconfig.Registry{})
		var config *policyconfig.Error
		require.ErrorAs(t, err, &config)
		require.Len(t, config.Problems, 100)
		require.Equal(t, 900, config.More)
		require.Contains(t, err.Error(), "and 900 more")
	})
}

// TestFault186_ParsingOfDurations: each is an error, in the file and in the environment; so is what is above or below the
// range of a number.
func TestFault186_ParsingOfDurations(t *testing.T) {
	for _, bad := range []string{
		"1", "0", "-0", "1e3s", "-1s", "", " ", "1 s", "1s ", "s", "1S", "1d", "1.5.5s", "+-1s", "0x1s", "1_000ms", "1,5s", "∞",
		"9223372036854775808ns", "2562048h", "1e9h", "NaN", "Inf", "\u0000", "1s\n", strings.Repeat("9", 400) + "s",
	} {
		found := problemsOf(t, layersOf(fmt.Sprintf(`{"kind": "timeout", "total": %s}`, quote(bad))))
		require.Len(t, found, 1, bad)
		require.Contains(t, found[0].Message, "must be a duration with a unit", bad)
		require.Equal(t, "/pipelines/users/layers/0/total", found[0].Pointer)

		_, err := policyconfig.Load([]byte(layersOf(`{"kind": "timeout", "total": "1s"}`)), environment("P__USERS__TIMEOUT__TOTAL="+bad))
		require.ErrorContains(t, err, "environment variable P__USERS__TIMEOUT__TOTAL: ", bad)
	}
	for _, bad := range []string{"", "x", "1.5", "1e3", "0", "-1", "+1", "9223372036854775808", "0x10", "1_000", " 1", "١"} {
		_, err := policyconfig.Load([]byte(layersOf(`{"kind": "retry"}`)), environment("P__USERS__RETRY__ATTEMPTS="+bad))
		require.ErrorContains(t, err, "must be a whole number, at least 1", bad)
	}
	for _, bad := range []string{"", "x", "1e400", "NaN", "Inf", "-1", "0x1p4", "1_0", "infinity"} {
		_, err := policyconfig.Load([]byte(layersOf(`{"kind": "throttle"}`)), environment("P__USERS__THROTTLE__K="+bad))
		require.ErrorContains(t, err, "must be a number, at least 1", bad)
	}
	for _, bad := range []string{"0", "-0", "+0", "0.0", "-1s"} { // where 0 is allowed, it has a unit too
		require.Len(t, problemsOf(t, layersOf(`{"kind": "retry", "constant": "`+bad+`"}`)), 1, bad)
	}
	load(t, layersOf(`{"kind": "retry", "constant": "0s"}`))
	for good, want := range map[string]string{"1h": "1h0m0s", "1.5s": "1.5s", "250ms": "250ms", "1µs": "1µs", "1us": "1µs", "1h2m3s": "1h2m3s", "2562047h": "2562047h0m0s"} {
		set := load(t, layersOf(`{"kind": "timeout", "total": "`+good+`"}`))
		require.Equal(t, "total timeout "+want, set.Pipeline("users").String())
	}
}

func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x20 || r == '"' || r == '\\' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

// environment returns a registry that reads variables with the prefix P from a list.
func environment(variables ...string) policyconfig.Registry {
	return policyconfig.Registry{Environment: "P", Environ: func() []string { return variables }}
}

// TestF3_BadThenGood: after a bad file the old configuration is in force, and the next good one is taken.
func TestF3_BadThenGood(t *testing.T) {
	set := load(t, layersOf(`{"kind": "retry", "attempts": 2}`))
	_, err := set.Apply([]byte("{\n  \"pipelines\": {\"users\": {\"layers\": [\n    {\"kind\": \"retry\", \"attempts\": \"3\"}]}}}"))
	require.EqualError(t, err, `policyconfig: configuration:3:35: /pipelines/users/layers/0/attempts: "3": must be a whole number, at least 1`)
	require.Equal(t, "retry 2", set.Pipeline("users").String())
	apply(t, set, layersOf(`{"kind": "retry", "attempts": 3}`))
	require.Equal(t, "retry 3", set.Pipeline("users").String())
}

func TestNearestName(t *testing.T) {
	set, err := policyconfig.Load([]byte(`{"pipelines": {"users": {"layers": []}}}`), policyconfig.Registry{Require: []string{"users", "orders"}})
	require.Nil(t, set)
	require.EqualError(t, err, `policyconfig: configuration:1:1: the pipeline "orders" is missing, which the program needs`)
}

// many returns n items, in which # is the number.
func many(n int, item string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = strings.ReplaceAll(item, "#", fmt.Sprint(i))
	}
	return strings.Join(items, ",")
}

// TestF5_HostileFilesAreCheap: what is within the bounds of size is read in no more time than its length explains.
func TestF5_HostileFilesAreCheap(t *testing.T) {
	long := strings.Repeat("x", 150)
	for i, file := range []string{
		layersOf(many(20_000, `{"use": "`+long[:20]+`#"}`)),
		`{"policies": {` + many(1000, `"`+long+`#": {"kind": "breaker"}`) + `}, "pipelines": {` + many(900, `"#": {"layers": [`+many(10, `{"use": "x`+long[:40]+`"}`)+`]}`) + `}}`,
		`{"pipelines": {` + many(20_000, `"#": 1`) + `}}`,
		`{"pipelines": {"a": {"observe": [` + many(50_000, `"#"`) + `], "layers": []}}}`,
		`{"pipelines": {"a": {"layers": [` + many(15_000, `{"kind": "retry"}`) + `]}, "b": {"extends": "a", "layers": [` + many(15_000, `{"kind": "retry"}`) + `]}}}`,
		`{"pipelines": {"0": {"layers": []},` + many(900, `"p#": {"extends": "0", "layers": [{"kind": "breaker", "timeWindow": {"d": "1h", "buckets": 1000}, "failureCount": 1}]}`) + `}}`,
	} {
		start := time.Now()
		_, _ = policyconfig.Load([]byte(file), policyconfig.Registry{})
		t.Logf("file %d of %d bytes: %v", i, len(file), time.Since(start))
	}
}

// TestF5_Names: a name ends up in logs, on pages and in labels. It may be empty, for none.
func TestF5_Names(t *testing.T) {
	for _, bad := range []string{`x\u0000`, `x\n`, `x\u202e`, strings.Repeat("x", 201)} {
		for _, file := range []string{
			`{"pipelines": {"users": {"name": "` + bad + `", "layers": []}}}`,
			layersOf(`{"kind": "breaker", "name": "` + bad + `"}`),
			`{"policies": {"db": {"kind": "breaker", "name": "` + bad + `"}}, "pipelines": {}}`,
		} {
			found := problemsOf(t, file)
			require.Len(t, found, 1)
			require.Contains(t, found[0].Message, "must be a text of at most 200 printable characters")
			require.Contains(t, found[0].Pointer, "/name")
		}
	}
	for _, variable := range []string{"P__USERS__NAME=\xff", "P__USERS__RETRY__NAME=\xff"} {
		_, err := policyconfig.Load([]byte(attempts(3)), environment(variable))
		require.ErrorContains(t, err, "must be a text of at most 200 printable characters")
	}
	require.Empty(t, load(t, `{"pipelines": {"users": {"name": "", "layers": [{"kind": "breaker", "name": ""}]}}}`).Pipeline("users").Name())
}

func TestF5_NoNegativeZero(t *testing.T) {
	require.Equal(t, "rate limit 0/s burst 1", load(t, layersOf(`{"kind": "ratelimit", "perSecond": -0.0, "burst": 1}`)).Pipeline("users").String())
}

// TestF5_WindowsAreBounded: a small file cannot ask for much memory.
func TestF5_WindowsAreBounded(t *testing.T) {
	windows := func(n int) string {
		return `{"pipelines": {"0": {"layers": []},` + many(n, `"p#": {"extends": "0", "layers": [{"kind": "breaker", "countWindow": 100000, "failureCount": 1}]}`) + `}}`
	}
	found := problemsOf(t, windows(900))
	require.Len(t, found, 1)
	require.Equal(t, "the windows of the file hold more than 5000000 calls and buckets", found[0].Message)
	require.Equal(t, "/pipelines/p50/layers/0/countWindow", found[0].Pointer)
}

// TestNilIsNotRegistered: what is registered as nil is nothing, also a nil pointer.
func TestNilIsNotRegistered(t *testing.T) {
	registry := policyconfig.Registry{
		If:      map[string]func(error) bool{"nil": nil, "other": func(error) bool { return true }},
		Layers:  map[string]policy.Layer{"nil": (*breaker.Breaker)(nil)},
		Budgets: map[string]policy.Budget{"nil": nil, "pointer": (*retry.Budget)(nil)},

		Observers: map[string]policy.Observer{"function": policy.ObserverFunc(nil)},
	}
	_, err := policyconfig.Load([]byte(`{"pipelines": {"users": {"observe": "function", "layers": []}}}`), registry)
	require.ErrorContains(t, err, `"function": nothing is registered in Registry.Observers under this name: there are none`)
	for layer, want := range map[string]string{
		`{"kind": "retry", "if": "nil"}`:             `"nil": nothing is registered in Registry.If under this name: must be one of ["other"]`,
		`{"kind": "layer", "layer": "nil"}`:          `"nil": nothing is registered in Registry.Layers under this name: there are none`,
		`{"kind": "retry", "withBudget": "nil"}`:     `"nil": no budget of this name: there are none`,
		`{"kind": "retry", "withBudget": "pointer"}`: `"pointer": no budget of this name: there are none`,
	} {
		_, err := policyconfig.Load([]byte(layersOf(layer)), registry)
		require.ErrorContains(t, err, want)
	}
}

// TestError_IsReadable: a name in a file adds no lines to a log, and does not fill it.
func TestError_IsReadable(t *testing.T) {
	_, err := policyconfig.Load([]byte(`{"pipelines": {"a\nfatal: b": {"layers": []}, "`+strings.Repeat("x", 100_000)+`": {}}}`), policyconfig.Registry{})
	failed, ok := errors.AsType[*policyconfig.Error](err)
	require.True(t, ok)
	require.Equal(t, "/pipelines/a\nfatal: b", failed.Problems[0].Pointer, "as it is, for programs")
	require.Len(t, strings.Split(err.Error(), "\n"), 2)
	require.Less(t, len(err.Error()), 600)
}

func TestNearestName_OfKind(t *testing.T) {
	_, err := policyconfig.Load([]byte(layersOf(`{"Kind": "retry"}`)), policyconfig.Registry{})
	require.ErrorContains(t, err, `layers/0/Kind: "Kind" is not known here: did you mean "kind"?`)
}

// TestWholeNumbersHaveManySpellings: those that JSON Schema knows, which Helm and others write.
func TestWholeNumbersHaveManySpellings(t *testing.T) {
	for spelling, want := range map[string]int{"3": 3, "3.0": 3, "1e2": 100, "1E+02": 100, "12.5e1": 125} {
		set, err := policyconfig.Load([]byte(layersOf(fmt.Sprintf(`{"kind": "breaker", "probes": %d}`, want))), policyconfig.Registry{})
		require.NoError(t, err)
		changes, err := set.Plan([]byte(layersOf(`{"kind": "breaker", "probes": ` + spelling + `}`)))
		require.NoError(t, err, spelling)
		require.True(t, changes.Empty(), spelling)
		changes, err = set.Plan([]byte(layersOf(`{"kind": "breaker", "probes": 7}`)))
		require.NoError(t, err)
		require.False(t, changes.Empty(), "what would be seen")
	}
	for _, bad := range []string{"3.5", "1e-1", "-0.5", "1e17", "1e39", "1e400", "-3.0"} {
		found := problemsOf(t, layersOf(`{"kind": "breaker", "probes": `+bad+`}`))
		require.Len(t, found, 1, bad)
		require.Contains(t, found[0].Message, "must be a whole number, from 1 to 10000", bad)
	}
}
