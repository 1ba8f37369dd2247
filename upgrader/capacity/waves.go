package capacity

import "time"

// WaveMembers are the tenants of one wave that live in a cluster.
type WaveMembers struct {
	Number   int
	Name     string
	Finalize bool // the strategy says that it is finalized before the next one
	Moving   []Moving
}

// WaveForecast is what the tenants of one wave that live in one cluster add
// to it.
type WaveForecast struct {
	Number  int
	Name    string
	Cluster string
	Tenants int
	Docs    int64 // to copy
	Bytes   int64 // of the copies, replicas included
	Shards  int   // new ones, those that the calendar adds included
	// Duration is an estimate; 0 when nothing was measured.
	Duration time.Duration
	// ShardsPeak and DiskPeak are the most while this wave runs, when those
	// before are finalized that the strategy says; the others when all of them are.
	ShardsPeak, ShardsPeakFinalizing int
	DiskPeak, DiskPeakFinalizing     int64
}

// Waves plays one wave after the other through, each with atOnce tenants at a
// time; waves without tenants are left out.
func (s Situation) Waves(waves []WaveMembers, atOnce int) []WaveForecast {
	open, disk := s.Shards.Open, s.Disk.Used
	kept, keptDisk := open, disk // when every wave is finalized
	out := make([]WaveForecast, 0, len(waves))
	for _, w := range waves {
		if len(w.Moving) == 0 {
			continue
		}
		f := WaveForecast{Number: w.Number, Name: w.Name, Tenants: len(w.Moving), Duration: s.duration(w.Moving, atOnce)}
		frees, freesBytes := 0, int64(0)
		for _, t := range w.Moving {
			f.Docs += t.Docs
			f.Bytes += t.Bytes
			f.Shards += t.takes()
			frees += t.Frees
			freesBytes += t.FreesBytes
		}
		open, disk = open+f.Shards, disk+f.Bytes
		f.ShardsPeak, f.DiskPeak = open, disk
		f.ShardsPeakFinalizing, f.DiskPeakFinalizing = kept+f.Shards, keptDisk+f.Bytes
		if w.Finalize {
			open, disk = open-frees, disk-freesBytes
		}
		kept, keptDisk = kept+f.Shards-frees, keptDisk+f.Bytes-freesBytes
		out = append(out, f)
	}
	return out
}
