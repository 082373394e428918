package policyhttp

import (
	"github.com/go-resilience/resilience/internal/setting"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyhttp/internal/field"
)

// What the options of both sides are checked for.

// checkFunction notes an option that was given nil in place of a function.
func checkFunction(given setting.List, option string, isNil bool, problems *policy.ConfigError) {
	if isNil && given.Given(option) {
		problems.Add("%s: the function is nil", option)
	}
}

// checkField notes an option that was given a name that no header field can have.
func checkField(given setting.List, option, name string, problems *policy.ConfigError) {
	if given.Given(option) && !field.IsToken(name) {
		problems.Add("%s(%.80q): must be the name of a header field", option, name)
	}
}
