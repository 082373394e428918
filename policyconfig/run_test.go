package policyconfig

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUC2_StepsAreUndone: if a policy refused what it had accepted on trial, what was changed before is changed back.
func TestUC2_StepsAreUndone(t *testing.T) {
	var did []string
	stepOf := func(n int, err error) step {
		return step{
			layer: &layer{node: &node{pointer: fmt.Sprint("/", n), at: place{line: n, column: 1}}},
			do:    func() error { did = append(did, fmt.Sprint("do ", n)); return err },
			undo:  func() error { did = append(did, fmt.Sprint("undo ", n)); return nil },
		}
	}
	found := run([]step{stepOf(1, nil), stepOf(2, nil), stepOf(3, errors.New("refused")), stepOf(4, nil)})
	require.Equal(t, []string{"do 1", "do 2", "do 3", "undo 2", "undo 1"}, did)
	require.EqualError(t, found.err("file"), "policyconfig: file:3:1: /3: refused")
}

// TestUC2_UndoRestores: the way back leads to the options, the mode and the budget from before.
func TestUC2_UndoRestores(t *testing.T) {
	const before = `{"budgets": {"b": {"kind": "tokenBudget", "maxTokens": 10, "tokenRatio": 0.5}}, "pipelines": {"p": {"layers": [
		{"kind": "breaker", "probes": 2}, {"kind": "ratelimit", "perSecond": 1, "burst": 2, "mode": "shadow"}, {"kind": "bulkhead", "limit": 3},
		{"kind": "throttle", "k": 3}, {"kind": "retry", "withBudget": "b"}, {"kind": "hedge", "after": "1s"}, {"kind": "timeout", "total": "1m"}]}}}`
	const after = `{"budgets": {"b": {"kind": "tokenBudget", "maxTokens": 20, "tokenRatio": 0.5}}, "pipelines": {"p": {"layers": [
		{"kind": "breaker", "probes": 3}, {"kind": "ratelimit", "perSecond": 2, "burst": 2}, {"kind": "bulkhead", "limit": 4},
		{"kind": "throttle", "k": 4}, {"kind": "retry", "withBudget": "b", "attempts": 4}, {"kind": "hedge", "after": "2s"}, {"kind": "timeout", "total": "2m"}]}}}`
	set, err := Load([]byte(before), Registry{})
	require.NoError(t, err)
	settings := func() string {
		text := fmt.Sprint(set.now.budgets["b"].budget)
		for _, layer := range set.Pipeline("p").Report().Layers {
			text += fmt.Sprint("\n", layer.Kind, layer.Settings, layer.Shadow)
		}
		return text
	}
	was := settings()
	transition, err := set.prepare([]byte(after), "")
	require.NoError(t, err)
	require.Len(t, transition.steps, 8)
	require.Equal(t, was, settings(), "to prepare changes nothing")
	failing := step{budget: &budget{node: &node{}}, do: func() error { return errors.New("no") }}
	require.Equal(t, 1, run(append(transition.steps, failing)).count())
	require.Equal(t, was, settings())
	require.Zero(t, run(transition.steps).count())
	require.NotEqual(t, was, settings())
}
