package play_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/go-resilience/resilience/lab/internal/play"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // as the lab does: worlds make garbage and are short
	os.Exit(m.Run())
}

// random is the address of a state of which each number is somewhere in its range, and each policy on or off.
func random(r *rand.Rand) string {
	var items []string
	for _, p := range play.Params() {
		if r.IntN(3) == 0 && !p.Switch {
			continue // the default
		}
		v := p.Low + r.Float64()*r.Float64()*(p.High-p.Low)
		if p.Switch || p.Choices != nil {
			v = float64(r.IntN(int(p.High) + 1))
		}
		items = append(items, fmt.Sprintf("%s=%v", p.Key, v))
	}
	return strings.Join(append(items, fmt.Sprintf("t=%da%d%c", r.IntN(40), 1+r.IntN(20), 'a'+r.IntN(play.Levels+1))), "&")
}
