package policyconfig_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
)

func TestExtends(t *testing.T) {
	set := load(t, `{
		"policies": {"db": {"kind": "breaker"}},
		"pipelines": {
			"reads": {"extends": "base", "layers": [
				{"kind": "retry", "attempts": 5, "multiplier": null},
				{"kind": "timeout", "total": "3s"},
				{"kind": "timeout", "fromLatency": {"q": 0.9, "factor": 2, "floor": "10ms", "most": "1s"}},
				{"kind": "bulkhead", "limit": 7}]},
			"base": {"layers": [
				{"kind": "timeout", "total": "2s"},
				{"kind": "retry", "name": "r", "multiplier": 3},
				{"kind": "ratelimit", "perSecond": 3, "burst": 3},
				{"kind": "breaker", "openFor": "7s"},
				{"kind": "timeout", "perAttempt": "300ms"}]},
			"writes": {"extends": "reads", "layers": [
				{"kind": "retry", "enabled": false},
				{"kind": "ratelimit", "every": {"interval": "1s", "burst": 1}},
				{"use": "db"}]}
		}}`)
	require.Equal(t, `total timeout 2s > retry "r" 3 > breaker > rate limit 3/s burst 3 > attempt timeout 300ms`, set.Pipeline("base").String())
	require.Equal(t, `total timeout 3s > retry "r" 5 > breaker > rate limit 3/s burst 3 > bulkhead 7 > attempt timeout 2×p90 from 10ms to 1s`, set.Pipeline("reads").String())
	require.Equal(t, `total timeout 3s > breaker "db" > rate limit 1/s burst 1 > bulkhead 7 > attempt timeout 2×p90 from 10ms to 1s`, set.Pipeline("writes").String())
	require.Equal(t, "reads", set.Pipeline("reads").Name(), "a name is not inherited")
}

// TestExtends_SeveralOfAKind: where the base has several of a kind, the name says which one is meant.
func TestExtends_SeveralOfAKind(t *testing.T) {
	set := load(t, `{"pipelines": {
		"base": {"layers": [{"kind": "ratelimit", "name": "second", "perSecond": 3, "burst": 3}, {"kind": "ratelimit", "name": "hour", "perSecond": 1, "burst": 3}]},
		"more": {"extends": "base", "layers": [{"kind": "ratelimit", "name": "hour", "burst": 9}, {"kind": "ratelimit", "name": "day", "perSecond": 0.5, "burst": 2}]}}}`)
	require.Equal(t, `rate limit "second" 3/s burst 3 > rate limit "hour" 1/s burst 9 > rate limit "day" 1 per 2s burst 2`, set.Pipeline("more").String())
}

// TestExtends_Refused: an error in what is inherited is where it was written, once for each pipeline that has it.
func TestExtends_Refused(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{`{"a": {"extends": "a", "layers": []}}`, `"a": extends itself: a extends a`},
		{`{"a": {"extends": "b"}, "b": {"extends": "c"}, "c": {"extends": "a"}}`, `"a": extends itself: a extends b extends c extends a`},
		{`{"a": {"extends": "bse", "layers": []}, "base": {"layers": []}}`, `"bse": no pipeline of this name: did you mean "base"?`},
		{`{"a": {"extends": 3, "layers": []}}`, `3: must be a text`},
		{`{"a": {"extends": "b"}, "b": {"layers": [{"kind": "retry", "attempts": 0}]}}`, `0: must be a whole number, at least 1`},
	} {
		found := problemsOf(t, `{"pipelines": `+test.file+`}`)
		require.Equal(t, test.want, found[0].Message)
	}
	found := problemsOf(t, `{"pipelines": {"a": {"extends": "b", "layers": [{"kind": "timeout", "perAttempt": "9s"}]}, "b": {"layers": [{"kind": "timeout", "total": "1s"}]}}}`)
	require.Len(t, found, 1)
	require.Equal(t, "/pipelines/a/layers/0", found[0].Pointer)
}

