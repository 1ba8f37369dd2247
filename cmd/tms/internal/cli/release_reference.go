package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// referenceHelp says what a command takes for a release.
const referenceHelp = `the directory of a bundle, an archive of one (- for standard input), or
the version of a release: one that is built in or below --with, else one that is
saved in the TMS at --addr`

// maxFetched bounds the saved releases that follow each other.
const maxFetched = 100

// release reads a release by a reference, see referenceHelp, and returns it with
// the catalogue that it is in.
func (a *app) release(cmd *cobra.Command, s *shelf, ref string) (*releases.Catalogue, *releases.Release, error) {
	files, ok, err := bundleFiles(cmd, ref)
	if err != nil {
		return nil, nil, usage(cmd, err)
	}
	if ok {
		return a.bundleIn(cmd, s, files)
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
	if looksLikePath(ref) {
		return nil, nil, usage(cmd, fmt.Errorf("%s: neither a directory with a release.yaml in it nor an archive of a bundle", ref))
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

// bundleIn reads the only bundle in files.
func (a *app) bundleIn(cmd *cobra.Command, s *shelf, files fs.FS) (*releases.Catalogue, *releases.Release, error) {
	if err := a.fetchBefore(cmd, s, files); err != nil {
		return nil, nil, err
	}
	known, r, err := releases.LoadAfter(files, s.sources...)
	return known, r, bundleRefused(err)
}

// fetchBefore asks TMS for the releases before a bundle that are not known
// here. What TMS does not know either is said by the loader, with file and line.
func (a *app) fetchBefore(cmd *cobra.Command, s *shelf, files fs.FS) error {
	previous := releases.PreviousOf(files)
	if previous == "" {
		return nil
	}
	known, err := s.catalogue()
	if err != nil {
		return bundleRefused(err)
	}
	if !exactly(known, previous) {
		_, _ = a.fetchInto(cmd, s, previous)
	}
	return nil
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
		if exactly(known, next) {
			break
		}
	}
	s.sources = append(s.sources, fetched...)
	return version, nil
}

// exactly says whether a release of just that version is known, and not one
// whose structure a minor version has.
func exactly(known *releases.Catalogue, version string) bool {
	r, err := known.Get(version)
	return err == nil && r.Version == version
}

// fetchAll puts all releases on the shelf that are saved in TMS.
func (a *app) fetchAll(cmd *cobra.Command, s *shelf) error {
	known, err := s.catalogue()
	if err != nil {
		return bundleRefused(err)
	}
	newest := ""
	err = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, t *session) error {
		found, err := call(ctx, t, t.releases.List, &tmsv1.ListReleasesRequest{})
		for _, r := range found.GetReleases() { // oldest first, one chain
			newest = r.GetVersion()
		}
		return err
	})(cmd, nil)
	if err != nil {
		return fmt.Errorf("releases that are saved in TMS: %w", err)
	}
	if newest == "" || exactly(known, newest) {
		return nil
	}
	_, err = a.fetchInto(cmd, s, newest)
	return err
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
	var dir, archive string
	cmd := &cobra.Command{
		Use: "export VERSION", Short: "Write the bundle of a release, built in or saved in TMS: as a directory, or as one file",
		Long: `Write the bundle of a release below --dir, in a directory named after its version,
or with --archive as one file (- for standard output): what release save,
validate, test and diff take. A release that is not built in comes from the TMS
at --addr. Nothing that is there is overwritten.`,
		Example: "  tms release export 0.8.2 --dir bundles\n  tms release export 0.8.3 --archive release-0.8.3.zip",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "write the bundle below this directory")
	cmd.Flags().StringVar(&archive, "archive", "", "write one zip file of this name instead, - for standard output")
	cmd.MarkFlagsMutuallyExclusive("dir", "archive")
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
		kind, target := "archive", archive
		if archive != "" {
			err = a.writeArchive(archive, files, version)
		} else {
			kind = "directory"
			target, err = writeBundle(dir, files, version)
		}
		switch {
		case err != nil:
			return err
		case archive == stdio:
			return nil // nothing but the bundle
		case asJSON:
			return writeJSON(a.out, map[string]string{"version": version, "digest": digest, kind: target})
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
