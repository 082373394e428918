package replay

import (
	"math/rand/v2"

	"github.com/go-resilience/resilience/policyconfig"
)

// Plan says in words what the file of one candidate changes in place of another's.
func Plan(old, next *Candidate) (string, error) {
	set, err := policyconfig.Load(old.data, chance(rand.NewPCG(1, 1)))
	if err != nil {
		return "", err
	}
	changes, err := set.Plan(next.data)
	if err != nil {
		return "", err
	}
	return changes.String(), nil
}
