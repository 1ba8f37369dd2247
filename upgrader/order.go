package upgrader

import (
	"cmp"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/naming"
)

// job is one source on its way into one target.
type job struct {
	m *Move
	c *Copy
}

// workOrder lists the copies that are not done in the order in which they
// begin: sources whose period is over before those that are written to, so
// that little has to be caught up with behind the fence; among each the large
// ones first, so that none of them is left alone at the end.
func workOrder(moves []*Move, now time.Time) []job {
	var out []job
	for _, m := range moves {
		for i := range m.Copies {
			if c := &m.Copies[i]; c.State != CopyDone && m.Method != MethodClone {
				out = append(out, job{m, c})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b job) int {
		if x, y := a.c.warm(now), b.c.warm(now); x != y {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(b.c.Docs, a.c.Docs)
	})
	return out
}

// warm is 0 for a source whose period is over, 1 for one without a period and
// 2 for that of today.
func (c *Copy) warm(now time.Time) int {
	n, _ := naming.Parse(c.Source)
	switch {
	case n.Partition == "":
		return 1
	case naming.PartitionOver(n.Partition, now):
		return 0
	}
	return 2
}
