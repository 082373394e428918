package replay

import (
	"cmp"
	"strconv"

	"github.com/go-resilience/resilience/policy"
)

// failure is a recorded failure, as the operation returns it when it is replayed.
type failure struct {
	kind  string
	class policy.Class
}

func newFailure(kind, class string) error {
	f := &failure{kind: kind}
	for c := policy.Transient; c <= policy.Ignored; c++ {
		if c.String() == class {
			f.class = c
		}
	}
	if class == "" && kind == "throttled" {
		f.class = policy.Throttled
	}
	return f
}

func (f *failure) Error() string { return f.kind }

// Class returns what the failure means; pipelines take a failure that says nothing for a transient one.
func (f *failure) Class() policy.Class { return f.class }

// refusalName is a refusal by code and the name of the policy.
func refusalName(name, code string) string {
	code = cmp.Or(code, "rejected")
	if name != "" {
		code += " " + strconv.Quote(name)
	}
	return code
}
