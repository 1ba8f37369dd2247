package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) backupRestoreCommand() *cobra.Command {
	request := &tmsv1.StartBackupRestoreRequest{}
	var dry, wait bool
	cmd := &cobra.Command{
		Use: "restore SNAPSHOT --tenant ID", Short: "Restore one tenant out of a snapshot",
		Long: `Restore one tenant out of a snapshot: indices, aliases, templates, and the
release in the registry. Other tenants are not touched.

In place, existing indices are overwritten only with --replace. Before that the
snapshot is restored beside, compared with its record and removed again; then
what will be overwritten refuses writes. Indices of the tenant that the snapshot
does not have lose their aliases and refuse writes, but stay. With --beside
everything is put under another prefix, for a look; "restore remove" takes it
away. --dry-run says what would be overwritten.`,
		Example: "  tms backup restore tms-20260901t020000z-abcdef --tenant acme --dry-run\n  tms backup restore tms-20260901t020000z-abcdef --tenant acme --beside look --wait",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		request.Snapshot = args[0]
		if dry {
			return a.planRestore(ctx, s, request)
		}
		if request.GetRequestId() == "" {
			request.RequestId = rand.Text() // so that the call may be repeated
		}
		r, err := call(ctx, s, s.backups.StartRestore, request)
		if err != nil {
			return a.refusal(s, err)
		}
		return a.followRestore(ctx, s, r, wait)
	})
	flags := cmd.Flags()
	flags.StringVar(&request.TenantId, "tenant", "", "the tenant to restore")
	flags.StringVar(&request.Beside, "beside", "", "put everything under names that begin with this, for a look")
	flags.BoolVar(&request.Replace, "replace", false, "overwrite existing indices")
	flags.StringSliceVar(&request.Resources, "resource", nil, "only this resource; may be repeated")
	flags.BoolVar(&request.NoRehearsal, "no-rehearsal", false, "overwrite without having restored beside before")
	flags.BoolVar(&request.Remove, "remove", false, "with --beside: remove it once it is proven")
	flags.StringVar(&request.RequestId, "request-id", "", "makes repeated calls one; default is random")
	flags.BoolVar(&dry, "dry-run", false, "only say what would be done, and what stands in the way")
	flags.BoolVar(&wait, "wait", false, "follow the restore to its end")
	needs(cmd, "tenant")
	cmd.AddCommand(a.restoreListCommand(), a.restoreShowCommand(), a.restoreRemoveCommand())
	return cmd
}

// planRestore prints a plan; with refusals it is a refusal.
func (a *app) planRestore(ctx context.Context, s *session, request *tmsv1.StartBackupRestoreRequest) error {
	p, err := call(ctx, s, s.backups.PlanRestore, request)
	if err != nil {
		return err
	}
	if s.json {
		err = writeMessage(a.out, p)
	} else {
		err = a.printRestorePlan(request, p)
	}
	if err == nil && len(p.GetRefusals()) > 0 {
		return &refusedError{p.GetRefusals()}
	}
	return err
}

func (a *app) printRestorePlan(request *tmsv1.StartBackupRestoreRequest, p *tmsv1.BackupRestorePlan) error {
	var rows [][]string
	for _, ix := range p.GetIndices() {
		over := "-"
		if ix.GetReplaces() {
			over = fmt.Sprintf("%d documents", ix.GetReplacedDocuments())
		}
		rows = append(rows, []string{ix.GetAs(), fmt.Sprint(ix.GetDocuments()), over})
	}
	if err := writeTable(a.out, []string{"index", "documents", "overwrites"}, rows); err != nil {
		return err
	}
	release := p.GetToRelease()
	if request.GetBeside() == "" && p.GetFromRelease() != p.GetToRelease() {
		release = p.GetFromRelease() + " -> " + p.GetToRelease()
	}
	return a.section(1, func() error {
		return writeFields(a.out, "tenant", request.GetTenantId(), "release", release,
			"brings", fmt.Sprintf("%d indices, %d shards, %d documents, %s", len(p.GetIndices()), p.GetShards(), p.GetDocuments(), bytesText(p.GetBytes())),
			"aliases", fmt.Sprint(len(p.GetAliases())), "templates", strings.Join(p.GetTemplates(), ", "),
			"templates removed", strings.Join(p.GetTemplatesRemoved(), ", "), "set aside", strings.Join(p.GetAside(), ", "))
	})
}

