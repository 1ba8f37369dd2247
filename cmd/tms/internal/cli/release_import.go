package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/releases/source"
)

// keepOptions are what becomes of a bundle that was made here.
type keepOptions struct {
	dir  string
	save bool
}

func keepFlags(cmd *cobra.Command, k *keepOptions) {
	cmd.Flags().StringVar(&k.dir, "dir", "", "write the bundle below this directory")
	cmd.Flags().BoolVar(&k.save, "save", false, "keep the bundle in the database of the TMS at --addr, for all its processes")
}

// made is the outcome of import and capture.
type made struct {
	Version     string                `json:"version"`
	Previous    string                `json:"previous,omitempty"`
	Digest      string                `json:"digest,omitempty"`
	Directory   string                `json:"directory,omitempty"`
	Saved       bool                  `json:"saved"`
	Licence     string                `json:"licence,omitempty"`
	Notes       []string              `json:"notes"`
	Problems    []releases.Problem    `json:"problems,omitempty"`
	Differences []releases.Difference `json:"differences_from_built_in,omitempty"`
}

func (a *app) releaseImportCommand() *cobra.Command {
	var keep keepOptions
	var version string
	cmd := &cobra.Command{
		Use: "import PATH", Short: "Make a release of Tracardi's own source",
		Long: `Make a release of Tracardi's own source: an unpacked tree, a wheel (.whl) or a
source distribution (.tar.gz). The source is read, never executed. What is
known to be wrong in it is corrected, and every correction is named.

Exit code 3 when the bundle needs more work before it can be used; with --dir
it is written all the same.`,
		Example: "  tms release import ./tracardi-0.8.1 --dir bundles\n  tms release import tracardi-0.8.1.tar.gz --save",
		Args:    cobra.ExactArgs(1),
	}
	keepFlags(cmd, &keep)
	cmd.Flags().StringVar(&version, "version", "", "version, when the tree says another one than you want")
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		shelf, err := openShelf(*with)
		if err != nil {
			return usage(cmd, err)
		}
		tree, err := source.Open(args[0])
		if err != nil {
			return usage(cmd, err)
		}
		if keep.save { // what it follows is what it will stand behind there
			if err := a.fetchAll(cmd, shelf); err != nil {
				return err
			}
		}
		known, err := shelf.catalogue()
		if err != nil {
			return bundleRefused(err)
		}
		found, err := source.Read(tree, source.Options{Version: version, Known: known.List()})
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		m := &made{Version: found.Version, Previous: found.Previous, Licence: found.Licence, Notes: found.Notes}
		return a.keep(cmd, m, found.Files, keep, shelf, "import of Tracardi "+found.Version)
	}
	return cmd
}

// keep checks a bundle, compares it with what is built in, writes and saves
// it, and prints what was found.
func (a *app) keep(cmd *cobra.Command, m *made, files fs.FS, k keepOptions, s *shelf, origin string) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	if err := a.fetchBefore(cmd, s, files); err != nil {
		return err
	}
	_, r, checked := releases.LoadAfter(files, s.sources...)
	var wrong *releases.BundleError
	switch {
	case errors.As(checked, &wrong):
		m.Problems = wrong.Problems
	case checked != nil:
		return checked
	default:
		m.Digest = r.Digest
	}
	if err := m.compare(files); err != nil {
		return err
	}
	if k.dir != "" {
		if m.Directory, err = writeBundle(k.dir, files, m.Version); err != nil {
			return err
		}
	}
	var refused error
	if k.save && checked == nil {
		if refused = a.saveBundle(cmd, files, m.Version, origin); refused == nil {
			m.Saved = true
		}
	}
	if asJSON {
		err = writeJSON(a.out, m)
	} else {
		err = a.printMade(m)
	}
	return errors.Join(err, refused, bundleRefused(checked))
}

// compare holds the resources of a bundle against the built-in release of that
// version, whether or not its migration is complete.
func (m *made) compare(files fs.FS) error {
	r, err := releases.LayoutOf(files)
	var wrong *releases.BundleError
	if errors.As(err, &wrong) {
		return nil // said already
	}
	if err != nil {
		return err
	}
	builtin, err := releases.Builtin()
	if err != nil {
		return err
	}
	if same, err := builtin.Get(r.Version); err == nil {
		m.Differences = releases.DiffLayout(same, r)
		m.Notes = append(m.Notes, fmt.Sprintf("release %s is built in; differences in resources, mappings and settings: %d", same.Version, len(m.Differences)))
	}
	return nil
}

func (a *app) saveBundle(cmd *cobra.Command, files fs.FS, version, origin string) error {
	packed, err := releases.Pack(files, version)
	if err != nil {
		return err
	}
	return a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		_, err := call(ctx, s, s.releases.Save, &tmsv1.SaveReleaseRequest{Bundle: packed, Origin: origin})
		return err
	})(cmd, nil)
}

func (a *app) printMade(m *made) error {
	if err := writeFields(a.out, "release", m.Version, "from", orDash(m.Previous), "digest", orDash(shortDigest(m.Digest)), "licence of the source", orDash(m.Licence), "written to", orDash(m.Directory), "saved", yesNo(m.Saved)); err != nil {
		return err
	}
	if len(m.Notes) > 0 {
		if _, err := fmt.Fprintln(a.out, "\nnotes:"); err != nil {
			return err
		}
		if err := printNotes(a.out, m.Notes); err != nil {
			return err
		}
	}
	if len(m.Differences) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, differenceColumns, rowsOf(m.Differences))
}

var differenceColumns = []string{"resource", "what", "where", "before", "after", "consequence"}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
