package policystatus

import (
	"fmt"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// The actions of an [Act].
const (
	actForceOpen   = "force-open"
	actForceClosed = "force-closed"
	actReset       = "reset"
	actShadow      = "shadow"
	actEnforce     = "enforce"
	actEnd         = "end"
)

// Act is something that an operator did to a policy through the page, or tried to do. The actions are
//
//	force-open     a breaker refuses every call until the end
//	force-closed   a breaker admits every call until the end
//	reset          a breaker closes with all counts at zero; what was forced is over
//	shadow         a policy refuses nothing, and only counts, until the end
//	enforce        a policy in shadow refuses again: for good if the shadow was begun here, otherwise until the end
//	end            a forced state has returned by itself
type Act struct {
	Number   uint64    `json:"number"` // from 1, in the order in which they happened
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`         // one of the above, or what was asked for
	Actor    string    `json:"actor"`          // who did it, as authorize says; empty when it happened by itself, or was refused
	Reason   string    `json:"reason"`         // as the actor gave it, on one line of at most 200 bytes
	Pipeline string    `json:"pipeline"`       // the ID of the pipeline on the page
	Layer    string    `json:"layer"`          // the ID of the layer in it
	Kind     string    `json:"kind,omitempty"` // the kind of the layer
	Name     string    `json:"name,omitempty"` // its name
	Until    time.Time `json:"until,omitzero"` // when it returns by itself; zero when it does not
	Error    string    `json:"error,omitempty"`
}

// String returns one line.
func (a Act) String() string {
	text := a.Action
	if a.Actor != "" {
		text = a.Actor + ": " + text
	}
	if !a.Until.IsZero() {
		text += " until " + clock(a.Until, a.Time)
	}
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	if a.Error != "" {
		text += " (not done: " + a.Error + ")"
	}
	return text
}

// What a layer can do, whatever it is.
type (
	forcer interface {
		ForceOpen()
		ForceClosed()
		Reset()
	}
	shadower interface {
		Shadow()
		Enforce()
	}
)

// actions returns what can be done to a layer now.
func actions(layer any, r *policy.Report) (actions []string) {
	if _, ok := layer.(forcer); ok {
		actions = append(actions, actReset, actForceClosed, actForceOpen)
	}
	if _, ok := layer.(shadower); ok {
		switch {
		case r.Shadow:
			actions = append(actions, actEnforce)
		case !adaptive(r):
			actions = append(actions, actShadow)
		}
	}
	return actions
}

// adaptive reports whether a limit learns from what it limits, and so has no shadow.
func adaptive(r *policy.Report) bool {
	for _, s := range r.Settings {
		if s.Name == "Adaptive" {
			return true
		}
	}
	return false
}

// perform does an action. A panic, with which a layer refuses, is returned.
func perform(layer any, action string) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("%s", clean(fmt.Sprint(recovered), mostText))
		}
	}()
	switch action {
	case actForceOpen:
		layer.(forcer).ForceOpen()
	case actForceClosed:
		layer.(forcer).ForceClosed()
	case actReset:
		layer.(forcer).Reset()
	case actShadow:
		layer.(shadower).Shadow()
	case actEnforce:
		layer.(shadower).Enforce()
	}
	return nil
}

// stateOf returns what an action brings about: the state of a layer, or its mode.
func stateOf(layer any) (state policy.State, shadow bool) {
	r, _ := reportOf(layer)
	return r.State, r.Shadow
}
