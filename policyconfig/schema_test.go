package policyconfig_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policyconfig"
)

var update = flag.Bool("update", false, "write schema.json")

// TestF6_SchemaIsCurrent: schema.json is what the tables say. Run with -update to write it.
func TestF6_SchemaIsCurrent(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("schema.json", policyconfig.Schema(), 0o644))
	}
	if math.MaxInt == math.MaxInt32 {
		t.Skip("schema.json has the bounds of machines with 64 bits")
	}
	stored, err := os.ReadFile("schema.json")
	require.NoError(t, err)
	require.Equal(t, string(policyconfig.Schema()), string(stored), "go test ./policyconfig -run F6 -update")
}

// everything is a file with every option that is data.
const everything = `{
  "$schema": "schema.json",
  "$comment": "every option",
  "budgets": {
    "a": {"kind": "budget", "ratio": 0.2, "perSecond": 10},
    "b": {"kind": "tokenBudget", "maxTokens": 10, "tokenRatio": 0.1},
    "c": {"kind": "concurrencyBudget", "share": 0.2, "minimum": 3}
  },
  "policies": {
    "db": {"kind": "breaker", "consecutiveFailures": 5, "failureRate": {"rate": 0.5, "minimumCalls": 20}, "failureCount": 10,
      "slowCalls": {"threshold": "1s", "share": 0.5, "minimumCalls": 20}, "timeWindow": {"d": "10s", "buckets": 10},
      "openFor": "5s", "jitter": 0.1, "growth": {"factor": 2, "limit": "1m"}, "retryAfter": "1m", "probes": 2, "successes": 2,
      "failedProbes": 1, "probeLease": "2s", "ramp": "10s", "mode": "shadow", "enabled": true}
  },
  "pipelines": {
    "all": {
      "name": "everything",
      "layers": [
        {"use": "db", "stage": "shed"},
        {"kind": "timeout", "total": "1m"},
        {"kind": "retry", "name": "r", "attempts": 4, "exponential": {"initial": "50ms", "longest": "2s"}, "multiplier": 1.5,
          "equalJitter": true, "retryNested": true, "retryRejections": ["bulkhead.full"], "maxRetryAfter": "10s", "awaitRecovery": "3s", "withBudget": "c"},
        {"kind": "hedge", "after": "50ms", "quantile": 0.9, "extra": 2, "idempotent": true, "afterFailure": true, "maxRunning": 100, "withBudget": "a"},
        {"kind": "throttle", "k": 1.5, "window": {"length": "10s", "buckets": 10}, "padding": 4},
        {"kind": "ratelimit", "perSecond": "+Inf", "burst": 10, "maxWait": "1s", "maxWaiters": 5},
        {"kind": "ratelimit", "name": "minute", "per": {"n": 10, "interval": "1m", "burst": 10}},
        {"kind": "ratelimit", "name": "hour", "every": {"interval": "1h", "burst": 10}, "stage": 650},
        {"kind": "bulkhead", "limit": 16, "queue": {"length": 8, "wait": "100ms"}},
        {"kind": "bulkhead", "name": "adaptive", "adaptive": {"algorithm": "aimd", "target": "100ms", "floor": 1, "ceiling": 100}},
        {"kind": "timeout", "abandon": "900ms", "maxRunning": 50},
        {"kind": "timeout", "fromLatency": {"q": 0.99, "factor": 3, "floor": "10ms", "most": "300ms"}}
      ]
    },
    "less": {"extends": "all", "layers": [{"kind": "retry", "multiplier": null, "attempts": 2}]},
    "none": {"name": "", "layers": [{"kind": "retry", "constant": "0s", "noJitter": true, "noBudget": true, "enabled": false}]}
  }
}`

// TestF6_FilesValidate: what the decoder accepts, the schema accepts.
func TestF6_FilesValidate(t *testing.T) {
	for _, file := range []string{everything, layersOf(users), layersOf(""), `{"pipelines": {}}`, layersOf(`{"kind": "breaker"}, {"kind": "retry"}, {"kind": "hedge"}, {"kind": "throttle"}`)} {
		load(t, file)
		require.Empty(t, validate(t, file))
	}
	written, err := policyconfig.From(load(t, everything).Pipeline("none").Current())
	require.NoError(t, err)
	require.Empty(t, validate(t, string(written)))
}

