package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/releases"
)

// stdio stands for standard input, or output, where a file is expected.
const stdio = "-"

// bundleFiles opens what an operator keeps a bundle in: its directory, an
// archive as `tms release export --archive` writes it, or - for such an archive
// on standard input. ok is false for what is none of these.
func bundleFiles(cmd *cobra.Command, ref string) (files fs.FS, ok bool, err error) {
	if ref == stdio {
		files, err = readArchive("standard input", cmd.InOrStdin())
		return files, true, err
	}
	info, err := os.Stat(ref)
	switch {
	case err != nil:
		return nil, false, nil // the name of something else, perhaps a version
	case info.IsDir():
		if _, err := os.Stat(filepath.Join(ref, "release.yaml")); err != nil {
			return nil, false, nil
		}
		files, err = bundleDir(ref)
		return files, true, err
	case !info.Mode().IsRegular():
		return nil, false, nil
	}
	f, err := os.Open(ref)
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	files, err = readArchive(ref, f)
	return files, true, err
}

// readArchive unpacks an archive; name is for messages.
func readArchive(name string, from io.Reader) (fs.FS, error) {
	raw, err := io.ReadAll(io.LimitReader(from, releases.MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	files, err := releases.Unpack(raw)
	var refused *releases.BundleError
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("%s: %s; give the directory of a bundle, or an archive as `tms release export --archive` writes it", name, refused.Problems[0].Text)
	}
	return files, err
}

// writeArchive writes a bundle as one file, or to standard output for "-". It
// replaces no file.
func (a *app) writeArchive(name string, files fs.FS, version string) error {
	packed, err := releases.Pack(files, version)
	if err != nil {
		return err
	}
	if name == stdio {
		_, err := a.out.Write(packed)
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: remove it or choose another --archive", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(packed)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, errors.Join(err, os.Remove(name)))
	}
	return nil
}

// looksLikePath tells what can only be meant as a path from a version.
func looksLikePath(ref string) bool {
	return strings.ContainsRune(ref, filepath.Separator) || strings.HasSuffix(ref, ".zip")
}
