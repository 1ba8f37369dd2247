package backups

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Retention says which snapshots of a policy are removed.
type Retention struct {
	// ExpireAfter removes what is older; 0 keeps for ever.
	ExpireAfter time.Duration `json:"expire_after,omitempty"`
	// Min good snapshots stay, however old.
	Min int `json:"min,omitempty"`
	// Max good snapshots stay, however young; 0 is no bound.
	Max int `json:"max,omitempty"`
}

func (r Retention) check() error {
	switch {
	case r.ExpireAfter < 0:
		return invalid("retention.expire_after", "give a positive time, or none to keep for ever", "%s is negative", r.ExpireAfter)
	case r.Min < 0 || r.Max < 0:
		return invalid("retention", "give numbers of 0 or more", "min %d and max %d", r.Min, r.Max)
	case r.Max > 0 && r.Min > r.Max:
		return invalid("retention.min", "give a min that is not above max", "min %d is more than max %d", r.Min, r.Max)
	}
	return nil
}

// Holding is a snapshot, of whatever policy or none, as retention sees it.
type Holding struct {
	ID         string
	State      State
	Repository string
	TakenAt    time.Time
	Releases   map[string]string // tenant -> release
	// Mine: of the policy whose retention it is.
	Mine bool
	// Stands: the engine has it, complete.
	Stands bool
	// Doubted names a failed drill of it, "" when its last one went well or
	// there was none.
	Doubted string
	// Reader is a restore that reads it now, "" for none.
	Reader string
}

// good says whether it counts as a backup.
func (h Holding) good() bool { return h.State == StateSuccess && h.Stands && h.Doubted == "" }

// Need is a tenant in a rollout that can still be rolled back or finalized.
type Need struct {
	Tenant, Release, Rollout string
	// Snapshot is the one that was taken for the rollout, "" for none.
	Snapshot string
}

// Holdings is everything that decides what may go.
type Holdings struct {
	Snapshots []Holding
	Tenants   map[string]bool // registered, not purged
	Needs     []Need
}

// Removal is a snapshot that goes, or that had to stay.
type Removal struct {
	ID  string
	Why string
}

// Decide says which snapshots of the policy go, oldest first, and which would
// go but have to stay. It has no I/O. However the policy is set, these stay:
// the newest good snapshot of every registered tenant; one that an unfinished
// rollout or a restore needs; and one that is not good, as long as a tenant in
// it has no good one. Only good snapshots count for Min and Max.
func (r Retention) Decide(now time.Time, all Holdings) (remove, held []Removal) {
	sorted := slices.Clone(all.Snapshots)
	slices.SortStableFunc(sorted, func(a, b Holding) int { // newest first
		if c := b.TakenAt.Compare(a.TakenAt); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	bound := all.bound(sorted)
	kept, newer := 0, false // good ones of the policy, seen so far
	for _, h := range sorted {
		if !h.Mine || !h.State.Ended() || h.State == StateDeleted {
			continue
		}
		why := r.expired(now, h, kept, newer)
		if h.good() {
			newer = true
		}
		switch {
		case why == "":
		case bound[h.ID] != "":
			held = append(held, Removal{h.ID, why + ", but " + bound[h.ID]})
		default:
			remove = append(remove, Removal{h.ID, why})
			continue
		}
		if h.good() {
			kept++
		}
	}
	slices.Reverse(remove)
	slices.Reverse(held)
	return remove, held
}

// expired says why a snapshot should go, "" when it should not. kept good ones
// are newer.
func (r Retention) expired(now time.Time, h Holding, kept int, newer bool) string {
	age := now.Sub(h.TakenAt)
	old := r.ExpireAfter > 0 && age > r.ExpireAfter
	switch {
	case !h.good() && old:
		return fmt.Sprintf("no backup, and older than %s", r.ExpireAfter)
	case !h.good() && newer:
		return "no backup, and a newer one is"
	case !h.good():
		return ""
	case r.Max > 0 && kept >= r.Max:
		return fmt.Sprintf("more than %d", r.Max)
	case old && kept >= r.Min:
		return fmt.Sprintf("older than %s", r.ExpireAfter)
	}
	return ""
}

// bound says which snapshots have to stay, and why. They come newest first.
func (all Holdings) bound(sorted []Holding) map[string]string {
	why := map[string]string{}
	keep := func(id, reason string) {
		if why[id] == "" {
			why[id] = reason
		}
	}
	saved := map[string]bool{} // tenants with a good snapshot
	for _, h := range sorted {
		if h.Reader != "" {
			keep(h.ID, "restore "+h.Reader+" reads it")
		}
		if !h.good() {
			continue
		}
		for t := range h.Releases {
			if all.Tenants[t] && !saved[t] {
				saved[t] = true
				keep(h.ID, "the last good one of tenant "+t)
			}
		}
	}
	for _, n := range all.Needs {
		i := slices.IndexFunc(sorted, func(h Holding) bool { return h.good() && h.Releases[n.Tenant] == n.Release })
		if i >= 0 {
			keep(sorted[i].ID, "rollout "+n.Rollout+" relies on it")
		}
		if n.Snapshot != "" {
			keep(n.Snapshot, "rollout "+n.Rollout+" relies on it")
		}
	}
	for _, h := range sorted {
		if h.good() {
			continue
		}
		for t := range h.Releases {
			if all.Tenants[t] && !saved[t] {
				keep(h.ID, "there is no good one of tenant "+t)
			}
		}
	}
	return why
}
