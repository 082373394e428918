package policyconfig_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/policyconfig"
)

const overridden = `{
	"budgets": {"api": {"kind": "budget", "ratio": 0.1, "perSecond": 1}},
	"policies": {"db-main": {"kind": "breaker", "openFor": "5s"}},
	"pipelines": {
		"users": {"layers": [{"use": "db-main"}, {"kind": "retry", "withBudget": "api"}, {"kind": "timeout", "total": "1s"}, {"kind": "timeout", "perAttempt": "100ms"},
			{"kind": "ratelimit", "name": "minute", "perSecond": 1, "burst": 1}, {"kind": "ratelimit", "name": "hour", "perSecond": 1, "burst": 1}]},
		"orders": {"extends": "users"}
	}}`

func TestEnvironment(t *testing.T) {
	set := loadWith(t, overridden, environment(
		"HOME=/", "P__BUDGETS__API__RATIO=0.5", "P__POLICIES__DB_MAIN__OPEN_FOR=9s", "P__POLICIES__DB_MAIN__FAILURE_RATE__RATE=0.4",
		"P__POLICIES__DB_MAIN__FAILURE_RATE__MINIMUM_CALLS=30", "P__POLICIES__DB_MAIN__MODE=shadow",
		"P__USERS__RETRY__ATTEMPTS=7", "P__USERS__RETRY__NO_JITTER=true", "P__USERS__TIMEOUT__PER_ATTEMPT=200ms", "P__USERS__TIMEOUT__TOTAL=2s",
		"P__USERS__HOUR__PER_SECOND=0.25", "P__USERS__MINUTE__ENABLED=false", "P__USERS__NAME=people", "P__ORDERS__RETRY__ATTEMPTS=2",
		"P__USERS__DB_MAIN__STAGE=shed", "PX__USERS__RETRY__ATTEMPTS=9"))
	require.Equal(t, `breaker "db-main" > total timeout 2s > retry 7 > rate limit "hour" 1 per 4s burst 1 > attempt timeout 200ms`, set.Pipeline("users").String())
	require.Equal(t, `total timeout 1s > retry 2 > breaker "db-main" > rate limit "minute" 1/s burst 1 > rate limit "hour" 1/s burst 1 > attempt timeout 100ms`,
		set.Pipeline("orders").String(), "a variable is about the pipeline that it names, not about those that extend it")
	require.Equal(t, "people", set.Pipeline("users").Name())
	same := load(t, `{"pipelines": {"users": {"layers": [{"kind": "breaker", "name": "db-main", "openFor": "9s", "failureRate": {"rate": 0.4, "minimumCalls": 30}, "mode": "shadow", "stage": "shed"}]}}}`)
	require.Equal(t, settings(same.Pipeline("users")).Layers[0], settings(set.Pipeline("users")).Layers[0])
}

// TestEnvironment_Reload: what is in the environment counts whenever a file is read.
func TestEnvironment_Reload(t *testing.T) {
	variables := []string{"P__USERS__RETRY__ATTEMPTS=7"}
	set := loadWith(t, attempts(3), policyconfig.Registry{Environment: "P", Environ: func() []string { return variables }})
	require.Equal(t, "no change", apply(t, set, attempts(4)).String(), "the environment overrides both")
	variables = nil
	require.Equal(t, "users: retry attempts 7 to 4", apply(t, set, attempts(4)).String())
}

func TestEnvironment_Refused(t *testing.T) {
	for variable, want := range map[string]string{
		"P__USERS__RETRY__ATEMPTS=3":               `environment variable P__USERS__RETRY__ATEMPTS: /pipelines/users/layers/1: "ATEMPTS" is not known here: did you mean "ATTEMPTS"?`,
		"P__USRS__RETRY__ATTEMPTS=3":               `environment variable P__USRS__RETRY__ATTEMPTS: no pipeline, policy or budget of the file has this name`,
		"P__USERS__RETRI__ATTEMPTS=3":              `environment variable P__USERS__RETRI__ATTEMPTS: /pipelines/users: "RETRI": no layer of this kind or name: did you mean "RETRY"?`,
		"P__USERS__RATELIMIT__BURST=3":             `environment variable P__USERS__RATELIMIT__BURST: /pipelines/users: "RATELIMIT": there are 2 such layers: give them names`,
		"P__USERS__RETRY__ATTEMPTS=0":              `environment variable P__USERS__RETRY__ATTEMPTS: /pipelines/users/layers/1/attempts: "0": must be a whole number, at least 1`,
		"P__USERS__RETRY__ATTEMPTS__N=3":           `environment variable P__USERS__RETRY__ATTEMPTS__N: /pipelines/users/layers/1/attempts: "attempts" is a single value: the name of the variable ends with it`,
		"P__USERS__RETRY__NO_JITTER=yes":           `environment variable P__USERS__RETRY__NO_JITTER: /pipelines/users/layers/1/noJitter: "yes": must be true or false`,
		"P__POLICIES__DB_MAIN__MODE=off":           `environment variable P__POLICIES__DB_MAIN__MODE: /policies/db-main/mode: "off": not known: must be one of ["enforce" "shadow"]`,
		"P__USERS__RETRY__EXPONENTIAL__LONGEST=1s": `environment variable P__USERS__RETRY__EXPONENTIAL__LONGEST: /pipelines/users/layers/1/exponential: "initial" is missing: must be a duration with a unit, such as "250ms", above 0s`,
		"P__=3": `environment variable P__: no pipeline, policy or budget of the file has this name`,
	} {
		_, err := policyconfig.Load([]byte(overridden), environment(variable))
		require.EqualError(t, err, "policyconfig: "+want)
	}
}

