package releases

import (
	"fmt"
	"strings"
)

// A minor release has the prefix of the release right before it: the index
// names stay, so no document can move, and the mappings may only gain fields.
// That every field which is there is as it was is not asked here: an engine
// compares what really stands.

// checkPrefixes refuses prefixes that do not tell releases apart.
func checkPrefixes(chain []*bundle) {
	seen := map[string]*bundle{}
	for i, b := range chain {
		r := b.release
		if other := seen[r.Prefix]; other != nil && r.Prefix != "" {
			if why := notMinor(chain[i-1].release, r); why != "" {
				b.doc.problem(b.doc.root, "prefix %s belongs to release %s already: their index names could not be told apart, and it is no minor release, because %s", r.Prefix, other.release.Version, why)
			}
		}
		seen[r.Prefix] = b
	}
}

// notMinor says why a release is none that leaves the indices of the one before
// in place; "" when it is.
func notMinor(prev, r *Release) string {
	switch {
	case prev.Prefix != r.Prefix:
		return fmt.Sprintf("release %s with prefix %s lies between", prev.Version, prev.Prefix)
	case r.Migration == nil:
		return "its migration cannot be read"
	}
	for _, was := range prev.Resources {
		res, ok := r.Resource(was.Key)
		switch {
		case !ok:
			return fmt.Sprintf("resource %s is gone", was.Key)
		case res.Base != was.Base || res.Static != was.Static || res.Partitioning != was.Partitioning:
			return fmt.Sprintf("indices of resource %s have other names", was.Key)
		}
		if step, ok := r.Migration.Steps[was.Key]; ok && (step.From != was.Key || !step.Transform.Empty()) {
			return fmt.Sprintf("documents of resource %s would have to be changed", was.Key)
		}
	}
	return ""
}

// nearest finds, of a release and the minor ones that follow it, the latest
// that is not later than a version with further numbers: 0.8.1.7 has the
// structure of 0.8.1.5 where that is a release of its own.
func nearest(all []*Release, at int, version string) int {
	minor := func(r *Release) bool {
		return r.Prefix == all[at].Prefix && strings.HasPrefix(r.Version, all[at].Version+".") && CompareVersions(r.Version, version) <= 0
	}
	best := at
	for i := at + 1; i < len(all) && minor(all[i]); i++ {
		best = i
	}
	return best
}
