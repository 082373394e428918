package replay

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/go-resilience/resilience/policyconfig"
)

// Plan says in words what the file of one candidate changes in place of another's. Both are the same pipeline, before and
// after.
func Plan(old, next *Candidate) (string, error) {
	if old.pipeline != next.pipeline {
		return "", fmt.Errorf("replay: the pipelines %q and %q are two, and not one before and after a change", old.pipeline, next.pipeline)
	}
	set, err := policyconfig.Load(old.data, chance(rand.NewPCG(1, 1)))
	if err != nil {
		return "", err
	}
	changes, err := set.Plan(next.data)
	if err != nil {
		return "", err
	}
	lines := code(old, next)
	if text := changes.String(); !changes.Empty() || len(lines) == 0 {
		lines = append([]string{text}, lines...)
	}
	return strings.Join(lines, "\n"), nil
}

// code says what changes of the names of code, which policyconfig does not see here.
func code(old, next *Candidate) (lines []string) {
	all := maps.Clone(old.code)
	maps.Copy(all, next.code)
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if before, after := cmp.Or(old.code[at], "none"), cmp.Or(next.code[at], "none"); before != after {
			lines = append(lines, fmt.Sprintf("%s %s to %s (code, which is not replayed)", at, before, after))
		}
	}
	return lines
}