// TestEnvironment_NumbersAreThoseOfJSON: values are as strict as in the file.
func TestEnvironment_NumbersAreThoseOfJSON(t *testing.T) {
	for _, bad := range []string{"", "+5", ".5", "5.", "05", "-05", "0x5", "1_0", "5 ", "NaN", "Inf", "1e400", "\xff"} {
		for _, variable := range []string{"P__USERS__RETRY__ATTEMPTS=", "P__USERS__HOUR__PER_SECOND="} {
			_, err := policyconfig.Load([]byte(overridden), environment(variable+bad))
			require.ErrorContains(t, err, "environment variable "+variable[:len(variable)-1]+": ", bad)
		}
	}
	loadWith(t, overridden, environment("P__USERS__HOUR__PER_SECOND=+Inf"))
	loadWith(t, overridden, environment("P__USERS__HOUR__PER_SECOND=5e-1"))
}

// TestEnvironment_OneThing: a variable that could be about two things is about neither.
func TestEnvironment_OneThing(t *testing.T) {
	for _, test := range []struct{ file, variable, want string }{
		{
			`{"pipelines": {"a-b": {"layers": [{"kind": "retry"}]}, "a_b": {"layers": [{"kind": "retry"}]}}}`, "P__A_B__RETRY__ATTEMPTS=7",
			"/pipelines/a_b: it is about /pipelines/a-b as well: rename one of them",
		},
		{
			`{"policies": {"a-b": {"kind": "retry"}, "a_b": {"kind": "retry"}}, "pipelines": {}}`, "P__POLICIES__A_B__ATTEMPTS=7",
			"/policies/a_b: it is about /policies/a-b as well: rename one of them",
		},
		{
			`{"policies": {"retry": {"kind": "retry"}}, "pipelines": {"policies": {"layers": [{"kind": "retry"}]}}}`, "P__POLICIES__RETRY__ATTEMPTS=7",
			"/pipelines/policies: it is about /policies/retry as well: rename one of them",
		},
	} {
		_, err := policyconfig.Load([]byte(test.file), environment(test.variable))
		require.EqualError(t, err, "policyconfig: environment variable "+test.variable[:len(test.variable)-2]+": "+test.want)
	}
}

func TestEnvironment_SharedPolicy(t *testing.T) {
	_, err := policyconfig.Load([]byte(overridden), environment("P__USERS__DB_MAIN__OPEN_FOR=9s"))
	require.EqualError(t, err, `policyconfig: environment variable P__USERS__DB_MAIN__OPEN_FOR: /pipelines/users/layers/0: "OPEN_FOR" is not known here: `+
		`what the policy "db-main" has is set by P__POLICIES__DB_MAIN__OPEN_FOR`)
}

// TestEnvironment_OneVariable: of two variables for one value, neither silently counts.
func TestEnvironment_OneVariable(t *testing.T) {
	const file = `{"pipelines": {"users": {"layers": [{"kind": "breaker", "name": "users-db", "openFor": "5s"}]}}}`
	for _, test := range []struct {
		variables []string
		want      string
	}{
		{
			[]string{"P__USERS__BREAKER__OPEN_FOR=1s", "P__USERS__USERS_DB__OPEN_FOR=1s"},
			"P__USERS__USERS_DB__OPEN_FOR: /pipelines/users/layers/0/openFor: P__USERS__BREAKER__OPEN_FOR sets it as well: take one of them away",
		},
		{
			[]string{"P__USERS__BREAKER__FAILURE_RATE=0.5", "P__USERS__BREAKER__FAILURE_RATE__RATE=0.5"},
			"P__USERS__BREAKER__FAILURE_RATE__RATE: /pipelines/users/layers/0/failureRate: P__USERS__BREAKER__FAILURE_RATE sets it as well: take one of them away",
		},
	} {
		_, err := policyconfig.Load([]byte(file), environment(test.variables...))
		require.ErrorContains(t, err, "environment variable "+test.want)
	}
	loadWith(t, file, environment("P__USERS__BREAKER__FAILURE_RATE__RATE=0.5", "P__USERS__USERS_DB__FAILURE_RATE__MINIMUM_CALLS=5"))
}
