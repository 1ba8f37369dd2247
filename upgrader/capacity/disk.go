package capacity

import "fmt"

// Disk is the disk of all data nodes together, in bytes.
type Disk struct {
	Total, Used int64
	// Limit is the use at which the engine allocates no more shards, or, for
	// flood_stage, writes no more; 0 when it watches no disk.
	Limit     int64
	Watermark string // that Limit comes from: "low" or "flood_stage"
}

// DiskForecast is in bytes, replicas included: what is used while both versions
// stand, and when all tenants are finalized.
type DiskForecast struct {
	Disk
	Peak, After int64
}

func sizeText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}
