// Package setting collects the options that a policy was given, for its report.
package setting

import (
	"slices"

	"github.com/go-resilience/resilience/policy"
)

// List is the options of a policy in the order in which they were first given, the last of each name.
type List []policy.Setting

// Data notes an option whose arguments are data.
func (l *List) Data(name string, args ...policy.Argument) {
	l.set(policy.Setting{Name: name, Args: args})
}

// Code notes an option that takes a function or another object.
func (l *List) Code(name string) { l.set(policy.Setting{Name: name, Code: true}) }

func (l *List) set(setting policy.Setting) {
	if i := l.index(setting.Name); i >= 0 {
		(*l)[i] = setting
		return
	}
	*l = append(*l, setting)
}

// Given reports whether an option was given.
func (l List) Given(name string) bool { return l.index(name) >= 0 }

func (l List) index(name string) int {
	return slices.IndexFunc(l, func(s policy.Setting) bool { return s.Name == name })
}

// Arg returns an argument of an option.
func Arg(name string, value any) policy.Argument { return policy.Argument{Name: name, Value: value} }
