package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// referenceHelp says what a command takes for a release.
const referenceHelp = `the directory of a bundle, or the version of a release: one that is
built in or below --with, else one that is saved in the TMS at --addr`

// maxFetched bounds the saved releases that follow each other.
const maxFetched = 100

// release reads a release by a reference, see referenceHelp, and returns it with
// the catalogue that it is in.
func (a *app) release(cmd *cobra.Command, s *shelf, ref string) (*releases.Catalogue, *releases.Release, error) {
	if _, err := os.Stat(filepath.Join(ref, "release.yaml")); err == nil {
		return a.bundleAt(cmd, s, ref)
	}
	known, err := s.catalogue()
	if err != nil {
		return nil, nil, bundleRefused(err)
	}
	r, err := known.Get(ref)
	var unknown *releases.UnknownReleaseError
	if !errors.As(err, &unknown) {
		return known, r, err
	}
	if strings.ContainsRune(ref, filepath.Separator) {
		return nil, nil, usage(cmd, fmt.Errorf("%s: there is no release.yaml in it", ref))
	}
	version, err := a.fetchInto(cmd, s, ref)
	if err != nil {
		return nil, nil, err
	}
	if known, err = s.catalogue(); err != nil {
		return nil, nil, bundleRefused(err)
	}
	r, err = known.Get(version)
	return known, r, err
}

// bundleAt reads a bundle's directory. The releases before it that are not known
// here are asked for.
func (a *app) bundleAt(cmd *cobra.Command, s *shelf, dir string) (*releases.Catalogue, *releases.Release, error) {
	files, err := bundleDir(dir)
	if err != nil {
		return nil, nil, usage(cmd, err)
	}
	if previous := releases.PreviousOf(files); previous != "" {
		known, err := s.catalogue()
		if err != nil {
			return nil, nil, bundleRefused(err)
		}
		if _, err := known.Get(previous); err != nil {
			// What is missing is said by the loader, with file and line.
			_, _ = a.fetchInto(cmd, s, previous)
		}
	}
	known, r, err := releases.LoadAfter(files, s.sources...)
	return known, r, bundleRefused(err)
}

// fetchInto puts a saved release on the shelf, with those before it, and returns
// its version.
func (a *app) fetchInto(cmd *cobra.Command, s *shelf, ref string) (version string, err error) {
	known, err := s.catalogue()
	if err != nil {
		return "", bundleRefused(err)
	}
	var fetched []fs.FS
	next := ref
	for range maxFetched {
		got, err := a.exported(cmd, next)
		if err != nil {
			return "", err
		}
		if version == "" {
			version = got.GetVersion()
		}
		files, err := releases.Unpack(got.GetBundle())
		if err != nil {
			return "", bundleRefused(err)
		}
		fetched = append(fetched, files)
		if next = releases.PreviousOf(files); next == "" {
			break
		}
		if _, err := known.Get(next); err == nil {
			break
		}
	}
	s.sources = append(s.sources, fetched...)
	return version, nil
}

// exported asks TMS for the bundle of a release.
func (a *app) exported(cmd *cobra.Command, version string) (*tmsv1.ExportReleaseResponse, error) {
	var got *tmsv1.ExportReleaseResponse
	err := a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) (err error) {
		got, err = call(ctx, s, s.releases.Export, &tmsv1.ExportReleaseRequest{Version: version})
		return err
	})(cmd, nil)
	if err != nil && status.Code(err) != codes.NotFound {
		return nil, fmt.Errorf("release %s is neither built in nor below --with, and TMS cannot be asked for it: %w", version, err)
	}
	return got, err
}

func (a *app) releaseExportCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "export VERSION", Short: "Write the bundle of a release as a directory: built in, or saved in TMS",
		Long: `Write the bundle of a release below --dir, in a directory named after its version:
the files that release save, validate, test and diff take. A release that is not
built in comes from the TMS at --addr. Nothing that is there is overwritten.`,
		Example: "  tms release export 0.8.2 --dir bundles",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "write the bundle below this directory")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(cmd)
		if err != nil {
			return err
		}
		version, files, err := a.bundleOf(cmd, args[0])
		if err != nil {
			return err
		}
		_, digest, err := releases.Identify(files)
		if err != nil {
			return bundleRefused(err)
		}
		target, err := writeBundle(dir, files, version)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(a.out, map[string]string{"version": version, "digest": digest, "directory": target})
		}
		_, err = fmt.Fprintf(a.out, "release %s is written to %s, digest %s\n", version, target, shortDigest(digest))
		return err
	}
	return cmd
}

// bundleOf finds the files of a release.
func (a *app) bundleOf(cmd *cobra.Command, ref string) (version string, files fs.FS, err error) {
	builtin, err := releases.Builtin()
	if err != nil {
		return "", nil, err
	}
	if r, err := builtin.Get(ref); err == nil {
		files, err := releases.OneBundle(releases.BuiltinFS(), r.Version)
		return r.Version, files, err
	}
	got, err := a.exported(cmd, ref)
	if err != nil {
		return "", nil, err
	}
	files, err = releases.Unpack(got.GetBundle())
	return got.GetVersion(), files, bundleRefused(err)
}
