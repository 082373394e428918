package stopwatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSteadyNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := StartSteady()
		start := time.Now()
		time.Sleep(48 * time.Hour)
		now := s.Moment(0, s.Reading())
		require.Equal(t, 48*time.Hour, now)
		require.Equal(t, now, s.Moment(now, now-24*time.Hour), "a clock that flaps")
		require.Equal(t, now, s.Moment(now, 0), "a reading that is two days old")
		require.Equal(t, now+1, s.Moment(now, now+1))
		require.True(t, s.Time(now).Equal(start.Add(48*time.Hour)))
	})
}

func TestSteadyGoesOnByAnotherClock(t *testing.T) {
	s := StartSteady()
	synctest.Test(t, func(t *testing.T) { // bubbles begin in the year 2000
		newest := s.Moment(time.Second, s.Reading())
		require.Equal(t, time.Second, newest, "from where it was")
		require.True(t, s.Time(newest).Equal(time.Now()))
		time.Sleep(time.Minute)
		require.Equal(t, newest+time.Minute, s.Moment(newest, s.Reading()))
		require.True(t, s.Time(newest+time.Hour).Equal(time.Now().Add(59*time.Minute)))
	})
}

func TestHowFarBackTellsTheClocksApart(t *testing.T) {
	for back, another := range map[time.Duration]bool{24 * time.Hour: false, 24*time.Hour + 1: true} {
		synctest.Test(t, func(t *testing.T) {
			s := StartSteady()
			now := s.Moment(back, s.Reading())
			require.Equal(t, back, now)
			time.Sleep(time.Second)
			require.Equal(t, another, s.Moment(now, s.Reading()) > now, "%v back, and a second later", back)
		})
	}
}

func TestSteadyAllocatesNothing(t *testing.T) {
	s := StartSteady()
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Time(s.Moment(0, s.Reading())) }))
}