// TestF6_FilesThatAreWrong: the schema sees what an editor should mark.
func TestF6_FilesThatAreWrong(t *testing.T) {
	for _, layer := range []string{
		`{"kind": "breaker", "openfor": "5s"}`, `{"kind": "breaker", "openFor": 5}`, `{"kind": "breaker", "openFor": "5"}`, `{"kind": "breaker", "openFor": "-5s"}`,
		`{"kind": "breaker", "probes": 0}`, `{"kind": "breaker", "probes": 1.5}`, `{"kind": "breaker", "jitter": 2}`, `{"kind": "brk"}`, `{}`,
		`{"kind": "breaker", "failureRate": {"rate": 0.5}}`, `{"kind": "breaker", "mode": "shadw"}`, `{"kind": "timeout"}`,
		`{"kind": "timeout", "total": "1s", "perAttempt": "1s"}`, `{"kind": "ratelimit", "perSecond": 1}`, `{"kind": "ratelimit", "perSecond": "Inf", "burst": 1}`,
		`{"kind": "retry", "retryNested": "yes"}`, `{"kind": "retry", "attempts": null}`, `{"kind": "retry", "stage": "sched"}`, `{"use": "db", "openFor": "5s"}`, `3`,
	} {
		require.NotEmpty(t, problemsOf(t, layersOf(layer)), layer)
		require.NotEmpty(t, validate(t, layersOf(layer)), layer)
	}
	for _, file := range []string{`{}`, `[]`, `{"pipelines": []}`, `{"pipelines": {"a": {}}}`, `{"pipelines": {"": {"layers": []}}}`, `{"pipelins": {}}`, `{"pipelines": {}, "budgets": {"a": {"kind": "budget", "ratio": 1}}}`} {
		require.NotEmpty(t, problemsOf(t, file), file)
		require.NotEmpty(t, validate(t, file), file)
	}
}

// TestF6_DefaultsAreThose: the defaults in the schema are those of the packages: to give them changes nothing but that
// they are given.
func TestF6_DefaultsAreThose(t *testing.T) {
	var schema map[string]any
	require.NoError(t, json.Unmarshal(policyconfig.Schema(), &schema))
	defs := schema["$defs"].(map[string]any)
	needs := map[string]string{"ratelimit": `, "perSecond": 1, "burst": 1, "maxWait": "1s"`, "timeout": `, "abandon": "1s"`, "bulkhead": `, "limit": 1`}
	for _, kind := range []string{"breaker", "retry", "hedge", "throttle", "ratelimit", "bulkhead", "timeout"} {
		for key, option := range defs[kind].(map[string]any)["properties"].(map[string]any) {
			value, ok := option.(map[string]any)["default"]
			if !ok || key == "enabled" {
				continue
			}
			text, err := json.Marshal(value)
			require.NoError(t, err)
			file := func(more string) string { return layersOf(`{"kind": "` + kind + `"` + needs[kind] + more + `}`) }
			given, without := load(t, file(`, "`+key+`": `+string(text))), load(t, file(""))
			values := func(set *policyconfig.Set) any { // limits stand in the values
				report := set.Pipeline("users").Report()
				report.Layers[0].Settings = nil
				report.Layers[0].State.Since = report.Layers[0].State.Until
				return report
			}
			require.Equal(t, values(without), values(given), "%s %s %s", kind, key, text)
		}
	}
}

// validate returns what the schema says against a file.
func validate(t require.TestingT, file string) []string {
	var root map[string]any
	require.NoError(t, json.Unmarshal(policyconfig.Schema(), &root))
	var value any
	decoder := json.NewDecoder(bytes.NewReader([]byte(file)))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value), file)
	v := validator{root: root}
	return v.check(root, value, "")
}

// validator knows the keywords of JSON Schema 2020-12 that the schema uses, and panics at any other.
type validator struct{ root map[string]any }

