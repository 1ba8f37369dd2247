package adoption

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
)

// Force says which release a tenant's aliases, and so its readers, are on.
type Force struct {
	// Release is nil when the aliases do not tell.
	Release *releases.Release
	// Versions are all that a non-static alias leads to, oldest first.
	Versions []string
	// Why there is no Release; Remedy what to do about it.
	Why, Remedy string
}

// inForce reads the release from the aliases. Static aliases lead to all
// versions by design and do not count. When aliases lead to several versions,
// those decide whose resource every one of these versions has: an installer
// that was started too early makes aliases for the resources that are new in
// its release, and a migration by other means leaves those of resources that
// ended, but neither makes it the release in force.
func inForce(c Catalogue, h *Holding) Force {
	led := map[string][]string{} // prefix -> bases under alias
	for _, ix := range h.Indices {
		if r, err := c.ByPrefix(ix.Prefix); err == nil && ix.Aliased() {
			if res, ok := resourceOf(r, ix.IndexName); ok && !res.Static {
				led[ix.Prefix] = append(led[ix.Prefix], ix.Base)
			}
		}
	}
	var pointed []*releases.Release
	f := Force{}
	for _, r := range c.List() {
		if len(led[r.Prefix]) > 0 {
			pointed, f.Versions = append(pointed, r), append(f.Versions, r.Version)
		}
	}
	switch len(pointed) {
	case 0:
		f.Why, f.Remedy = "no alias leads to an index of a known release", "hang the aliases on the indices of the right version, or delete the indices when they are not needed"
		return f
	case 1:
		f.Release = pointed[0]
		return f
	}
	for _, r := range pointed {
		if !slices.ContainsFunc(led[r.Prefix], func(base string) bool { return inAll(pointed, base) }) {
			continue
		}
		if f.Release != nil {
			return Force{Versions: f.Versions, Why: fmt.Sprintf("aliases lead to %s", strings.Join(f.Versions, " and ")), Remedy: "end the migration that was left half done, or move the aliases of the one version to the other"}
		}
		f.Release = r
	}
	if f.Release == nil {
		f.Why, f.Remedy = fmt.Sprintf("aliases lead to %s, which share no resource", strings.Join(f.Versions, " and ")), "remove the aliases of the version that is not in use"
	}
	return f
}

// inAll says whether every release has a non-static resource with the base.
func inAll(all []*releases.Release, base string) bool {
	for _, r := range all {
		if !slices.ContainsFunc(r.Resources, func(res releases.Resource) bool { return res.Base == base && !res.Static }) {
			return false
		}
	}
	return true
}