func (a *app) followRestore(ctx context.Context, s *session, r *tmsv1.BackupRestore, wait bool) error {
	var err error
	if wait {
		r, err = awaitRun(ctx, a, s, r, func(ctx context.Context) (*tmsv1.BackupRestore, error) {
			return call(ctx, s, s.backups.GetRestore, &tmsv1.GetBackupRestoreRequest{Id: r.GetId()})
		})
		if err != nil {
			return err
		}
	}
	if err := a.printRestore(s, r); err != nil {
		return err
	}
	if wait && r.GetState() == "failed" {
		return &outcomeError{fmt.Sprintf("%s failed: %s", r.GetId(), r.GetReason())}
	}
	return nil
}

func (a *app) printRestore(s *session, r *tmsv1.BackupRestore) error {
	if s.json {
		return writeMessage(a.out, r)
	}
	where := "in place"
	if r.GetBeside() != "" {
		where = "beside, under " + r.GetBeside() + "."
	}
	what := "restore"
	if r.GetDrill() {
		what = "drill"
	}
	return writeFields(a.out, what, r.GetId(), "snapshot", r.GetSnapshot(), "tenant", r.GetTenantId(), "where", where,
		"resources", strings.Join(r.GetResources(), ", "), "state", r.GetState(), "reason", r.GetReason(),
		"rehearsed", verificationText(r.GetRehearsal()), "verified", verificationText(r.GetVerification()),
		"set aside", strings.Join(r.GetPlan().GetAside(), ", "), "writes refused", durationText(r.GetFence().AsDuration()), "engine", durationText(r.GetEngine().AsDuration()),
		"created", stamp(r.GetCreateTime()), "finished", stamp(r.GetFinishTime()), "notes", strings.Join(r.GetNotes(), "; "))
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Round(time.Millisecond).String()
}

func verificationText(v *tmsv1.BackupVerification) string {
	if v == nil {
		return ""
	}
	text := fmt.Sprintf("%d indices, %d documents", v.GetIndices(), v.GetDocuments())
	if v.GetDigested() > 0 {
		text += fmt.Sprintf(", %d indices document by document", v.GetDigested())
	}
	if v.GetMoving() > 0 {
		text += fmt.Sprintf(", %d indices were written to during the snapshot", v.GetMoving())
	}
	return text
}

func (a *app) restoreListCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{Use: "list", Short: "List restores, newest first", Args: cobra.NoArgs}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		found, err := call(ctx, s, s.backups.ListRestores, &tmsv1.ListBackupRestoresRequest{PageSize: 1000, TenantId: tenant})
		if err != nil {
			return err
		}
		if s.json {
			return writeMessages(a.out, found.GetRestores())
		}
		var rows [][]string
		for _, r := range found.GetRestores() {
			rows = append(rows, []string{r.GetId(), r.GetTenantId(), r.GetSnapshot(), orDash(r.GetBeside()), r.GetState(), stamp(r.GetCreateTime()), r.GetReason()})
		}
		return writeTable(a.out, []string{"restore", "tenant", "snapshot", "beside", "state", "created", "reason"}, rows)
	})
	cmd.Flags().StringVar(&tenant, "tenant", "", "only of this tenant")
	return cmd
}

func (a *app) restoreShowCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{Use: "show RESTORE", Short: "Show a restore", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		r, err := call(ctx, s, s.backups.GetRestore, &tmsv1.GetBackupRestoreRequest{Id: args[0]})
		if err != nil {
			return err
		}
		return a.followRestore(ctx, s, r, wait)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the restore to its end first")
	return cmd
}

func (a *app) restoreRemoveCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{Use: "remove RESTORE", Short: "Remove what a restore has put beside", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		r, err := call(ctx, s, s.backups.RemoveRestore, &tmsv1.RemoveBackupRestoreRequest{Id: args[0]})
		if err != nil {
			return err
		}
		return a.followRestore(ctx, s, r, wait)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is gone")
	return cmd
}
