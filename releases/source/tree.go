// Package source makes a release bundle of Tracardi's own source: the table of
// its indices, its mappings, its migration and its version. The source is read,
// never executed.
package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing/fstest"
)

// Bounds of an archive: Tracardi 0.8.2 has 2,200 files of 9 MB.
const (
	maxArchive = 256 << 20
	maxFile    = 16 << 20
)

// Where things are in Tracardi's tree.
const (
	indexFile      = "tracardi/service/storage/index.py"
	configFile     = "tracardi/config.py"
	versionFile    = "tracardi/domain/version.py"
	setupFile      = "setup.py"
	setupDir       = "tracardi/service/setup"
	migrationsDir  = "tracardi/process_engine/migration/schemas"
	licencePattern = "LICEN[CS]E*"
)

// Open opens an unpacked source tree, a wheel (.whl) or a source distribution
// (.tar.gz), from the directory on that holds tracardi/.
func Open(name string) (fs.FS, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return rooted(os.DirFS(name), name)
	case info.Size() > maxArchive:
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", name, info.Size(), maxArchive)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(name, ".whl"), strings.HasSuffix(name, ".zip"):
		z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return rooted(z, name)
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		files, err := untar(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return rooted(files, name)
	}
	return nil, fmt.Errorf("%s: neither a directory nor a wheel (.whl) nor a source distribution (.tar.gz)", name)
}

// rooted finds the tree in the directory itself or one below it.
func rooted(files fs.FS, name string) (fs.FS, error) {
	if _, err := fs.Stat(files, indexFile); err == nil {
		return files, nil
	}
	below, err := fs.Glob(files, "*/"+indexFile)
	if err != nil || len(below) == 0 {
		return nil, fmt.Errorf("%s: there is no %s in it: is it Tracardi's source?", name, indexFile)
	}
	return fs.Sub(files, strings.TrimSuffix(below[0], "/"+indexFile))
}

// untar keeps what a release can be made of.
func untar(raw []byte) (fs.FS, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	out := fstest.MapFS{}
	left := int64(maxArchive)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if left -= h.Size; left < 0 {
			return nil, fmt.Errorf("more than %d bytes", maxArchive)
		}
		if ext := path.Ext(name); h.Typeflag != tar.TypeReg || h.Size > maxFile || !fs.ValidPath(name) || ext != ".py" && ext != ".json" && !strings.Contains(name, "LICEN") {
			continue
		}
		body, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		out[name] = &fstest.MapFile{Data: body}
	}
}

// row is an entry of the table of indices.
type row struct {
	key  string
	line int
	args map[string]any // string, bool, int64, nil or reference
}

// reference is the name of an attribute of the configuration.
type reference string

func (r row) text(name string) string {
	s, _ := r.args[name].(string)
	return s
}

func (r row) yes(name string) bool {
	b, _ := r.args[name].(bool)
	return b
}

// with parses a file and hands it to f.
func with(tree fs.FS, name string, f func(*python) error) error {
	raw, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	p, err := parsePython(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer p.close()
	if err := f(p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
