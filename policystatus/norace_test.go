//go:build !race

package policystatus_test

const raceEnabled = false
