package policytest

import (
	"testing"

	"github.com/go-resilience/resilience/policy"
)

func TestGuardCatchesWrongReports(t *testing.T) {
	number := 0.0
	with := func(values ...policy.Value) func() policy.Report {
		return func() policy.Report { return policy.Report{Kind: "double", Values: values} }
	}
	for name, report := range map[string]func() policy.Report{
		"no kind":               func() policy.Report { r := sound; r.Kind = ""; return r },
		"a state that is none":  func() policy.Report { r := sound; r.State.Name = "ajar"; return r },
		"a name in camel case":  with(policy.Value{Name: "inFlight", Unit: "1", Kind: policy.Gauge}),
		"no unit":               with(policy.Value{Name: "a", Kind: policy.Gauge}),
		"no kind of value":      with(policy.Value{Name: "a", Unit: "1"}),
		"a counter that counts": with(policy.Value{Name: "a", Unit: "1", Kind: policy.Counter, Number: 1}),
		"a value twice":         with(policy.Value{Name: "a", Unit: "1", Kind: policy.Gauge}, policy.Value{Name: "a", Unit: "1", Kind: policy.Gauge}),
		"an argument that is no data": func() policy.Report {
			argument := policy.Argument{Name: "a", Value: []int{1}}
			return policy.Report{Kind: "double", Settings: []policy.Setting{{Name: "A", Args: []policy.Argument{argument}}}}
		},
		"counts reports": func() policy.Report {
			number++
			return policy.Report{Kind: "double", Values: []policy.Value{{Name: "a", Unit: "1", Kind: policy.Gauge, Number: number}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			newGuard := func() policy.Guard { return &reporting{refuser: refuser{limit: 3}, report: report} }
			requireBroken(t, "Report changes nothing", broken(t, guardRules, newGuard))
		})
	}
}