func (v validator) check(schema map[string]any, value any, at string) (problems []string) {
	fail := func(format string, args ...any) {
		problems = append(problems, at+": "+fmt.Sprintf(format, args...))
	}
	object, isObject := value.(map[string]any)
	list, isList := value.([]any)
	text, isText := value.(string)
	numeral, isNumber := value.(json.Number)
	number, _ := numeral.Float64()
	sub := func(s any, value any, at string) []string { return v.check(s.(map[string]any), value, at) }
	for keyword, argument := range schema {
		switch keyword {
		case "$schema", "$id", "$defs", "title", "description", "default", "then", "else":
		case "$ref":
			name := strings.TrimPrefix(argument.(string), "#/$defs/")
			problems = append(problems, sub(v.root["$defs"].(map[string]any)[name], value, at)...)
		case "type":
			ok := map[string]bool{
				"object": isObject, "array": isList, "string": isText, "number": isNumber, "null": value == nil,
				"integer": isNumber && number == float64(int64(number)), "boolean": value == true || value == false,
			}
			if !ok[argument.(string)] {
				fail("must be %v", argument)
			}
		case "const", "enum":
			allowed, ok := argument.([]any)
			if !ok {
				allowed = []any{argument}
			}
			if !slices.ContainsFunc(allowed, func(a any) bool {
				if f, ok := a.(float64); ok {
					return isNumber && f == number
				}
				return reflect.DeepEqual(a, value)
			}) {
				fail("must be one of %v", allowed)
			}
		case "minimum", "exclusiveMinimum", "maximum":
			limit := argument.(float64)
			if isNumber && (keyword == "minimum" && number < limit || keyword == "exclusiveMinimum" && number <= limit || keyword == "maximum" && number > limit) {
				fail("%v: %s %v", number, keyword, limit)
			}
		case "pattern":
			if isText && !regexp.MustCompile(argument.(string)).MatchString(text) {
				fail("must match %v", argument)
			}
		case "minLength":
			if isText && float64(len([]rune(text))) < argument.(float64) {
				fail("too short")
			}
		case "maxLength":
			if isText && float64(len([]rune(text))) > argument.(float64) {
				fail("too long")
			}
		case "minItems":
			if isList && float64(len(list)) < argument.(float64) {
				fail("too few")
			}
		case "uniqueItems":
			for i := range list {
				for j := range i {
					if reflect.DeepEqual(list[i], list[j]) {
						fail("twice")
					}
				}
			}
		case "items":
			for i, item := range list {
				problems = append(problems, sub(argument, item, fmt.Sprintf("%s/%d", at, i))...)
			}
		case "required":
			for _, name := range argument.([]any) {
				if _, ok := object[name.(string)]; isObject && !ok {
					fail("%v is missing", name)
				}
			}
		case "properties", "propertyNames":
			for name, member := range object {
				if keyword == "propertyNames" {
					problems = append(problems, sub(argument, name, at+"/"+name)...)
				} else if s, ok := argument.(map[string]any)[name]; ok {
					problems = append(problems, sub(s, member, at+"/"+name)...)
				}
			}
		case "additionalProperties":
			properties, _ := schema["properties"].(map[string]any)
			for name, member := range object {
				if _, ok := properties[name]; ok {
					continue
				}
				if argument == false {
					fail("%q is not known", name)
				} else {
					problems = append(problems, sub(argument, member, at+"/"+name)...)
				}
			}
		case "allOf":
			for _, s := range argument.([]any) {
				problems = append(problems, sub(s, value, at)...)
			}
		case "anyOf", "oneOf":
			valid := 0
			for _, s := range argument.([]any) {
				if len(sub(s, value, at)) == 0 {
					valid++
				}
			}
			if valid == 0 || keyword == "oneOf" && valid > 1 {
				fail("%d alternatives of %s hold", valid, keyword)
			}
		case "if":
			branch := "then"
			if len(sub(argument, value, at)) > 0 {
				branch = "else"
			}
			if s, ok := schema[branch]; ok {
				problems = append(problems, sub(s, value, at)...)
			}
		default:
			panic("keyword " + keyword)
		}
	}
	return problems
}
