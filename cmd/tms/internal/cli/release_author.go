package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

func (a *app) releaseNewCommand() *cobra.Command {
	var prefix, previous, dir string
	cmd := &cobra.Command{
		Use: "new VERSION", Short: "Begin a bundle by hand, with everything as in its predecessor",
		Example: "  tms release new 0.8.3 --prefix 083 --dir bundles",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "what index names begin with (required)")
	cmd.Flags().StringVar(&previous, "from", "", "predecessor: a version, of a release that is saved in TMS as well, or a bundle (default: the newest that is built in or below --with)")
	cmd.Flags().StringVar(&dir, "dir", ".", "write the bundle below this directory")
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if prefix == "" {
			return usage(cmd, errors.New("--prefix is missing: say what index names of the release begin with"))
		}
		shelf, err := openShelf(*with)
		if err != nil {
			return usage(cmd, err)
		}
		known, err := shelf.catalogue()
		if err != nil {
			return bundleRefused(err)
		}
		all := known.List()
		from := all[len(all)-1]
		if previous != "" {
			if _, from, err = a.release(cmd, shelf, previous); err != nil {
				return err
			}
		}
		files, err := releases.NewDraft(args[0], prefix, from).Files()
		if err != nil {
			return err
		}
		if _, _, err := releases.LoadAfter(files, shelf.sources...); err != nil {
			return bundleRefused(err)
		}
		target, err := writeBundle(dir, files, args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s: %d resources as in %s; change them, then `tms release validate %s`\n", target, len(from.Resources), from.Version, target)
		return err
	}
	return cmd
}

func (a *app) releaseDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff A B", Short: "List how two releases differ, and what that means for documents",
		Long: `List how two releases differ, and what that means for the documents of each
resource: none, clone (a hard-linked copy), reindex (every document is written
anew) or conflict (documents would be refused or lose something, so that a
transform has to decide; "handled" when the migration between them does). Below
stands the method by which an upgrade from A to B would fill each resource, and
why, as a plan says it: for large indices of a period that is over. What a plan
knows of a tenant (the sizes, what is written to) may lead to another one.

Each of A and B is ` + referenceHelp + `.`,
		Example: "  tms release diff 0.8.1 0.8.2\n  tms release diff 0.8.2 bundles/0.8.3",
		Args:    cobra.ExactArgs(2),
	}
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(cmd)
		if err != nil {
			return err
		}
		shelf, err := openShelf(*with)
		if err != nil {
			return usage(cmd, err)
		}
		both := make([]*releases.Release, len(args))
		var known *releases.Catalogue // that of the second
		for i, arg := range args {
			if known, both[i], err = a.release(cmd, shelf, arg); err != nil {
				return err
			}
		}
		diffs := releases.Diff(both[0], both[1])
		worst := releases.Worst(diffs)
		methods := foreseen(known, both[0], both[1])
		if asJSON {
			return writeJSON(a.out, map[string]any{"differences": diffs, "resources": worst, "methods": methods})
		}
		return a.printDiff(diffs, worst, methods)
	}
	return cmd
}

// foreseen says by which methods an upgrade from a to b would fill the resources
// of b; nothing when no way leads there.
func foreseen(known *releases.Catalogue, a, b *releases.Release) []upgrader.Foreseen {
	if same, err := known.Get(a.Version); err != nil || same.Digest != a.Digest || a.Version == b.Version {
		return nil
	}
	out, err := upgrader.Foresee(known, a.Version, b.Version)
	if err != nil {
		return nil
	}
	return out
}

func (a *app) printDiff(diffs []releases.Difference, worst map[string]releases.Consequence, methods []upgrader.Foreseen) error {
	if len(diffs) == 0 {
		if _, err := fmt.Fprintln(a.out, "no difference"); err != nil {
			return err
		}
	} else if err := writeTable(a.out, differenceColumns, rowsOf(diffs)); err != nil {
		return err
	}
	by := map[string]upgrader.Foreseen{}
	for _, m := range methods {
		by[m.Resource] = m
	}
	keys := map[string]bool{}
	for key := range worst {
		keys[key] = true
	}
	for key := range by {
		keys[key] = true
	}
	if len(keys) == 0 {
		return nil
	}
	var rows [][]string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		rows = append(rows, []string{key, orDash(string(worst[key])), orDash(string(by[key].Method)), orDash(by[key].Why)})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"resource", "all together", "method", "because"}, rows)
}

