package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) backupRepoCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "repo", Short: "Register, verify, list and remove snapshot repositories"}
	cmd.AddCommand(a.repoAddCommand(), a.repoVerifyCommand(), a.repoListCommand(), a.repoRemoveCommand(), a.repoImportCommand())
	return cmd
}

func (a *app) repoAddCommand() *cobra.Command {
	var kind, cluster string
	var settings []string
	var readOnly bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Register a repository, or change one, and have every node verify it",
		Long: `Register a repository, or change one, and have every node verify it.

Kinds and what they need: fs (location: a path that every node sees, below
path.repo), url (url; read-only), s3 (bucket), azure (container), gcs (bucket).
Other settings are passed to the engine as they are. Secrets are refused: they
belong in the keystore of the engine's nodes. What does not verify is not kept.`,
		Example: "  tms backup repo add nas --kind fs --setting location=/mnt/snapshots/tms\n  tms backup repo add archive --kind s3 --setting bucket=tms --setting base_path=prod",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		given, err := pairs(settings)
		if err != nil {
			return usage(cmd, fmt.Errorf("--setting: %w", err))
		}
		r, err := call(ctx, s, s.backups.PutRepository, &tmsv1.PutBackupRepositoryRequest{
			Repository: &tmsv1.BackupRepository{Name: args[0], Cluster: cluster, Kind: kind, Settings: given, ReadOnly: readOnly},
		})
		if err != nil {
			return a.refusal(s, err)
		}
		return a.printRepository(s, r)
	})
	cmd.Flags().StringVar(&cluster, "cluster", "", "cluster that it belongs to; the default one when left out")
	cmd.Flags().StringVar(&kind, "kind", "fs", "fs, url, s3, azure or gcs")
	cmd.Flags().StringArrayVar(&settings, "setting", nil, "a setting as name=value; may be repeated")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "take no snapshots into it: another cluster does")
	return cmd
}

func (a *app) printRepository(s *session, r *tmsv1.BackupRepository) error {
	if s.json {
		return writeMessage(a.out, r)
	}
	return writeFields(a.out, "repository", r.GetName(), "cluster", r.GetCluster(), "kind", r.GetKind(), "settings", pairsText(r.GetSettings()), "access", accessText(r),
		"verified", stamp(r.GetVerifyTime()), "by nodes", strings.Join(r.GetNodes(), ", "), "problem", r.GetProblem())
}

func accessText(r *tmsv1.BackupRepository) string {
	if r.GetReadOnly() {
		return "read-only"
	}
	return "read and write"
}

func (a *app) repoVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify NAME", Short: "Have every node verify a repository again", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			r, err := call(ctx, s, s.backups.VerifyRepository, &tmsv1.VerifyBackupRepositoryRequest{Name: args[0]})
			if err != nil {
				return a.refusal(s, err)
			}
			return a.printRepository(s, r)
		}),
	}
}

func (a *app) repoListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List repositories", Args: cobra.NoArgs,
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
			all, err := call(ctx, s, s.backups.ListRepositories, &tmsv1.ListBackupRepositoriesRequest{})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessages(a.out, all.GetRepositories())
			}
			var rows [][]string
			for _, r := range all.GetRepositories() {
				rows = append(rows, []string{r.GetName(), r.GetCluster(), r.GetKind(), pairsText(r.GetSettings()), accessText(r), stamp(r.GetVerifyTime()), r.GetProblem()})
			}
			return writeTable(a.out, []string{"repository", "cluster", "kind", "settings", "access", "verified", "problem"}, rows)
		}),
	}
}

func (a *app) repoRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a repository; nothing in it is deleted", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			_, err := call(ctx, s, s.backups.RemoveRepository, &tmsv1.RemoveBackupRepositoryRequest{Name: args[0]})
			if err != nil || s.json {
				return err
			}
			_, err = fmt.Fprintf(a.out, "repository %s is forgotten; its files are as they were\n", args[0])
			return err
		}),
	}
}

func (a *app) repoImportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import NAME", Short: "Find snapshots that a TMS has taken and that this one does not know",
		Long: `Find snapshots that a TMS has taken and that this one does not know.

What is in them is read out of the repository: so the list of snapshots is
rebuilt after the database was lost, or read by another installation.`,
		Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			found, err := call(ctx, s, s.backups.ImportRepository, &tmsv1.ImportBackupRepositoryRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, found)
			}
			for _, name := range found.GetSnapshots() {
				if _, err := fmt.Fprintln(a.out, name); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(a.out, "snapshots imported: %d\n", len(found.GetSnapshots()))
			return err
		}),
	}
}
