package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/db"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// copyLimit bounds an export or import.
const copyLimit = time.Hour

func (a *app) registryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "registry", Short: "Copy the registry into a file, and rebuild it from one after Postgres was lost",
		Long: `Copy the registry into a file, and rebuild it from one after Postgres was lost.

A copy holds tenants, hashes of API keys, rollouts with everything that finalize
and rollback need, webhooks, policies, and the records of snapshots. Install
tokens and secrets of webhooks in it are encrypted under SECRET: without the
SECRET of the time a copy cannot be used. Everything else is plain text and
personal data: keep the file as you keep the database. See
docs/disaster-recovery.md.`,
	}
	outputFlag(cmd)
	cmd.AddCommand(a.registryExportCommand(), a.registryCheckCommand(), a.registryImportCommand())
	return cmd
}

// registrySettings loads what export and import need.
func (a *app) registrySettings(cmd *cobra.Command) (config.Registry, error) {
	var s config.Registry
	if err := config.Load(&s, cmd.Flags(), a.env); err != nil {
		return s, usage(cmd, err)
	}
	if err := s.Check(); err != nil {
		return s, usage(cmd, err)
	}
	return s, nil
}

func (a *app) registryExportCommand() *cobra.Command {
	var withoutAudit bool
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write a copy of the registry, as of one moment; may run beside servers", Args: cobra.ExactArgs(1),
		Long: `Write a copy of the registry, as of one moment; may run beside servers.

FILE must not exist; it appears when it is complete, readable by its owner only.
A - is standard output, for a program that encrypts.`,
		Example: "  tms registry export registry.tms",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.registrySettings(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), copyLimit)
		defer cancel()
		database, err := db.Open(ctx, s.DatabaseURL)
		if err != nil {
			return err
		}
		defer database.Close()
		write := func(w io.Writer) (*db.CopySummary, error) {
			return database.ExportRegistry(ctx, w, db.ExportOptions{Secret: s.Secret, Program: strings.TrimSpace(version + " " + commitOf()), WithoutAudit: withoutAudit})
		}
		if args[0] == "-" {
			_, err := write(a.out)
			return err
		}
		summary, err := writeWhole(args[0], write)
		if err != nil {
			return err
		}
		return a.printCopy(cmd, summary)
	}
	config.Bind(cmd.Flags(), &config.Registry{})
	cmd.Flags().BoolVar(&withoutAudit, "without-audit", false, "leave the audit trail out")
	return cmd
}

// writeWhole lets a file appear when it is complete and on disk.
func writeWhole(path string, write func(io.Writer) (*db.CopySummary, error)) (_ *db.CopySummary, err error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists: choose another name, or remove it", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("write the copy: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".partial-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write the copy: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	summary, err := write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	// A link refuses what a rename would overwrite.
	if err := os.Link(f.Name(), path); err != nil {
		return nil, fmt.Errorf("write the copy: %w", err)
	}
	return summary, nil
}

// withCopy opens a file, or standard input for -.
func withCopy(path string, read func(io.Reader) error) error {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return fmt.Errorf("read the copy: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
	}
	err := read(f)
	var refused *db.CopyError
	if errors.As(err, &refused) {
		return &refusedError{[]*tmsv1.Refusal{{Code: refused.Code, Message: refused.Message, Remedy: refused.Remedy}}}
	}
	return err
}

func (a *app) registryCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Say what is in a copy, and whether it is whole; needs no database", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withCopy(args[0], func(r io.Reader) error {
				summary, err := db.CheckCopy(r)
				if err != nil {
					return err
				}
				return a.printCopy(cmd, summary)
			})
		},
	}
}

func (a *app) registryImportCommand() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Fill the registry from a copy, whole or not at all", Args: cobra.ExactArgs(1),
		Long: `Fill the registry from a copy, whole or not at all.

Every tms serve on this database must be stopped. The database must be migrated,
with the version of tms that wrote the copy, and empty; --replace loses what is in
it. What was going on when the copy was made does not go on by itself: rollouts
are paused, snapshots and restores are given up, and deleted tenants are purged
after a week at the earliest. Followers of events are told of a gap.`,
		Example: "  tms migrate\n  tms registry import registry.tms",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.registrySettings(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), copyLimit)
		defer cancel()
		return withCopy(args[0], func(r io.Reader) error {
			summary, err := db.ImportRegistry(ctx, s.DatabaseURL, r, db.ImportOptions{Secret: s.Secret, OldSecret: s.OldSecret, Replace: replace})
			if err != nil {
				return err
			}
			return a.printCopy(cmd, summary)
		})
	}
	config.Bind(cmd.Flags(), &config.Registry{})
	cmd.Flags().BoolVar(&replace, "replace", false, "lose what is in the database")
	return cmd
}

// printCopy says what is in a copy.
func (a *app) printCopy(cmd *cobra.Command, s *db.CopySummary) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.out, s)
	}
	rows := func(table string) string { return fmt.Sprint(s.Rows[table]) }
	return writeFields(a.out, "taken", s.At.UTC().Format(time.RFC3339), "by tms", s.Program, "schema", fmt.Sprint(s.Schema),
		"tenants", rows("tenants"), "API keys", rows("api_keys"), "rollouts", rows("rollouts"), "webhooks", rows("webhooks"),
		"repositories", rows("backup_repositories"), "policies", rows("backup_policies"), "snapshots and restores", rows("backup_runs"),
		"audit entries", rows("audit"), "stopped", pairsText(s.Stopped))
}
