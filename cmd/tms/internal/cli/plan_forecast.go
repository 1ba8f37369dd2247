package cli

import (
	"fmt"
	"strings"
	"time"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// printForecast prints the use of the shard limit.
func (a *app) printForecast(f *tmsv1.ShardForecast) error {
	_, err := fmt.Fprintf(a.out, "\nshards: %d now, %d more, at most %d at once; limit %d (%d per node, %d data nodes)\n",
		f.GetNow(), f.GetAdded(), f.GetPeak(), f.GetLimit(), f.GetMaxPerNode(), f.GetDataNodes())
	if err == nil && f.GetRaise() != "" {
		_, err = fmt.Fprintf(a.out, "cluster.max_shards_per_node: TMS raises it from %d to %d (%s) for the rollout, and puts it back\n", f.GetMaxPerNode(), f.GetNeeded(), f.GetRaise())
		return err
	}
	if err == nil && f.GetNeeded() > f.GetMaxPerNode() {
		_, err = fmt.Fprintf(a.out, "cluster.max_shards_per_node: %d would do\n", f.GetNeeded())
	}
	return err
}

// printSimulation prints what the rollout needs beside shards, and how the
// fleet fits.
func (a *app) printSimulation(f *tmsv1.FleetForecast) error {
	var b strings.Builder
	fmt.Fprintf(&b, "shards after finalize: %d; the calendar adds %d until %s\n", f.GetShardsAfter(), f.GetCalendarShards(), f.GetUntil().AsTime().Format(time.DateOnly))
	if f.GetWaves() > 0 {
		fmt.Fprintf(&b, "waves: any %d tenants fit at once; finalizing each wave before the next, all fit in %d\n", f.GetLargestWave(), f.GetWaves())
	} else {
		fmt.Fprintf(&b, "waves: any %d tenants fit at once; all do not fit, even when each wave is finalized before the next\n", f.GetLargestWave())
	}
	if d := f.GetDisk(); d.GetTotal() > 0 {
		limit := "the engine watches no disk"
		if d.GetLimit() > 0 {
			limit = fmt.Sprintf("limit %s (watermark %s)", size(d.GetLimit()), d.GetWatermark())
		}
		fmt.Fprintf(&b, "disk: %s now, at most %s at once, %s after finalize; %s\n", size(d.GetUsed()), size(d.GetPeak()), size(d.GetAfter()), limit)
	}
	if f.GetMeasuredTenants() == 0 {
		b.WriteString("duration: no estimate, no tenant was upgraded here yet\n")
	} else {
		like := "tenants took"
		if f.GetRehearsed() {
			like = "rehearsals expect"
		}
		fmt.Fprintf(&b, "duration: about %s for %d documents, as the last %d %s (median %s)\n",
			time.Duration(f.GetDurationSeconds()*float64(time.Second)).Round(time.Second), f.GetDocuments(), f.GetMeasuredTenants(), like, seconds(f.GetTypicalSeconds()))
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}
