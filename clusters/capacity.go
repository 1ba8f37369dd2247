package clusters

import (
	"fmt"
	"slices"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// Usage is what a cluster holds and may hold, at about one time.
type Usage struct {
	Info   upgrader.EngineInfo
	Shards capacity.Shards
	Disk   capacity.Disk
	// Tenants are registered there and not deleted; Pending of them nothing is
	// held of yet.
	Tenants, Pending int
	// Needs are of the others, in any order.
	Needs []Need
	// Bare is what a tenant of the newest release needs without documents: for
	// a cluster where nothing can be measured.
	Bare Need
}

// Need is what one tenant takes, replicas included.
type Need struct {
	Shards int
	Bytes  int64
}

// Capacity is how full a cluster is.
type Capacity struct {
	Cluster string
	// Problem is why it did not answer; everything else is empty then.
	Problem string
	Usage
	// Typical is the median of what was measured, Largest the most of each.
	// Measured is the number of tenants, 0 for Bare.
	Typical, Largest Need
	Measured         int
	// Fits is the number of further typical tenants; FitsDuringUpgrade leaves
	// room for a wave of Wave tenants with both versions.
	Fits, FitsDuringUpgrade, Wave int
	// UpgradeFits says whether such a wave of the tenants that are there fits.
	UpgradeFits bool
	Bound       string // what runs out first: "shards" or "disk"
	Advice      string
}

// few is the number of further tenants below which an operator is told to act.
const few = 5

// unbounded stands for what nothing limits.
const unbounded = 1 << 30

// Assess works out the capacity of a cluster for waves of a size. It has no
// I/O and no clock.
func Assess(cluster string, u Usage, wave int) Capacity {
	c := Capacity{Cluster: cluster, Usage: u, Wave: wave, Measured: len(u.Needs)}
	c.Typical, c.Largest = typical(u)
	shards, disk := c.shards(), c.disk()
	c.Fits = min(shards.fit(), disk.fit())
	c.FitsDuringUpgrade = min(shards.fitWith(wave), disk.fitWith(wave))
	c.UpgradeFits = shards.holds(wave) && disk.holds(wave)
	c.Bound = "shards"
	if disk.fitWith(wave) < shards.fitWith(wave) {
		c.Bound = "disk"
	}
	c.Advice = c.advise()
	return c
}

// typical is the median and the most, of shards and of bytes.
func typical(u Usage) (median, most Need) {
	if len(u.Needs) == 0 {
		return u.Bare, u.Bare
	}
	var shards []int
	var bytes []int64
	for _, n := range u.Needs {
		shards, bytes = append(shards, n.Shards), append(bytes, n.Bytes)
	}
	slices.Sort(shards)
	slices.Sort(bytes)
	// The upper one of two in the middle: rather too much.
	middle, last := len(shards)/2, len(shards)-1
	return Need{shards[middle], bytes[middle]}, Need{shards[last], bytes[last]}
}

// resource is something of which there is so much.
type resource struct {
	room    int64   // left, after what is kept for tenants that are to come
	limited bool    // by a limit of the cluster
	typical int64   // need of a further tenant
	needs   []int64 // of those that are there, the largest first
}

func (c *Capacity) shards() resource {
	r := resource{limited: c.Shards.Limit() > 0, typical: int64(c.Typical.Shards)}
	r.room = int64(c.Shards.Limit()-c.Shards.Open) - int64(c.Pending)*r.typical
	for _, n := range c.Needs {
		r.needs = append(r.needs, int64(n.Shards))
	}
	return r.complete(c.Pending)
}

func (c *Capacity) disk() resource {
	r := resource{limited: c.Disk.Limit > 0, typical: c.Typical.Bytes}
	r.room = c.Disk.Limit - c.Disk.Used - int64(c.Pending)*r.typical
	for _, n := range c.Needs {
		r.needs = append(r.needs, n.Bytes)
	}
	return r.complete(c.Pending)
}

// complete counts tenants that are to come among those that are there.
func (r resource) complete(pending int) resource {
	for range pending {
		r.needs = append(r.needs, r.typical)
	}
	slices.SortFunc(r.needs, func(a, b int64) int { return int(min(max(b-a, -1), 1)) })
	return r
}

// reserve is what the largest tenants of a wave need beside what they have.
func (r resource) reserve(wave int) int64 {
	var sum int64
	for _, n := range r.needs[:min(wave, len(r.needs))] {
		sum += n
	}
	return sum
}

// cost is what so many further tenants need beside a wave.
func (r resource) cost(tenants, wave int) int64 {
	inWave := min(tenants, max(0, wave-len(r.needs)))
	return r.reserve(wave) + int64(tenants+inWave)*r.typical
}

func (r resource) holds(wave int) bool { return !r.limited || r.room >= r.reserve(wave) }

func (r resource) fit() int { return r.fitWith(0) }

// fitWith is the number of further tenants such that a wave fits, too. While
// fewer tenants are there than the wave takes, the further ones are in it.
func (r resource) fitWith(wave int) int {
	left := r.room - r.reserve(wave)
	switch {
	case r.limited && left < 0:
		return 0
	case !r.limited || r.typical <= 0:
		return unbounded
	}
	free := int64(max(0, wave-len(r.needs)))
	if both := left / (2 * r.typical); both < free {
		return int(min(both, unbounded))
	}
	return int(min((left-free*r.typical)/r.typical, unbounded))
}

// Unbounded says that nothing limits a number of tenants.
func Unbounded(fits int) bool { return fits >= unbounded }

// advise says what to do, in a sentence.
func (c *Capacity) advise() string {
	switch {
	case c.Shards.DataNodes == 0:
		return "the cluster has no data node: nothing fits"
	case c.Fits == 0:
		return "no further tenant fits: " + c.remedy(1)
	case !c.UpgradeFits:
		return fmt.Sprintf("the next upgrade does not fit in waves of %d: take smaller waves, or %s", c.Wave, c.remedy(0))
	case c.FitsDuringUpgrade == 0:
		return fmt.Sprintf("with one more tenant the next upgrade no longer fits in waves of %d: %s", c.Wave, c.remedy(few))
	case c.FitsDuringUpgrade < few:
		return fmt.Sprintf("room for %d more: %s before they are there", c.FitsDuringUpgrade, c.remedy(few))
	case Unbounded(c.FitsDuringUpgrade):
		return "nothing limits the number of tenants"
	}
	return fmt.Sprintf("room for %d more", c.FitsDuringUpgrade)
}

// remedy makes room for so many further tenants beside a wave.
func (c *Capacity) remedy(tenants int) string {
	const elsewhere = "add data nodes, remove old versions (`tms cleanup plan`), or add a cluster (`tms cluster add`)"
	shards := c.shards()
	if c.Bound == "disk" {
		return elsewhere
	}
	lacking := shards.cost(tenants, c.Wave) - shards.room
	if lacking <= 0 {
		return elsewhere
	}
	nodes := int64(c.Shards.DataNodes)
	needed := (int64(c.Shards.Limit()) + lacking + nodes - 1) / nodes
	return fmt.Sprintf("set cluster.max_shards_per_node to %d or more (it is %d), %s", needed, c.Shards.MaxPerNode, elsewhere)
}
