package strategy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWindows(t *testing.T) {
	t.Parallel()
	night := Window{Days: []string{"mon-fri"}, From: "22:00", To: "04:00", Zone: "Europe/Warsaw"}
	at := func(text string) time.Time {
		zone, err := time.LoadLocation("Europe/Warsaw")
		require.NoError(t, err)
		out, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		require.NoError(t, err)
		return out
	}
	for _, c := range []struct {
		name, now string
		open      bool
		until     string
	}{
		{"before", "2026-11-23 21:59", false, "2026-11-23 22:00"},
		{"at its beginning", "2026-11-23 22:00", true, "2026-11-24 04:00"},
		{"past midnight", "2026-11-24 03:59", true, "2026-11-24 04:00"},
		{"at its end", "2026-11-24 04:00", false, "2026-11-24 22:00"},
		{"Friday's goes into Saturday", "2026-11-28 01:00", true, "2026-11-28 04:00"},
		{"none on Saturday", "2026-11-28 23:00", false, "2026-11-30 22:00"},
		{"the clock goes back", "2026-10-24 12:00", false, "2026-10-26 22:00"},
	} {
		open, until := OpenAt([]Window{night}, at(c.now))
		require.Equal(t, c.open, open, c.name)
		require.True(t, at(c.until).Equal(until), "%s: %s", c.name, until)
	}
	open, _ := OpenAt(nil, at("2026-11-22 12:00"))
	require.True(t, open)
}
