package releases

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Load reads release bundles, one directory per release, from one or several
// file systems into one catalogue. It reads to the end and returns everything
// that is wrong as a *BundleError.
func Load(sources ...fs.FS) (*Catalogue, error) {
	return load(sources, func(int, string) bool { return true })
}

// LoadAfter reads one bundle, the only one in given, together with those of
// the known ones that are older, as if no newer one existed: a release that is
// known already can be brought and compared. The error is a *BundleError.
func LoadAfter(given fs.FS, known ...fs.FS) (*Catalogue, *Release, error) {
	version, _, err := Identify(given)
	if err != nil {
		return nil, nil, err
	}
	last := len(known)
	c, err := load(append(known[:last:last], given), func(source int, dir string) bool {
		return source == last || CompareVersions(dir, version) < 0
	})
	if err != nil {
		return nil, nil, err
	}
	r, err := c.exactly(version)
	return c, r, err
}

// load reads those directories of the sources that are wanted.
func load(sources []fs.FS, wanted func(source int, dir string) bool) (*Catalogue, error) {
	p := &problems{}
	var bundles []*bundle
	for i, fsys := range sources {
		entries, err := fs.ReadDir(fsys, ".")
		if err != nil {
			p.add(".", 0, "cannot be read: %v", err)
			continue
		}
		for _, e := range entries {
			if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || !wanted(i, e.Name()) {
				continue
			}
			if b := readBundle(fsys, e.Name(), p); b != nil {
				bundles = append(bundles, b)
			}
		}
	}
	if len(bundles) == 0 && len(p.list) == 0 {
		p.add(".", 0, "no releases in here: expected directories named after versions, each with a %s", releaseFile)
	}
	checkUnique(bundles)
	chain := chainOf(bundles)
	for _, b := range bundles {
		readMigration(b, predecessor(b, bundles))
	}
	checkPrefixes(chain)
	if err := p.err(); err != nil {
		return nil, err
	}
	var all []*Release
	for _, b := range chain {
		all = append(all, b.release)
	}
	return newCatalogue(all), nil
}

func checkUnique(bundles []*bundle) {
	versions := map[string]*bundle{}
	for _, b := range bundles {
		r := b.release
		if versions[r.Version] != nil && r.Version != "" {
			b.doc.problem(b.doc.root, "version %s is there twice", r.Version)
		}
		versions[r.Version] = b
	}
}

func predecessor(b *bundle, bundles []*bundle) *bundle {
	i := slices.IndexFunc(bundles, func(o *bundle) bool { return o != b && o.release.Version == b.release.Previous })
	if i < 0 {
		return nil
	}
	return bundles[i]
}

// chainOf orders the bundles oldest first and reports gaps, branches and
// circles.
func chainOf(bundles []*bundle) []*bundle {
	var oldest []*bundle
	next := map[string]*bundle{}
	for _, b := range bundles {
		prev := b.release.Previous
		if prev == "" {
			oldest = append(oldest, b)
			continue
		}
		if predecessor(b, bundles) == nil {
			b.doc.problem(b.previous, "previous release %s is not there: the chain has a gap", prev)
		}
		if other := next[prev]; other != nil {
			b.doc.problem(b.previous, "release %s follows %s already: releases form one chain", other.release.Version, prev)
		}
		next[prev] = b
	}
	if len(oldest) == 0 && len(bundles) > 0 {
		b := bundles[0]
		b.doc.problem(b.previous, "no release is the first: every one names a previous one, in a circle or outside of these bundles")
		return nil
	}
	for _, b := range oldest[min(1, len(oldest)):] {
		b.doc.problem(b.doc.root, "release %s names no previous one, and neither does %s: only the oldest may", b.release.Version, oldest[0].release.Version)
	}
	var chain []*bundle
	for b := first(oldest); b != nil && !slices.Contains(chain, b); b = next[b.release.Version] {
		chain = append(chain, b)
	}
	for _, b := range bundles {
		if len(oldest) == 1 && !slices.Contains(chain, b) && predecessor(b, bundles) != nil {
			b.doc.problem(b.previous, "release %s cannot be reached from %s", b.release.Version, oldest[0].release.Version)
		}
	}
	return chain
}

func first(bundles []*bundle) *bundle {
	if len(bundles) == 0 {
		return nil
	}
	return bundles[0]
}

// hasFile tells whether the bundle has a file of that name.
func (b *bundle) hasFile(name string) bool {
	_, err := fs.Stat(b.fsys, path.Join(b.dir, name))
	return err == nil
}
