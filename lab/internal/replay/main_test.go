package replay

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // as the lab does: worlds make garbage and are short
	os.Exit(m.Run())
}
