package main

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sample = `date: 2026-11-20
cpu: AMD EPYC
BenchmarkWork/four/resilience/serial-2         	 10	 100 ns/op	 0 B/op	 0 allocs/op
BenchmarkWork/four/failsafe-go/serial-2        	 10	 800 ns/op	 976 B/op	 26 allocs/op
PASS
BenchmarkWork/four/resilience/serial-2         	 10	 300 ns/op	 0 B/op	 0 allocs/op
BenchmarkWork/four/failsafe-go/serial-2        	 10	 900 ns/op	 976 B/op	 26 allocs/op
PASS
BenchmarkWork/four/resilience/serial-2         	 10	 120 ns/op	 0 B/op	 0 allocs/op
BenchmarkWork/four/failsafe-go/serial-2        	 10	 1.2e3 ns/op	 976 B/op	 26 allocs/op
PASS
`

func TestParse(t *testing.T) {
	r, err := parse(strings.NewReader(sample))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"date": "2026-11-20", "cpu": "AMD EPYC"}, r.config)
	require.Equal(t, []string{"Work/four/resilience/serial", "Work/four/failsafe-go/serial"}, r.names)
	require.Equal(t, []float64{800, 900, 1200}, r.values["Work/four/failsafe-go/serial"]["ns/op"])
	require.Equal(t, 120.0, r.nanoseconds("Work/four/resilience/serial"))
	_, spread := r.median("Work/four/resilience/serial", "ns/op")
	require.Equal(t, (210.0-110)/2/120, spread)
	ratio, low, high := r.ratio("Work/four/resilience/serial", "Work/four/failsafe-go/serial")
	require.Equal(t, 120.0/900, ratio)
	require.Equal(t, 120.0/1200, low)
	require.Equal(t, 300.0/900, high)
	require.Equal(t, "failsafe-go", fastestPeer(r, "four", "serial"))
	require.Equal(t, []pair{{"four", "resilience"}, {"four", "failsafe-go"}}, pairs(r))
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":             "PASS\n",
		"a failure":           sample + "--- FAIL: BenchmarkWork/four\n",
		"an unequal number":   sample + "BenchmarkWork/four/resilience/serial-2 10 100 ns/op\n",
		"a line without unit": sample + "BenchmarkWork/four/resilience/serial-2 10 100\n",
		"a word for a number": sample + "BenchmarkWork/four/resilience/serial-2 10 many ns/op\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(strings.NewReader(text))
			require.Error(t, err)
		})
	}
}

func TestWithoutCores(t *testing.T) {
	for name, want := range map[string]string{
		"a/b-2": "a/b", "a/b-128": "a/b", "a/failsafe-go": "a/failsafe-go", "a/failsafe-go-2": "a/failsafe-go", "plain": "plain",
	} {
		require.Equal(t, want, withoutCores(name))
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{9, 1, 5, 3, 7}, 0.25, 3},
		{[]float64{9, 1, 5, 3, 7}, 0, 1},
		{[]float64{9, 1, 5, 3, 7}, 1, 9},
	} {
		require.Equal(t, c.want, quantile(c.values, c.q), "%v at %v", c.values, c.q)
	}
	require.True(t, math.IsNaN(quantile(nil, 0.5)))
	values := []float64{3, 1, 2}
	quantile(values, 0.5)
	require.Equal(t, []float64{3, 1, 2}, values, "the rounds must keep their order")
}

func TestSlope(t *testing.T) {
	require.InDelta(t, 4, slope([]float64{0, 1, 2, 5}, []float64{7, 11, 15, 27}), 1e-9)
	require.InDelta(t, 0, slope([]float64{1, 2, 3}, []float64{5, 5, 5}), 1e-9)
}

func TestSignificant(t *testing.T) {
	for x, want := range map[float64]string{0.1234: "0.12", 3.21: "3.21", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 1234.5: "1234"} {
		require.Equal(t, want, significant(x))
	}
}

func TestReplaceSection(t *testing.T) {
	document := "before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n"
	replaced, err := replaceSection(document, "measured", "new\n")
	require.NoError(t, err)
	require.Equal(t, "before\n<!-- measured: begin -->\n\nnew\n\n<!-- measured: end -->\nafter\n", replaced)
	again, err := replaceSection(replaced, "measured", "new")
	require.NoError(t, err)
	require.Equal(t, replaced, again)
	_, err = replaceSection(document, "instructions", "new")
	require.Error(t, err)
	_, err = replaceSection("<!-- measured: begin -->\n", "measured", "new")
	require.Error(t, err)
}

func TestParseCount(t *testing.T) {
	n, err := parseCount("==1== I   refs:      13,405,346\n")
	require.NoError(t, err)
	require.Equal(t, int64(13_405_346), n)
	_, err = parseCount("==1== killed\n")
	require.Error(t, err)
}

// A verdict must be able to go both ways.
func TestAimsAreJudged(t *testing.T) {
	r, err := parse(strings.NewReader(strings.ReplaceAll(sample, "failsafe-go", "by-hand")))
	require.NoError(t, err)
	_, met := atMost("four", "four", "by-hand", "serial", "1/7", 1.0/7).check(r)
	require.True(t, met)
	found, met := atMost("four", "four", "by-hand", "serial", "1/8", 1.0/8).check(r)
	require.False(t, met)
	require.Equal(t, "0.13 [0.10 to 0.33]", found)
	_, met = above("four", "Work/four/by-hand/serial", "Work/four/resilience/serial", "ours", 780).check(r)
	require.True(t, met)
	_, met = above("four", "Work/four/by-hand/serial", "Work/four/resilience/serial", "ours", 779).check(r)
	require.False(t, met)
}

func TestAnAimWithoutFiguresIsNotMet(t *testing.T) {
	r, err := parse(strings.NewReader("BenchmarkFloor/other-2 1 1 ns/op\n"))
	require.NoError(t, err)
	for _, aim := range aims() {
		found, met := aim.check(r)
		require.False(t, met, "%s, %s: %s", aim.work, aim.text, found)
	}
}

func TestScaleKeepsToThePicture(t *testing.T) {
	s := scale{low: 1, high: 1000, from: 10, to: 310}
	require.InDelta(t, 10, s.at(1), 1e-9)
	require.InDelta(t, 310, s.at(1000), 1e-9)
	require.InDelta(t, 110, s.at(10), 1e-9)
	require.InDelta(t, 10, s.at(0), 1e-9)
	require.Equal(t, []float64{1, 10, 100, 1000}, s.marks())
	linear := scale{low: 0, high: 10, from: 300, to: 100}
	require.InDelta(t, 300, linear.at(0), 1e-9)
	require.InDelta(t, 200, linear.at(5), 1e-9)
	require.Equal(t, []float64{0, 5, 10}, linear.marks())
}
