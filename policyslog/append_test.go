package policyslog

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The lines that are written are those that encoding/json would write.
func TestRecord_LinesAreThoseOfEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"users", "a\"b\\c", "<&>", "\xff\n\u2028"}))
		seconds := rapid.Custom(func(t *rapid.T) Seconds {
			return Seconds(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64(), rapid.Int64Range(-2e9, 2e9)).Draw(t, "d"))
		})
		l := Line{
			Version: Version, Kind: text.Draw(t, "kind"),
			Time:     time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Start:    seconds.Draw(t, "start"),
			Pipeline: text.Draw(t, "pipeline"), Key: text.Draw(t, "key"), Call: rapid.Uint64().Draw(t, "call"),
			Attempt: rapid.IntRange(0, 5).Draw(t, "attempt"), Hedge: rapid.IntRange(0, 5).Draw(t, "hedge"),
			Elapsed: seconds.Draw(t, "elapsed"), Queued: seconds.Draw(t, "queued"), Wait: seconds.Draw(t, "wait"),
			Outcome: text.Draw(t, "outcome"), Class: text.Draw(t, "class"), Code: text.Draw(t, "code"), Cut: text.Draw(t, "cut"),
			Lost: rapid.Uint64Range(0, 3).Draw(t, "lost"),
		}
		want, err := json.Marshal(l)
		require.NoError(t, err)
		require.Equal(t, string(want), string(appendLine(nil, &l)))
	})
}