func (a *app) releaseValidateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "validate RELEASE", Short: "Check a bundle: its files, and its transforms against both mappings",
		Long: `Check a bundle, and list everything that is wrong by file and line: what no
engine would accept, fields that the target does not know, types that cannot
hold the value, fields that are silently dropped, examples that come out
otherwise than stated. Exit code 3 when something is.

RELEASE is ` + referenceHelp + `.`,
		Args: cobra.ExactArgs(1),
	}
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(cmd)
		if err != nil {
			return err
		}
		r, err := a.oneRelease(cmd, args[0], *with)
		if err != nil {
			return err
		}
		examples := []releases.ExampleResult{}
		if r.Migration != nil {
			examples = append(examples, r.Migration.Try()...)
		}
		wrong := faultsOf(r.Version, examples)
		switch {
		case asJSON:
			err = writeJSON(a.out, map[string]any{"version": r.Version, "digest": r.Digest, "resources": len(r.Resources), "examples": examples})
		case wrong == nil:
			_, err = fmt.Fprintf(a.out, "release %s is consistent: %d resources, %d examples, digest %s\n", r.Version, len(r.Resources), len(examples), shortDigest(r.Digest))
		}
		return errors.Join(err, wrong)
	}
	return cmd
}

// oneRelease reads a release by its reference.
func (a *app) oneRelease(cmd *cobra.Command, ref string, with []string) (*releases.Release, error) {
	shelf, err := openShelf(with)
	if err != nil {
		return nil, usage(cmd, err)
	}
	_, r, err := a.release(cmd, shelf, ref)
	return r, err
}

// faultsOf makes a refusal of the examples that came out wrong.
func faultsOf(version string, all []releases.ExampleResult) error {
	wrong := &problemsError{}
	for _, r := range all {
		if r.Fault != "" {
			wrong.lines = append(wrong.lines, fmt.Sprintf("%s/migration.yaml:%d: %s, example %q in %s: %s", version, r.Line, r.Resource, r.Name, r.Mode, r.Fault))
		}
	}
	if len(wrong.lines) == 0 {
		return nil
	}
	return wrong
}

func (a *app) releaseSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema {release|migration}", Short: "Print the JSON Schema of release.yaml or migration.yaml, for editors",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, ok := releases.Schema(args[0])
			if !ok {
				return usage(cmd, fmt.Errorf("%q: write release or migration", args[0]))
			}
			return writeJSON(a.out, s)
		},
	}
}

func (a *app) releaseSaveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "save {DIR|ARCHIVE|-}", Short: "Keep a bundle in the database of TMS, for all its processes",
		Long: `Keep a bundle in the database of the TMS at --addr, for all its processes: the
directory of the bundle, an archive that release export --archive has written, or
- for such an archive on standard input. The same bundle again changes nothing; a
version that is known with other content is refused (exit code 3), because
rollouts and proofs name it.`,
		Example: "  tms release save bundles/0.8.3\n  tms release export 0.8.3 --archive - | tms --addr other:8384 release save -",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, ok, err := bundleFiles(cmd, args[0])
		switch {
		case err != nil:
			return usage(cmd, err)
		case !ok:
			return usage(cmd, fmt.Errorf("%s: neither a directory with a release.yaml in it nor an archive of a bundle", args[0]))
		}
		version, digest, err := releases.Identify(files)
		if err != nil {
			return bundleRefused(err)
		}
		if err := a.saveBundle(cmd, files, version, "bundle of an operator"); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "release %s is saved, digest %s\n", version, shortDigest(digest))
		return err
	}
	return cmd
}
