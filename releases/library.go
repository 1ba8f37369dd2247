package releases

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
)

// Stored is a bundle that an operator brought.
type Stored struct {
	Version string
	Digest  string
	Bundle  []byte // as Pack makes it
	Origin  string // what it was made of, for people
	SavedBy string
	SavedAt time.Time
}

// Store keeps bundles. All methods are safe for concurrent use.
type Store interface {
	// Bundles returns all bundles in the order in which they were saved.
	Bundles(ctx context.Context) ([]Stored, error)
	// Digests returns the digest of every stored version; it is cheap.
	Digests(ctx context.Context) (map[string]string, error)
	// SaveBundle stores a bundle. The same one again changes nothing; another
	// one of the same version is a *ConflictError.
	SaveBundle(ctx context.Context, s Stored) error
	// RemoveBundle removes a stored version, unless something uses it: then it
	// is an *InUseError. A version that is not there is an *UnknownReleaseError
	// without known ones. Both this and SaveBundle stand in the audit trail.
	RemoveBundle(ctx context.Context, version, by string) error
}

// InUseError is the refusal to remove a release.
type InUseError struct {
	Version string
	By      []string // all that uses it, or why it can never be removed
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("release %s cannot be removed: %s", e.Version, strings.Join(e.By, "; "))
}

// ConflictError is returned for a version that is known with other content.
type ConflictError struct{ Version, Have, Given string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("release %s is known with other content (digest %.12s, given %.12s): what rollouts and proofs name must not change; give the bundle another version, as a further number", e.Version, e.Have, e.Given)
}

const (
	// libraryEvery is how often a process looks for what others have saved. A
	// version that it does not know is looked for at once.
	libraryEvery = 5 * time.Second
	libraryWait  = 5 * time.Second
)

// Library joins the built-in releases with those in a Store, so that every
// process that shares the store knows the same ones.
type Library struct {
	store     Store
	catalogue *Catalogue
	log       *slog.Logger

	mu   sync.Mutex
	seen map[string]string // version -> digest, as the store has them
}

// OpenLibrary reads the store. A stored bundle that this program refuses is
// left out and logged: the others go on being served. Only a store that cannot
// be read is an error.
func OpenLibrary(ctx context.Context, store Store, log *slog.Logger) (*Library, error) {
	base, err := Load(BuiltinFS())
	if err != nil {
		return nil, err
	}
	l := &Library{store: store, catalogue: base, log: log, seen: map[string]string{}}
	if err := l.Refresh(ctx); err != nil {
		return nil, err
	}
	base.missed = func() {
		ctx, cancel := context.WithTimeout(context.Background(), libraryWait)
		defer cancel()
		if err := l.Refresh(ctx); err != nil {
			l.log.Warn("stored releases cannot be read", "error", err)
		}
	}
	return l, nil
}

// Catalogue is always the same one; releases are added to it.
func (l *Library) Catalogue() *Catalogue { return l.catalogue }

// Refresh takes in what was saved meanwhile.
func (l *Library) Refresh(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	digests, err := l.store.Digests(ctx)
	if err != nil {
		return fmt.Errorf("stored releases: %w", err)
	}
	if maps.Equal(digests, l.seen) {
		return nil
	}
	stored, err := l.store.Bundles(ctx)
	if err != nil {
		return fmt.Errorf("stored releases: %w", err)
	}
	c, err := l.join(stored)
	if err != nil {
		return err
	}
	l.catalogue.become(c)
	l.seen = digests
	return nil
}

// join loads the bundles that fit.
func (l *Library) join(stored []Stored) (*Catalogue, error) {
	sources := []fs.FS{BuiltinFS()}
	for _, s := range stored {
		files, err := Unpack(s.Bundle)
		if err == nil {
			_, err = Load(append(sources[:len(sources):len(sources)], files)...)
		}
		if err != nil {
			l.log.Error("a stored release is left out", "release", s.Version, "error", err)
			continue
		}
		sources = append(sources, files)
	}
	return Load(sources...)
}

// Run looks for what other processes have saved, until ctx ends.
func (l *Library) Run(ctx context.Context) {
	tick := time.NewTicker(libraryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.Refresh(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("stored releases cannot be read", "error", err)
		}
	}
}

// Save checks a bundle against all known releases and stores it. The same
// bundle again changes nothing. The error is a *BundleError, a *ConflictError
// or the store's.
func (l *Library) Save(ctx context.Context, bundle []byte, origin, by string) (*Release, error) {
	if err := l.Refresh(ctx); err != nil {
		return nil, err
	}
	files, err := Unpack(bundle)
	if err != nil {
		return nil, err
	}
	version, digest, err := Identify(files)
	if err != nil {
		return nil, err
	}
	if known, err := l.catalogue.exactly(version); err == nil {
		if known.Digest == digest {
			return known, nil
		}
		return nil, &ConflictError{Version: version, Have: known.Digest, Given: digest}
	}
	stored, err := l.store.Bundles(ctx)
	if err != nil {
		return nil, err
	}
	sources := []fs.FS{BuiltinFS()}
	for _, s := range stored {
		if known, err := l.catalogue.exactly(s.Version); err != nil || known.Digest != s.Digest {
			continue // left out
		}
		other, err := Unpack(s.Bundle)
		if err != nil {
			return nil, err
		}
		sources = append(sources, other)
	}
	if _, err := Load(append(sources, files)...); err != nil {
		return nil, err
	}
	if err := l.store.SaveBundle(ctx, Stored{Version: version, Digest: digest, Bundle: bundle, Origin: origin, SavedBy: by}); err != nil {
		return nil, err
	}
	if err := l.Refresh(ctx); err != nil {
		return nil, err
	}
	return l.catalogue.exactly(version)
}

