package capacity

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The sentences of the gates for room.
func TestRoomGates(t *testing.T) {
	t.Parallel()
	full := Room{Shards: Shards{Open: 950, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}
	for name, c := range map[string]struct {
		f    Room
		has  []string
		open bool
	}{
		"room":                {Room{Shards: Shards{Open: 800, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}, nil, true},
		"exactly":             {Room{Shards: Shards{Open: 896, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}, nil, true},
		"nothing is needed":   {Room{Shards: Shards{Open: 1100, MaxPerNode: 1000, DataNodes: 1}}, nil, true},
		"no room":             {full, []string{"950 shards are open", "104 more", "limit of 1000", "max_shards_per_node to 1054"}, false},
		"others were quicker": {Room{Shards: Shards{Open: 800, MaxPerNode: 1000, DataNodes: 1}, Others: Need{Shards: 104}, Need: Need{Shards: 104}}, []string{"104 are about to be created"}, false},
		"it is being raised":  {func() Room { f := full; f.Raise = "TMS raises it"; return f }(), []string{"TMS raises it"}, false},
	} {
		got := c.f.LacksShards()
		require.Equal(t, c.open, got == "", name)
		for _, part := range c.has {
			require.Contains(t, got, part, name)
		}
	}
	// A rollout asks for more than planned only when that was not enough.
	require.Zero(t, full.Beyond(1100), "it is on its way")
	require.Equal(t, 1054, full.Beyond(1000))
	busy := full
	busy.Shards.Open, busy.Others.Shards = 800, 200
	require.Zero(t, busy.Beyond(0), "others are about to show")

	disk := Room{Disk: Disk{Total: 100e9, Used: 80e9, Limit: 90e9, Watermark: "low"}, Need: Need{Bytes: 8e9}}
	require.Empty(t, disk.LacksDisk())
	disk.Others.Bytes = 3e9
	require.Equal(t, "80.0 GB of disk are used and 3.0 GB are about to be for others; 8.0 GB more would be over the watermark low at 90.0 GB; finalize other tenants, or add disk", disk.LacksDisk())
	disk.Disk.Limit = 0
	require.Empty(t, disk.LacksDisk(), "the engine watches no disk")
}