// TestExtends_Bounded: a short file cannot inherit its way to a large one.
func TestExtends_Bounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"pipelines": {"p0": {"layers": [` + strings.Repeat(`{"kind":"layer","layer":"x"},`, 99) + `{"kind":"layer","layer":"x"}]}`)
	for i := range 900 {
		b.WriteString(`,"q` + strings.Repeat("x", i%150) + string(rune('a'+i/150)) + `": {"extends": "p0", "layers": [{"kind":"retry"}]}`)
	}
	b.WriteString(`}}`)
	registry := policyconfig.Registry{Layers: map[string]policy.Layer{"x": nothing{}}}
	_, err := policyconfig.Load([]byte(b.String()), registry)
	require.ErrorContains(t, err, "too many layers: at most 100 in a pipeline, and 20000 in all, inherited ones included")
}

// nothing is a guard of a third party. Its values are all equal.
type nothing struct{}

func (nothing) Stage() policy.Stage { return policy.StageBreaker }
func (nothing) Admit(ctx context.Context) (context.Context, policy.Ticket, error) {
	return ctx, policy.Ticket{}, nil
}
func (nothing) Settle(context.Context, policy.Ticket, policy.Outcome) {}

// TestExtends_EachIsOverriddenOnce: of several layers of a kind each means the one of its name, and none is lost.
func TestExtends_EachIsOverriddenOnce(t *testing.T) {
	set := load(t, `{"pipelines": {
		"base": {"layers": [{"kind": "ratelimit", "name": "second", "perSecond": 3, "burst": 3}]},
		"two": {"extends": "base", "layers": [{"kind": "ratelimit", "name": "hour", "perSecond": 1, "burst": 9}, {"kind": "ratelimit", "name": "second", "burst": 2}]}}}`)
	require.Equal(t, `rate limit "second" 3/s burst 2 > rate limit "hour" 1/s burst 9`, set.Pipeline("two").String())
	found := problemsOf(t, `{"pipelines": {"base": {"layers": [{"kind": "retry"}]}, "twice": {"extends": "base", "layers": [{"kind": "retry", "attempts": 2}, {"kind": "retry", "attempts": 4}]}}}`)
	require.Contains(t, found[0].Message, "retry")
}

// TestExtends_NothingIsLostByNull: null takes an option away, but never all layers.
func TestExtends_NothingIsLostByNull(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{`{"a": {"layers": [{"kind": "retry"}]}, "b": {"extends": "a", "layers": null}}`, "null: must be a list of layers"},
		{`{"a": {"layers": [{"kind": "retry"}]}, "b": {"extends": "a", "layers": [{"kind": "retry", "atempts": null}]}}`, `"atempts" is not known here: did you mean "attempts"?`},
		{`{"a": {"layers": [{"kind": "retry"}]}, "b": {"extends": "a", "layers": [{"kind": "retry", "attempts": null}]}}`, "null: leave the option out; null only takes away what is inherited"},
		{`{"a": {"layers": []}, "b": {"extends": "a", "clasify": null}}`, `"clasify" is not known here: did you mean "classify"?`},
		{`{"a": {"layers": []}, "b": {"extends": "a", "classify": null}}`, "null: leave the option out; null only takes away what is inherited"},
		{`{"a": {"layers": []}, "b": {"extends": "a", "name": null}}`, "null: leave the option out; null only takes away what is inherited"},
		{`{"a": {"$comment": "x", "layers": []}, "b": {"extends": "a", "$comment": null}}`, "null: must be a text"},
		{`{"a": {"layers": null}}`, "null: must be a list of layers"},
		{`{"a": {"extends": null, "layers": []}}`, "null: must be a text"},
		{`{"a": {"extends": "", "layers": []}}`, `"": no pipeline of this name: did you mean "a"?`},
		{`{"a": null}`, `null: must be an object that says what the pipeline "a" is`},
		{`{"a": {"layers": [null]}}`, `null: must be an object with a "kind"`},
		{`{"a": {"layers": [{"kind": null}]}}`, "null: must be a text"},
	} {
		found := problemsOf(t, `{"pipelines": `+test.file+`}`)
		require.Len(t, found, 1, test.file)
		require.Equal(t, test.want, found[0].Message)
	}
}

// TestExtends_Null: null takes away what is inherited, of a layer and of the pipeline.
func TestExtends_Null(t *testing.T) {
	registry := policyconfig.Registry{Classify: map[string]func(error) policy.Class{"http": func(error) policy.Class { return policy.Expected }}}
	file := `{"pipelines": {
		"a": {"classify": "http", "layers": [{"kind": "retry", "attempts": 7, "multiplier": 3}, {"kind": "timeout", "total": "1s"}]},
		"b": {"extends": "a", "classify": null, "layers": [{"kind": "retry", "multiplier": null}, {"kind": "timeout", "total": null, "perAttempt": "1ms"}]}}}`
	require.Empty(t, validate(t, file))
	set := loadWith(t, file, registry)
	inherited, err := policyconfig.From(set.Pipeline("b"))
	require.NoError(t, err)
	require.Contains(t, string(inherited), `"b": {
      "layers": [
        {"kind": "retry", "attempts": 7},
        {"kind": "timeout", "perAttempt": "1ms"}
      ]`)
}
