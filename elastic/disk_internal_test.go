package elastic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The engine's ways to write a watermark, on a disk of 10 TB.
func TestWatermark(t *testing.T) {
	t.Parallel()
	const total = int64(10e12)
	for _, one := range []struct {
		text, headroom string
		at             int64
		wrong          bool
	}{
		{text: "85%", at: 8.5e12},
		{text: "0.85", at: 8.5e12},
		{text: "85%", headroom: "-1", at: 8.5e12},
		{text: "85%", headroom: "200GB", at: total - 200<<30},
		{text: "50gb", at: total - 50<<30},
		{text: "500mb", at: total - 500<<20},
		{text: "20tb", at: 0},
		{text: "much", wrong: true},
		{text: "", wrong: true},
	} {
		at, err := watermark(one.text, one.headroom, total)
		require.Equal(t, one.wrong, err != nil, "%q", one.text)
		if !one.wrong {
			require.Equal(t, one.at, at, "%q %q", one.text, one.headroom)
		}
	}
}
