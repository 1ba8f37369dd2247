package releases

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

//go:embed builtin
var builtinFiles embed.FS

// BuiltinFS holds the bundles that come with TMS, in the layout Load reads.
// Load(BuiltinFS(), os.DirFS(dir)) adds an operator's own releases to them.
func BuiltinFS() fs.FS {
	sub, err := fs.Sub(builtinFiles, "builtin")
	if err != nil {
		panic("releases: " + err.Error()) // the directory is embedded above
	}
	return sub
}

var builtin = sync.OnceValues(func() (*Catalogue, error) { return Load(BuiltinFS()) })

// Builtin returns the releases that come with TMS. It loads them once; later
// calls return the same catalogue.
func Builtin() (*Catalogue, error) { return builtin() }

// Catalogue is a chain of releases, each but the oldest with a migration from
// its predecessor. It is safe for concurrent use; releases in it never change
// nor go, but that of a Library gets more. The releases it returns are
// immutable.
type Catalogue struct {
	all atomic.Pointer[[]*Release] // oldest first
	// missed is called before a release is said to be unknown: another process
	// may have brought it. nil for a fixed catalogue.
	missed func()
}

func newCatalogue(all []*Release) *Catalogue {
	c := &Catalogue{}
	c.all.Store(&all)
	return c
}

// become takes over the releases of another catalogue.
func (c *Catalogue) become(other *Catalogue) { c.all.Store(other.all.Load()) }

func (c *Catalogue) releases() []*Release { return *c.all.Load() }

// find looks for a release, again when others may have brought it.
func (c *Catalogue) find(look func(all []*Release) int) (*Release, bool) {
	all := c.releases()
	i := look(all)
	if i < 0 && c.missed != nil {
		c.missed()
		all = c.releases()
		i = look(all)
	}
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// exactly returns the release of exactly that version.
func (c *Catalogue) exactly(version string) (*Release, error) {
	for _, r := range c.releases() {
		if r.Version == version {
			return r, nil
		}
	}
	return nil, c.unknown(version)
}

func (c *Catalogue) unknown(version string) error {
	return &UnknownReleaseError{What: "release", Value: version, Known: c.known(func(r *Release) string { return r.Version })}
}

// UnknownReleaseError is returned for a version or prefix that is not in the
// catalogue.
type UnknownReleaseError struct {
	What  string // "release" or "prefix"
	Value string
	Known []string // oldest first
}

func (e *UnknownReleaseError) Error() string {
	return fmt.Sprintf("unknown %s %q: known are %s", e.What, e.Value, strings.Join(e.Known, ", "))
}

// DowngradeError is returned by Path when the target is older than the start.
type DowngradeError struct{ From, To string }

func (e *DowngradeError) Error() string {
	return fmt.Sprintf("release %s is older than %s: releases only go forward; to return to the previous one roll the upgrade back", e.To, e.From)
}

// List returns all releases, oldest first. The slice is the caller's.
func (c *Catalogue) List() []*Release { return append([]*Release(nil), c.releases()...) }

// Get returns the release of a version. A further number is accepted and
// means the same data structure: the docker tags 0.8.1.1, 0.8.1.2, … are all
// release 0.8.1, because Tracardi changes only the last number when the
// structure stays. An unknown version is an *UnknownReleaseError.
func (c *Catalogue) Get(version string) (*Release, error) {
	if r, ok := c.find(func(all []*Release) int { return index(all, version) }); ok {
		return r, nil
	}
	return nil, c.unknown(version)
}

// ByPrefix returns the release whose index names carry the prefix, the oldest
// where minor ones share it: their index names are the same. An unknown prefix is an *UnknownReleaseError.
func (c *Catalogue) ByPrefix(prefix string) (*Release, error) {
	at := func(all []*Release) int {
		return slices.IndexFunc(all, func(r *Release) bool { return r.Prefix == prefix })
	}
	if r, ok := c.find(at); ok {
		return r, nil
	}
	return nil, &UnknownReleaseError{What: "prefix", Value: prefix, Known: c.known(func(r *Release) string { return r.Prefix })}
}

// Path returns the releases to go through from one version to another, without
// the first and with the last: none may be skipped. The same version gives an
// empty path. Going back is a *DowngradeError.
func (c *Catalogue) Path(from, to string) ([]*Release, error) {
	if _, err := c.Get(from); err != nil {
		return nil, err
	}
	if _, err := c.Get(to); err != nil {
		return nil, err
	}
	all := c.releases()
	i, j := index(all, from), index(all, to)
	if j < i {
		return nil, &DowngradeError{From: from, To: to}
	}
	return append([]*Release(nil), all[i+1:j+1]...), nil
}

// index finds a version, exactly or as a further number of a known one.
func index(all []*Release, version string) int {
	best, length := -1, -1
	for i, r := range all {
		if r.Version == version {
			return i
		}
		rest, ok := strings.CutPrefix(version, r.Version+".")
		if ok && digits(rest) && len(r.Version) > length {
			best, length = i, len(r.Version)
		}
	}
	if best >= 0 {
		return nearest(all, best, version)
	}
	return best
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func (c *Catalogue) known(name func(*Release) string) []string {
	names := make([]string, 0, len(c.releases()))
	for _, r := range c.releases() {
		names = append(names, name(r))
	}
	return names
}
