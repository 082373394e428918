package play_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/lab/internal/play"
)

func TestTheEmptyAddressIsTheBeginning(t *testing.T) {
	require.Equal(t, play.New(), play.Decode(""))
	require.Equal(t, play.New(), play.Decode("#"))
	require.Empty(t, play.New().Encode())
	for i, p := range play.Params() {
		require.Equal(t, p.Default, play.New().Values()[i], p.Key)
		require.True(t, p.Low <= p.Default && p.Default <= p.High, p.Key)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"#rate=100&a.retry=1":                 "rate=100&a.retry=1",
		"a.retry=1&rate=100":                  "rate=100&a.retry=1",            // the order of the parameters
		"rate=50&a.attempts=3":                "",                              // the defaults
		"rate=100&rate=20":                    "rate=20",                       // the last one counts
		"rate=1e9&a.attempts=-7&a.k=1.2":      "rate=500&a.attempts=2&a.k=1.2", // within the bounds
		"rate=20.4&a.k=2.04&a.k=3.16":         "rate=20&a.k=3.2",               // on the steps
		"rate=NaN&seed=nan&service=inf":       "service=2000",                  // no numbers
		"rate&=5&nothing=3&a.=2&A.RETRY":      "",                              // nothing known
		"rate=1,0&slots=0x1p3&queue= 5":       "slots=8",                       // as Go reads numbers
		"t=20a10m":                            "t=20a10m",                      // a spell
		"t=5b5b10a":                           "t=10b",                         // as short as can be
		"t=60u":                               "t=60u",                         //
		"t=999999999999999999999u":            "t=60u",                         // no more than there is
		"t=aaabbb":                            "t=3a3b",                        //
		"t=10v":                               "",                              // no such level
		"t=3c<b>5d":                           "t=3c",                          // up to what is not understood
		"t=-5c&t=+3b&t=":                      "",                              //
		"lesson=2&step=3":                     "lesson=2&step=3",               //
		"lesson=99":                           "lesson=9",                      // the page knows that there is none
		strings.Repeat("&", 1<<20):            "",                              // no more is read than a state can need
		strings.Repeat("x", 9000) + "&rate=2": "",                              //
	} {
		s := play.Decode(address)
		require.Equal(t, want, s.Encode(), "%.60s", address)
		require.Equal(t, s, play.Decode(want))
	}
}

func TestRandomStatesKeepTheirAddress(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := play.Decode(random(r))
		require.Equal(t, s, play.Decode(s.Encode()))
	}
}

// FuzzDecode: whatever the address, the state is within its bounds and keeps its address, and Compose and the file of
// package policyconfig agree on its pipelines.
func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add("rate=100&a.retry=1&b.breaker=1&t=20a10m")
	f.Add("rate=NaN&t=99999999999999999z&a.k=-Inf&%00=<script>&&==")
	f.Add("a.total=1&a.total.ms=10&a.attempt=1&b.hedge=1&b.after=5000&b.total=1")
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		f.Add(random(r))
	}
	f.Fuzz(func(t *testing.T, address string) {
		s := play.Decode(address)
		for i, p := range play.Params() {
			v := s.Values()[i]
			require.False(t, math.IsNaN(v), p.Key)
			require.True(t, v >= p.Low && v <= p.High, "%s=%v", p.Key, v)
		}
		for _, level := range s.Timeline {
			require.LessOrEqual(t, int(level), play.Levels)
		}
		again := s.Encode()
		require.Less(t, len(again), 4000)
		require.Equal(t, s, play.Decode(again))
		for side := range 2 {
			agree(t, s, side)
		}
	})
}