// Remove takes a stored release away, for all processes, unless something uses
// it: rollouts and proofs name it, and without it nobody could say what they
// mean. The error is an *InUseError, an *UnknownReleaseError or the store's.
func (l *Library) Remove(ctx context.Context, version, by string) error {
	if err := l.Refresh(ctx); err != nil {
		return err
	}
	builtin, err := Builtin()
	if err != nil {
		return err
	}
	if _, err := builtin.exactly(version); err == nil {
		return &InUseError{Version: version, By: []string{"it is built in"}}
	}
	for _, r := range l.catalogue.List() {
		if r.Previous == version {
			return &InUseError{Version: version, By: []string{"release " + r.Version + " follows it (remove that one first)"}}
		}
	}
	if err := l.store.RemoveBundle(ctx, version, by); err != nil {
		var unknown *UnknownReleaseError
		if errors.As(err, &unknown) {
			return l.catalogue.unknown(version)
		}
		return err
	}
	return l.Refresh(ctx)
}

// Export returns a release and its bundle as Pack makes it, whether it is built
// in or stored. The error is an *UnknownReleaseError or the store's.
func (l *Library) Export(ctx context.Context, version string) (*Release, []byte, error) {
	r, err := l.catalogue.Get(version)
	if err != nil {
		return nil, nil, err
	}
	builtin, err := Builtin()
	if err != nil {
		return nil, nil, err
	}
	if same, err := builtin.exactly(r.Version); err == nil && same.Digest == r.Digest {
		bundle, err := Pack(BuiltinFS(), r.Version)
		return r, bundle, err
	}
	stored, err := l.store.Bundles(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("stored releases: %w", err)
	}
	for _, s := range stored {
		if s.Version == r.Version && s.Digest == r.Digest {
			return r, s.Bundle, nil
		}
	}
	return nil, nil, l.catalogue.unknown(version) // removed this moment
}

// Bounds of a packed bundle. The built-in ones have 40 files of 3 KB; what is
// packed has to fit into one message (gRPC allows 4 MiB).
const (
	MaxBundle         = 3 << 20
	maxBundleFiles    = 1000
	maxBundleUnpacked = 32 << 20
)

// Pack makes one file of a bundle's directory in fsys.
func Pack(fsys fs.FS, dir string) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	err := fs.WalkDir(fsys, dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		w, err := z.Create(name)
		if err != nil {
			return err
		}
		_, err = w.Write(raw)
		return err
	})
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("pack bundle %s: %w", dir, err)
	}
	if out.Len() > MaxBundle {
		return nil, fmt.Errorf("pack bundle %s: %d bytes, at most %d are possible", dir, out.Len(), MaxBundle)
	}
	return out.Bytes(), nil
}

// Unpack opens what Pack made, as Load reads it. The error is a *BundleError.
func Unpack(bundle []byte) (fs.FS, error) {
	p := &problems{}
	refuse := func(format string, args ...any) (fs.FS, error) {
		p.add("bundle", 0, format, args...)
		return nil, p.err()
	}
	if len(bundle) > MaxBundle {
		return refuse("%d bytes, at most %d are possible", len(bundle), MaxBundle)
	}
	z, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		return refuse("not a zip file: %v", err)
	}
	var size uint64
	for _, f := range z.File {
		if !fs.ValidPath(f.Name) {
			return refuse("%q is not a path below the bundle", f.Name)
		}
		size += f.UncompressedSize64
	}
	if len(z.File) > maxBundleFiles || size > maxBundleUnpacked {
		return refuse("%d files of %d bytes, at most %d of %d are possible", len(z.File), size, maxBundleFiles, maxBundleUnpacked)
	}
	return z, nil
}

// PreviousOf returns the version of the release before the one bundle in fsys,
// "" when there is none or when it cannot be read.
func PreviousOf(fsys fs.FS) string {
	dirs, err := fs.ReadDir(fsys, ".")
	if err != nil || len(dirs) != 1 {
		return ""
	}
	b := readBundle(fsys, dirs[0].Name(), &problems{})
	if b == nil {
		return ""
	}
	return b.release.Previous
}

// Identify returns version and digest of the one bundle in fsys.
func Identify(fsys fs.FS) (version, digest string, err error) {
	r, err := LayoutOf(fsys)
	if err != nil {
		return "", "", err
	}
	return r.Version, r.Digest, nil
}

// LayoutOf reads the one bundle in fsys without its migration: what a tenant of
// the release has. The error is a *BundleError.
func LayoutOf(fsys fs.FS) (*Release, error) {
	p := &problems{}
	dirs, err := fs.ReadDir(fsys, ".")
	if err != nil || len(dirs) != 1 || !dirs[0].IsDir() {
		p.add("bundle", 0, "expected one directory, named after the version, with a %s", releaseFile)
		return nil, p.err()
	}
	b := readBundle(fsys, dirs[0].Name(), p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return b.release, nil
}
